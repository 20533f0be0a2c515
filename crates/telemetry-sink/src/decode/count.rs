//! Counting without parsing, for benchmarks: the ids of a body in the order they come.
//!
//! telemetryd writes an event as `{"id":"<uuid>","tool":"…`. That beginning is searched for, so a nested
//! object of exactly that shape would be counted too; the decoders proper are for everything else.

use memchr::memmem;
use uuid::Uuid;

const BEFORE: &[u8] = br#"{"id":""#;
const AFTER: &[u8] = br#"","tool":""#;
/// A hyphenated UUID.
const UUID_LEN: usize = 36;

/// Calls `found` with every id and returns how many there were.
pub(crate) fn count(plain: &[u8], mut found: impl FnMut(u128)) -> usize {
    let mut events = 0;
    for at in memmem::find_iter(plain, BEFORE) {
        let rest = &plain[at + BEFORE.len()..];
        if rest.len() >= UUID_LEN + AFTER.len()
            && &rest[UUID_LEN..UUID_LEN + AFTER.len()] == AFTER
            && let Ok(id) = Uuid::try_parse_ascii(&rest[..UUID_LEN])
        {
            found(id.as_u128());
            events += 1;
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_are_counted() {
        let one = "0198a6c2-7a41-7c3e-9f61-6a2c0d6b3a10";
        let two = "0198a6c2-7a41-7c3e-9f61-6a2c0d6b3a11";
        let body = format!(
            r#"{{"batch_id":"{one}","events":[{{"id":"{one}","tool":"t","properties":{{"id":"{two}"}}}},{{"id":"{two}","tool":"t"}}]}}"#
        );
        let mut ids = Vec::new();
        assert_eq!(count(body.as_bytes(), |id| ids.push(id)), 2);
        assert_eq!(
            ids,
            [one, two].map(|id| Uuid::parse_str(id).expect("a UUID").as_u128())
        );
    }

    #[test]
    fn a_body_cut_inside_an_id_is_no_event() {
        assert_eq!(count(br#"{"id":"0198a6c2-7a41"#, |_| {}), 0);
        assert_eq!(count(b"", |_| {}), 0);
    }
}
