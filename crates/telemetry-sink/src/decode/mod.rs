//! From a request's head and body to its content: one file an encoding.
//!
//! Nothing here answers or remembers. A body is undone and parsed within [`MAX_DECODED`] (I6), so that a
//! bomb of zeros costs 64 MiB and no more.

mod inflate;

mod heap;
mod json;
mod mapped;
mod ndjson;
mod otlp;
mod posthog;
mod segment;
mod vendor;

mod count;

use bytes::Bytes;
use serde_json::Value;
use telemetry_protocol::{limits, time};
use thiserror::Error;

use crate::received::{Content, Encoding};

pub(crate) use count::count;
pub(crate) use inflate::inflate;

/// The most bytes that a body may have after its content coding was undone: 64 MiB, 256 times the largest
/// batch that a daemon cuts by default (256 KiB).
pub const MAX_DECODED: usize = 64 * 1024 * 1024;

/// What of a request's head says how its body is to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// `Content-Type`, parameters and all.
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
    /// Path and query.
    pub path: &'a str,
}

/// Why a body could not be decoded. Says what is wrong and where, and nothing of an event's content.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Undecodable {
    /// Not a POST.
    #[error("the method is {method}; batches come by POST")]
    Method {
        /// What it was.
        method: String,
    },
    /// The body was not read to its end.
    #[error("the body broke off after {bytes} bytes")]
    BrokeOff {
        /// How many bytes had come.
        bytes: u64,
    },
    /// The body is too large, as it came or undone.
    #[error("the body is over {limit} bytes")]
    TooLarge {
        /// The most that is read.
        limit: usize,
    },
    /// A content coding that nobody agreed on.
    #[error("the content coding {coding:?} is none of gzip, zstd, identity")]
    ContentEncoding {
        /// What the head said.
        coding: String,
    },
    /// The content coding could not be undone.
    #[error("the body is not {coding}: {cause}")]
    Corrupt {
        /// What the head said.
        coding: &'static str,
        /// What the decompressor says.
        cause: String,
    },
    /// A content type that is none of the encodings'.
    #[error(
        "the content type {content_type:?} is none of application/json, application/x-ndjson, application/x-protobuf"
    )]
    ContentType {
        /// What the head said.
        content_type: String,
    },
    /// Not JSON.
    #[error("line {line}, column {column}: not JSON")]
    Json {
        /// 1 for the first.
        line: usize,
        /// 1 for the first.
        column: usize,
    },
    /// JSON, but of another shape.
    #[error("{place}: {wanted}")]
    Shape {
        /// Where, as `events[3].id`.
        place: String,
        /// What should be there.
        wanted: &'static str,
    },
}

/// Undoes the content coding of a body and reads its events. The undone body comes back beside them.
///
/// The encoding is told by the content type, and which of those in JSON by the members that each alone has; an object
/// with none of them is `mapped`. A body without a content type is taken as `json` when it is one object with `events`,
/// else as `ndjson`.
///
/// # Errors
/// [`Undecodable`], with the undone body as far as it came to that.
pub fn decode(head: Head<'_>, body: &Bytes) -> (Bytes, Result<Content, Undecodable>) {
    match inflate(head.content_encoding, body) {
        Ok(plain) => {
            let content = encoding(head, &plain).and_then(|encoding| match encoding {
                Encoding::Ndjson => ndjson::decode(&plain),
                Encoding::Otlp => otlp::decode_protobuf(&plain),
                _ => in_json(&plain),
            });
            (plain, content)
        }
        Err(reason) => (Bytes::new(), Err(reason)),
    }
}

/// A body of JSON: ours, or a vendor's.
fn in_json(plain: &[u8]) -> Result<Content, Undecodable> {
    let whole: Value = serde_json::from_slice(plain).map_err(|error| Undecodable::Json {
        line: error.line(),
        column: error.column(),
    })?;
    let has = |name: &str| whole.get(name).is_some();
    if has("resourceLogs") {
        otlp::decode_json(&whole)
    } else if has("app_id") {
        heap::decode(whole)
    } else if has("api_key") && has("batch") {
        posthog::decode(whole)
    } else if has("batch_id") || has("events") || !whole.is_object() {
        json::decode(whole)
    } else if has("batch") || (has("event") && (has("anonymousId") || has("userId"))) {
        segment::decode(whole)
    } else {
        mapped::decode(whole)
    }
}

/// The encoding that a head and an undone body speak of; of those in JSON, `json`.
pub(crate) fn encoding(head: Head<'_>, plain: &[u8]) -> Result<Encoding, Undecodable> {
    let Some(full) = head.content_type else {
        return Ok(if json::looks_like(plain) {
            Encoding::Json
        } else {
            Encoding::Ndjson
        });
    };
    let essence = full
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(Encoding::Json),
        "application/x-protobuf" => Ok(Encoding::Otlp),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Encoding::Ndjson),
        _ => Err(Undecodable::ContentType {
            content_type: full.to_owned(),
        }),
    }
}

/// Holds an event to what every event has when it leaves: an object with the string `id`, and `tool`, `event`
/// and `time` as PROTOCOL.md has them.
fn check_event(event: &Value, place: impl Fn() -> String) -> Result<(), Undecodable> {
    let Value::Object(object) = event else {
        return Err(Undecodable::Shape {
            place: place(),
            wanted: "an event is an object",
        });
    };
    let holds =
        |key: &str, check: &dyn Fn(&str) -> bool| object.get(key).and_then(Value::as_str).is_some_and(check);
    let shape = |key: &str, wanted| {
        Err(Undecodable::Shape {
            place: format!("{}.{key}", place()),
            wanted,
        })
    };
    if !holds("id", &|id| !id.is_empty()) {
        return shape("id", "every event has this string");
    }
    if !holds("tool", &limits::is_tool_name) {
        return shape("tool", "every event has the name of its tool");
    }
    if !holds("event", &|name| {
        (1..=limits::MAX_EVENT_NAME).contains(&name.len())
    }) {
        return shape("event", "every event has a name, up to 128 bytes");
    }
    if object.contains_key("time") && !holds("time", &is_time) {
        return shape("time", "a string, RFC 3339");
    }
    Ok(())
}

/// Whether a text is a time as the daemon writes it.
fn is_time(text: &str) -> bool {
    time::parse_rfc3339(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: Option<&str>, body: &str) -> Result<Content, Undecodable> {
        let head = Head {
            content_type,
            ..Head::default()
        };
        decode(head, &Bytes::copy_from_slice(body.as_bytes())).1
    }

    const EVENT: &str = r#"{"id":"a","tool":"t","event":"e"}"#;

    #[test]
    fn the_content_type_tells_the_encoding() {
        let body = format!(r#"{{"batch_id":"b","events":[{EVENT}]}}"#);
        assert_eq!(
            read(Some("application/json; charset=utf-8"), &body)
                .expect("json")
                .encoding,
            Encoding::Json
        );
        assert_eq!(
            read(Some("application/x-ndjson"), EVENT)
                .expect("ndjson")
                .encoding,
            Encoding::Ndjson
        );
        let refused = read(Some("text/plain"), EVENT).expect_err("text is no encoding");
        assert!(matches!(refused, Undecodable::ContentType { .. }), "{refused}");
    }

    #[test]
    fn without_a_content_type_the_body_tells_it() {
        let body = format!(r#"{{"batch_id":"b","events":[{EVENT}]}}"#);
        assert_eq!(read(None, &body).expect("json").encoding, Encoding::Json);
        assert_eq!(read(None, EVENT).expect("ndjson").encoding, Encoding::Ndjson);
    }

    #[test]
    fn a_reason_names_the_place_and_not_the_content() {
        let body =
            r#"{"batch_id":"b","events":[{"id":"a","tool":"t","event":"e"},{"id":"secret","tool":"t"}]}"#;
        let reason = read(Some("application/json"), body)
            .expect_err("an event without a name")
            .to_string();
        assert_eq!(reason, "events[1].event: every event has a name, up to 128 bytes");
    }
}
