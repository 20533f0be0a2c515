//! Encoding `heap`: bulk, or one track call. The `app_id`, which is a key of sorts, is not kept.

use serde_json::Value;

use super::Undecodable;
use super::vendor::{Names, content, event, list};
use crate::received::{Content, Encoding};

const NAMES: Names = &[
    ("id", "idempotency_key"),
    ("event", "event"),
    ("time", "timestamp"),
    ("anonymous_id", "identity"),
    ("properties", "properties"),
];

/// Reads many events, or one.
pub(super) fn decode(mut whole: Value) -> Result<Content, Undecodable> {
    if let Some(object) = whole.as_object_mut() {
        object.remove("app_id");
    }
    let events = match whole.get_mut("events") {
        Some(events) => list("events", events.take(), NAMES)?,
        None => vec![event("the body", whole, NAMES)?],
    };
    Ok(content(Encoding::Heap, events))
}
