//! How large things may get (I6). The configurable ones are keys of `[limits]`; these are the defaults.

use std::time::Duration;

/// Bytes of one line, without its newline. 64 KiB holds every event captured from the seed tools 40 times over.
pub const MAX_EVENT_BYTES: usize = 64 * 1024;
/// Open connections; past it the daemon stops accepting until one closes.
pub const MAX_CONNECTIONS: usize = 1024;
/// Open connections of one uid (system mode).
pub const MAX_CONNECTIONS_PER_USER: usize = 64;
/// The listen backlog: it holds whoever comes while all connections are taken.
pub const BACKLOG: i32 = 4096;
/// A connection without a byte for so long is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// A client that does not read its answers for so long is cut off.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of unread answers that a connection may have.
pub const MAX_UNREAD: usize = 1024 * 1024;
/// Levels of JSON nesting, the line's own object being the first.
pub const MAX_DEPTH: usize = 32;
/// The most that `limits.max_depth` may say: the scanner recurses once a level.
pub const MAX_DEPTH_CEILING: usize = 128;

/// Bytes of a tool's name.
pub const MAX_TOOL_NAME: usize = 64;
/// Bytes of an event's name.
pub const MAX_EVENT_NAME: usize = 128;
/// Bytes of a tool's version.
pub const MAX_VERSION: usize = 64;
/// Bytes of the keys `project` and `user`.
pub const MAX_KEY: usize = 256;
/// Tools that one uid may have in the queue.
pub const MAX_TOOLS_PER_UID: usize = 64;

/// Bytes of a Unix socket's path that every system takes (`sun_path` is 108 on Linux, 104 on macOS,
/// both with the terminating NUL).
pub const MAX_SOCKET_PATH: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// Whether `name` may name a tool: `[a-z0-9][a-z0-9._-]{0,63}`.
#[must_use]
pub fn is_tool_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let small = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    matches!(bytes.first(), Some(&first) if small(first))
        && bytes.len() <= MAX_TOOL_NAME
        && bytes.iter().all(|&b| small(b) || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::is_tool_name;

    #[test]
    fn a_tool_name_is_a_short_lowercase_word() {
        for good in [
            "a",
            "kedro",
            "9p",
            "iterative-telemetry",
            "a.b_c-d",
            &"x".repeat(64),
        ] {
            assert!(is_tool_name(good), "{good}");
        }
        for bad in [
            "",
            "Kedro",
            ".x",
            "-x",
            "a b",
            "a/b",
            "é",
            "../x",
            &"x".repeat(65),
        ] {
            assert!(!is_tool_name(bad), "{bad}");
        }
    }
}
