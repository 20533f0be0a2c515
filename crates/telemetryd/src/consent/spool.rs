//! What clients left in the spool while no daemon answered goes with a withdrawal, too (I3). A machine-wide daemon has no
//! spool: it never opens a home (I13).

use std::path::Path;

use telemetry_policy::{Policy, Reach};
use telemetry_protocol::spool::{DIRECTORY, tool_of_count, tool_of_event};
use tracing::warn;

use super::Consent;
use crate::config::Mode;

impl Consent {
    /// Removes the spooled events of every tool of which `policy` lets nobody send any; how many.
    pub fn erase_spool(&self, policy: &Policy) -> u64 {
        if self.places.mode != Mode::User {
            return 0;
        }
        let directory = self.places.state.join(DIRECTORY);
        // A tool whose manifest waits beside its events is judged when they are taken over.
        let unjudged = |tool: &str| directory.join(format!("{tool}.toml")).exists();
        let nobodys = |tool: &str| policy.tool_with_rows(tool).reach() == Reach::Nobody && !unjudged(tool);
        erase(&directory, &nobodys, false)
    }

    /// Removes the spooled events of `tool`, or of all, and what was counted of them; how many events.
    pub fn forget_spool(&self, tool: Option<&str>) -> u64 {
        if self.places.mode != Mode::User {
            return 0;
        }
        let meant = |of: &str| tool.is_none_or(|tool| tool == of);
        erase(&self.places.state.join(DIRECTORY), &meant, true)
    }
}

fn erase(directory: &Path, meant: &dyn Fn(&str) -> bool, counts_too: bool) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let mut erased = 0;
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let event = tool_of_event(&name);
        let tool = event.or_else(|| tool_of_count(&name).filter(|_| counts_too));
        if !tool.is_some_and(meant) {
            continue;
        }
        match std::fs::remove_file(directory.join(&name)) {
            Ok(()) => erased += u64::from(event.is_some()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => warn!(%error, "cannot remove a spooled event that was withdrawn"),
        }
    }
    erased
}
