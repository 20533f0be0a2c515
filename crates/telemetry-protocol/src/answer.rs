//! Answers: one line of JSON each (PROTOCOL.md, "Answers"). The frequent ones are written without a
//! tree in between; the others go through `serde_json`.

use std::io::Write;

use uuid::Uuid;

use crate::event::Rejected;
use crate::reason::ErrorCode;

/// What became of an event, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventAnswer {
    /// Committed.
    Queued(Uuid),
    /// Committed and fsynced.
    Synced(Uuid),
    /// This (uid, tool, id) is queued or in the sent log.
    Duplicate(Uuid),
    /// Not of the share that is kept; nothing was stored.
    SampledOut(Uuid),
    /// Consent said no; nothing was stored.
    Declined {
        /// The layer, or `notice`, `ci`, `quota`, `redirected`.
        by: &'static str,
        /// Where that stands.
        source: String,
        /// The client's id, where it gave one.
        id: Option<Uuid>,
    },
    /// Not taken.
    Error {
        /// For programs.
        code: ErrorCode,
        /// For people: key, shape, limit, never the value.
        message: String,
        /// The client's id, where it is known.
        id: Option<Uuid>,
    },
}

impl EventAnswer {
    /// Appends the line, its newline included.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Queued(id) => status(out, "queued", *id),
            Self::Synced(id) => status(out, "synced", *id),
            Self::Duplicate(id) => status(out, "duplicate", *id),
            Self::SampledOut(id) => status(out, "sampled_out", *id),
            Self::Declined { by, source, id } => {
                let mut line =
                    serde_json::json!({ "ok": true, "status": "declined", "by": by, "source": source });
                echo(&mut line, *id);
                push(out, &line);
            }
            Self::Error { code, message, id } => {
                let mut line = error_value(*code, message);
                echo(&mut line, *id);
                push(out, &line);
            }
        }
    }
}

fn status(out: &mut Vec<u8>, word: &str, id: Uuid) {
    let mut hyphenated = [0; uuid::fmt::Hyphenated::LENGTH];
    let id = id.hyphenated().encode_lower(&mut hyphenated);
    out.extend_from_slice(b"{\"ok\":true,\"status\":\"");
    out.extend_from_slice(word.as_bytes());
    out.extend_from_slice(b"\",\"id\":\"");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

fn echo(line: &mut serde_json::Value, id: Option<Uuid>) {
    if let Some(id) = id {
        line["id"] = id.to_string().into();
    }
}

fn error_value(code: ErrorCode, message: &str) -> serde_json::Value {
    serde_json::json!({ "ok": false, "error": code.as_str(), "message": message })
}

/// One line of an error that concerns no event.
#[must_use]
pub fn error(code: ErrorCode, message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push(&mut out, &error_value(code, message));
    out
}

/// One line that turns a request away.
#[must_use]
pub fn rejected(rejected: &Rejected) -> Vec<u8> {
    error(rejected.code, &rejected.message)
}

/// Appends any value as one line.
pub fn push(out: &mut Vec<u8>, line: &serde_json::Value) {
    // Writing to a vector cannot fail, and a `Value` has only string keys.
    let _ = write!(out, "{line}");
    out.push(b'\n');
}

/// `too_large`: a line of `length` bytes.
#[must_use]
pub fn too_large(length: usize, limit: usize) -> EventAnswer {
    EventAnswer::Error {
        code: ErrorCode::TooLarge,
        message: format!("event is {length} bytes; the limit is {limit} (limits.max_event_bytes)"),
        id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_lines_are_json() {
        let mut out = Vec::new();
        EventAnswer::Queued(Uuid::nil()).write(&mut out);
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            line,
            serde_json::json!({"ok":true,"status":"queued","id":"00000000-0000-0000-0000-000000000000"})
        );
        assert!(out.ends_with(b"\n"));
    }

    #[test]
    fn an_id_is_echoed_when_it_is_known() {
        let mut out = Vec::new();
        EventAnswer::Declined {
            by: "machine",
            source: "/etc/telemetryd/opt-out".into(),
            id: Some(Uuid::nil()),
        }
        .write(&mut out);
        too_large(70_211, 65_536).write(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\"by\":\"machine\"") && text.contains("\"id\":\"00000000-"));
        assert!(text.contains("event is 70211 bytes; the limit is 65536 (limits.max_event_bytes)"));
    }
}
