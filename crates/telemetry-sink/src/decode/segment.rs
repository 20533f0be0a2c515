//! Encoding `segment`: the batch form, or one track call.

use serde_json::Value;

use super::Undecodable;
use super::vendor::{Names, content, event, list};
use crate::received::{Content, Encoding};

const NAMES: Names = &[
    ("id", "messageId"),
    ("event", "event"),
    ("time", "timestamp"),
    ("anonymous_id", "anonymousId"),
    ("properties", "properties"),
    ("context", "context"),
];

/// Reads many messages, or one.
pub(super) fn decode(mut whole: Value) -> Result<Content, Undecodable> {
    let sent_at = whole.get("sentAt").and_then(Value::as_str).map(str::to_owned);
    let events = match whole.get_mut("batch") {
        Some(batch) => list("batch", batch.take(), NAMES)?,
        None => vec![event("the body", whole, NAMES)?],
    };
    Ok(Content {
        sent_at,
        ..content(Encoding::Segment, events)
    })
}
