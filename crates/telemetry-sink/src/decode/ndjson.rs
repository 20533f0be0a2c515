//! Encoding `ndjson`: one event a line. The batch's id is in the `Idempotency-Key` alone.

use serde_json::Value;

use super::{Undecodable, check_event};
use crate::received::{Content, Encoding};

/// Reads the lines of one request. The last line may lack its newline; an empty line is refused, since
/// nobody writes one on purpose.
pub(super) fn decode(plain: &[u8]) -> Result<Content, Undecodable> {
    let lines = plain.strip_suffix(b"\n").unwrap_or(plain);
    let mut events = Vec::new();
    for (index, line) in lines.split(|&byte| byte == b'\n').enumerate() {
        let number = index + 1;
        let event: Value = serde_json::from_slice(line).map_err(|error| Undecodable::Json {
            line: number,
            column: error.column(),
        })?;
        check_event(&event, || format!("line {number}"))?;
        events.push(event);
    }
    let count = events.len();
    Ok(Content {
        encoding: Encoding::Ndjson,
        batch_id: None,
        sent_at: None,
        source: None,
        losses: None,
        events,
        count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_events_with_or_without_the_last_newline() {
        let lines =
            "{\"id\":\"1\",\"tool\":\"t\",\"event\":\"e\"}\n{\"id\":\"2\",\"tool\":\"t\",\"event\":\"e\"}";
        assert_eq!(decode(lines.as_bytes()).expect("two").count, 2);
        assert_eq!(decode(format!("{lines}\n").as_bytes()).expect("two").count, 2);
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let lines = "{\"id\":\"1\",\"tool\":\"t\",\"event\":\"e\"}\n{\"id\":";
        assert_eq!(
            decode(lines.as_bytes()),
            Err(Undecodable::Json { line: 2, column: 6 })
        );
        assert!(matches!(decode(b""), Err(Undecodable::Json { line: 1, .. })));
    }
}
