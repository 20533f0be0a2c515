//! Towards a machine-wide daemon, which never opens a home (I13): its user's next client hands the spool over through
//! the socket, oldest first, some at a time, and removes what was answered for.

use std::fs;
use std::io::Read;
use std::time::Instant;

use telemetry_protocol::reason::ErrorCode;
use telemetry_protocol::spool::tool_of_event;

use super::{Loss, Spool, open};
use crate::Connection;

/// Handed over at once.
const BYTES: usize = 64 * 1024;

/// Errors after which an event waits on.
const LATER: [ErrorCode; 4] = [
    ErrorCode::RateLimited,
    ErrorCode::QueueFull,
    ErrorCode::Storage,
    ErrorCode::ShuttingDown,
];

impl Spool {
    /// Hands over what there is time for.
    pub(crate) fn hand_over(&self, connection: &mut Connection, until: Instant) {
        let (names, lines) = self.oldest();
        if names.is_empty() || connection.send(&lines, until).is_err() {
            return;
        }
        for name in names {
            let Ok(answer) = connection.line(until) else {
                return;
            };
            if !LATER
                .iter()
                .any(|code| answer.contains(&format!("\"error\":\"{code}\"")))
            {
                let _ = fs::remove_file(self.directory.join(name));
            }
        }
    }

    fn oldest(&self) -> (Vec<String>, Vec<u8>) {
        let mut names: Vec<String> = fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| tool_of_event(name).is_some())
            .collect();
        names.sort_unstable();
        let (mut taken, mut lines) = (Vec::new(), Vec::new());
        for name in names {
            let mut line = Vec::new();
            let read = open(fs::OpenOptions::new().read(true), &self.directory.join(&name))
                .and_then(|file| file.take(BYTES as u64 + 1).read_to_end(&mut line));
            if read.is_err() {
                break;
            }
            if line
                .split_last()
                .is_none_or(|(end, text)| *end != b'\n' || text.contains(&b'\n'))
            {
                // Torn by a power cut.
                let _ = self.lose(&name, tool_of_event(&name).unwrap_or_default(), Loss::Dropped);
                continue;
            }
            if lines.len() + line.len() > BYTES {
                break;
            }
            lines.extend_from_slice(&line);
            taken.push(name);
        }
        (taken, lines)
    }
}
