//! What this user's clients left for the next daemon goes with a withdrawal, whether or not a daemon runs: a machine-wide
//! one never opens a home.

use telemetry_protocol::spool::{DIRECTORY, tool_of_count, tool_of_event};

use crate::Context;

/// Removes the spooled events of `tool`, or of all; how many. What cannot be removed denies nothing: the daemon asks
/// consent again before it takes a file over.
pub(super) fn erase(context: &Context, tool: Option<&str>) -> u64 {
    let Some(user) = &context.surroundings.user else {
        return 0;
    };
    let directory = user.state.join(DIRECTORY);
    let Ok(entries) = std::fs::read_dir(&directory) else {
        return 0;
    };
    let mut erased = 0;
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let event = tool_of_event(&name);
        // Who denies everything leaves no count of it either.
        let counts = tool_of_count(&name).filter(|_| tool.is_none());
        let meant = |of: &str| tool.is_none_or(|tool| tool == of);
        if event.or(counts).is_some_and(meant) && std::fs::remove_file(directory.join(&name)).is_ok() {
            erased += u64::from(event.is_some());
        }
    }
    erased
}
