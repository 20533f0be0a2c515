//! Encoding `posthog`: the batch form. The `api_key` is not kept.

use serde_json::Value;

use super::Undecodable;
use super::vendor::{Names, content, list};
use crate::received::{Content, Encoding};

const NAMES: Names = &[
    ("id", "uuid"),
    ("event", "event"),
    ("time", "timestamp"),
    ("anonymous_id", "distinct_id"),
    ("properties", "properties"),
];

/// Reads a batch.
pub(super) fn decode(mut whole: Value) -> Result<Content, Undecodable> {
    let sent_at = whole.get("sent_at").and_then(Value::as_str).map(str::to_owned);
    Ok(Content {
        sent_at,
        ..content(Encoding::Posthog, list("batch", whole["batch"].take(), NAMES)?)
    })
}
