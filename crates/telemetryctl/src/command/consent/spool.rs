//! What this user's clients left for the next daemon: how much of it there is, and that it goes with a withdrawal, whether
//! or not a daemon runs (a machine-wide one never opens a home).

use telemetry_protocol::spool::{DIRECTORY, tool_of_count, tool_of_event};

use crate::Context;
use crate::words::counted;

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

/// What is in the spool: numbers of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// They wait for a daemon.
    pub(crate) waiting: u64,
    /// Removed unsent, the oldest first: there was no room.
    pub(crate) dropped: u64,
    /// Removed unsent: they were too old.
    pub(crate) expired: u64,
}

impl Left {
    /// What can be seen of it without a daemon; nothing where nothing can be read.
    pub(crate) fn seen(context: &Context) -> Self {
        let mut left = Self::default();
        let Some(user) = &context.surroundings.user else {
            return left;
        };
        let entries = std::fs::read_dir(user.state.join(DIRECTORY));
        for entry in entries.into_iter().flatten().flatten() {
            let Some(name) = entry.file_name().to_str().map(ToOwned::to_owned) else {
                continue;
            };
            left.waiting += u64::from(tool_of_event(&name).is_some());
            if tool_of_count(&name).is_some() {
                // The file's length is the number (docs/spool.md).
                let count = entry.metadata().map_or(0, |found| found.len());
                let sum = if name.ends_with(".expired") {
                    &mut left.expired
                } else {
                    &mut left.dropped
                };
                *sum += count;
            }
        }
        left
    }

    /// In words; `None` where there is nothing to tell.
    pub(crate) fn told(self) -> Option<String> {
        let parts = [
            (self.waiting, "waiting for a daemon"),
            (self.dropped, "dropped unsent: it was full"),
            (self.expired, "dropped unsent: too old"),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", counted(*count, "event")))
            .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}
