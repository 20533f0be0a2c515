//! Encoding `json`: one object with `batch_id`, `sent_at`, `source`, `losses` and `events` (TOOLS.md, last
//! section).

use serde_json::{Map, Value};

use super::{Undecodable, check_event, is_time};
use crate::received::{Content, Encoding, Losses};

/// Reads one batch.
pub(super) fn decode(whole: Value) -> Result<Content, Undecodable> {
    let Value::Object(mut whole) = whole else {
        return Err(shape("the body", "a batch is an object"));
    };
    let Some(Value::Array(events)) = whole.remove("events") else {
        return Err(shape("events", "a batch has an array of events"));
    };
    if events.is_empty() {
        return Err(shape("events", "a batch has at least one event"));
    }
    for (index, event) in events.iter().enumerate() {
        check_event(event, || format!("events[{index}]"))?;
    }
    let Some(Value::String(batch_id)) = whole.remove("batch_id") else {
        return Err(shape("batch_id", "a batch has this string"));
    };
    let sent_at = match whole.remove("sent_at") {
        None => None,
        Some(Value::String(text)) if is_time(&text) => Some(text),
        Some(_) => return Err(shape("sent_at", "a string, RFC 3339")),
    };
    let losses = match whole.remove("losses") {
        None => None,
        Some(Value::Object(object)) => Some(losses(&object)?),
        Some(_) => return Err(shape("losses", "an object of numbers")),
    };
    let count = events.len();
    Ok(Content {
        encoding: Encoding::Json,
        batch_id: Some(batch_id),
        sent_at,
        source: whole.remove("source"),
        losses,
        events,
        count,
    })
}

/// Whether a body of no content type is a batch: begins as an object and has the key somewhere.
pub(super) fn looks_like(plain: &[u8]) -> bool {
    plain.trim_ascii_start().starts_with(b"{") && memchr::memmem::find(plain, b"\"events\"").is_some()
}

fn losses(object: &Map<String, Value>) -> Result<Losses, Undecodable> {
    let number = |key: &str| match object.get(key) {
        None => Ok(0),
        Some(value) => value.as_u64().ok_or_else(|| Undecodable::Shape {
            place: format!("losses.{key}"),
            wanted: "a number of events, not negative",
        }),
    };
    Ok(Losses {
        evicted: number("evicted")?,
        expired: number("expired")?,
        quota: number("quota")?,
    })
}

fn shape(place: &str, wanted: &'static str) -> Undecodable {
    Undecodable::Shape {
        place: place.to_owned(),
        wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> Value {
        serde_json::from_slice(body).expect("JSON")
    }

    #[test]
    fn a_batch_gives_its_id_losses_and_events() {
        let body = br#"{"batch_id":"b1","sent_at":"2026-11-21T10:00:05.120Z",
            "source":{"name":"telemetryd","version":"0.1.0"},"losses":{"evicted":0,"expired":2,"quota":0},
            "events":[{"id":"1","tool":"kedro","event":"CLI command"}]}"#;
        let content = decode(read(body)).expect("a batch");
        assert_eq!(content.batch_id.as_deref(), Some("b1"));
        assert_eq!(
            content.losses,
            Some(Losses {
                evicted: 0,
                expired: 2,
                quota: 0
            })
        );
        assert_eq!(content.count, 1);
        assert_eq!(content.events[0]["tool"], "kedro");
    }

    #[test]
    fn every_other_shape_is_named() {
        for (body, place) in [
            ("[]", "the body"),
            (r#"{"batch_id":"b"}"#, "events"),
            (r#"{"batch_id":"b","events":[]}"#, "events"),
            (r#"{"batch_id":"b","events":[7]}"#, "events[0]"),
            (r#"{"events":[{"id":"1","tool":"t","event":"e"}]}"#, "batch_id"),
            (
                r#"{"batch_id":"b","losses":{"expired":-1},"events":[{"id":"1","tool":"t","event":"e"}]}"#,
                "losses.expired",
            ),
        ] {
            match decode(read(body.as_bytes())) {
                Err(Undecodable::Shape { place: found, .. }) => assert_eq!(found, place, "{body}"),
                other => panic!("{body}: {other:?}"),
            }
        }
    }
}
