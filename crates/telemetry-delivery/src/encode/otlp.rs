//! `otlp`: OpenTelemetry logs over HTTP (<https://opentelemetry.io/docs/specs/otlp/>), protobuf or JSON. One log record an
//! event; a resource for each run of events that come from one tool, one version and one context.
//!
//! A record has the event's name as `event_name` and as the attribute `event.name` (for collectors older than the
//! field), the attribute `event.id` (by which a receiver knows a resend), `enduser.pseudo.id` and `project.id` where the
//! event has them, and its properties under their own names. Resource attributes follow the semantic conventions
//! where they have a name (`service.*`, `os.*`, `host.arch`, `process.runtime.*`, `telemetry.sdk.*`); the rest of the
//! context is `telemetryd.context.…`.

mod any;
mod json;
mod proto;
mod resource;

use serde_json::Value;
use telemetry_protocol::time::parse_rfc3339;

use self::any::Any;
use super::shape::{Shaped, received_ms};
use super::{Bound, Limits};
use crate::types::{Batch, Event};

/// The Collector's receiver takes 20 MiB a request (`max_request_body_size`, confighttp).
pub(super) const LIMITS: Limits = Limits {
    max_events: u32::MAX,
    max_bytes: 20 * 1024 * 1024,
    max_event_bytes: u64::MAX,
};

/// Beside the payload: what a record and a resource of its own take, with a few properties. Many small properties make
/// it longer, JSON more than protobuf: then the batch is cut again.
pub(super) const BOUND: Bound = Bound {
    per_batch: 64,
    per_event: 512,
};

/// What a request carries.
struct Request {
    scope: (&'static str, String),
    resources: Vec<Resource>,
}

/// Events of one tool and one context, in their order.
struct Resource {
    attributes: Vec<(String, Any)>,
    records: Vec<Record>,
}

/// One event.
struct Record {
    time_ns: u64,
    observed_ns: u64,
    name: String,
    attributes: Vec<(String, Any)>,
}

/// What events of one resource have in common.
type Key<'a> = (&'a str, Option<&'a str>, Option<String>);

/// The protobuf form.
pub(super) fn write_protobuf(out: &mut Vec<u8>, batch: &Batch<'_>, version: &str) {
    proto::write(out, &request(batch, version));
}

/// The JSON form.
pub(super) fn write_json(out: &mut Vec<u8>, batch: &Batch<'_>, version: &str) {
    json::write(out, &request(batch, version));
}

/// Whether an answer says that records were rejected: `partial_success.rejected_log_records` above zero. A message
/// alone is a warning.
pub(super) fn rejects(body: &[u8], protobuf: bool) -> bool {
    if protobuf {
        return proto::rejected(body) > 0;
    }
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return false;
    };
    // An int64 is a string in protobuf's JSON; a number is accepted, too.
    match &answer["partialSuccess"]["rejectedLogRecords"] {
        Value::String(text) => text.parse::<i64>().is_ok_and(|rejected| rejected > 0),
        Value::Number(number) => number.as_i64().is_some_and(|rejected| rejected > 0),
        _ => false,
    }
}

fn request(batch: &Batch<'_>, version: &str) -> Request {
    let mut resources: Vec<Resource> = Vec::new();
    let mut last: Option<Key<'_>> = None;
    for event in &batch.events {
        let shaped = Shaped::of(batch, event, false);
        let context = shaped.context.as_ref().map(|context| context.json().into_owned());
        let key = (event.tool, shaped.parts.tool_version(), context);
        let record = record(batch, event, &shaped);
        match resources.last_mut() {
            Some(resource) if last.as_ref() == Some(&key) => resource.records.push(record),
            _ => {
                resources.push(Resource {
                    attributes: resource::attributes(key.0, key.1, key.2.as_deref()),
                    records: vec![record],
                });
                last = Some(key);
            }
        }
    }
    Request {
        scope: ("telemetryd", version.to_owned()),
        resources,
    }
}

fn record(batch: &Batch<'_>, event: &Event<'_>, shaped: &Shaped<'_>) -> Record {
    let received = received_ms(batch, event);
    let text = |raw: &str| serde_json::from_str::<String>(raw).unwrap_or_default();
    let name = text(shaped.event);
    let mut attributes = vec![
        (
            "event.id".to_owned(),
            Any::text(&event.id.hyphenated().to_string()),
        ),
        ("event.name".to_owned(), Any::text(&name)),
    ];
    for (key, raw) in [
        ("enduser.pseudo.id", shaped.parts.anonymous_id()),
        ("project.id", shaped.parts.project_id()),
    ] {
        attributes.extend(raw.map(|raw| (key.to_owned(), Any::of(raw))));
    }
    let add = |attributes: &mut Vec<(String, Any)>, name: &str, raw: &str| {
        // The ids above are ours to say.
        if attributes.iter().all(|(own, _)| own != name) {
            attributes.push((name.to_owned(), Any::of(raw)));
        }
    };
    for (name, raw) in super::read::members(&shaped.properties.json()) {
        add(&mut attributes, &name, raw);
    }
    for (field, value) in &shaped.own {
        add(&mut attributes, field.target(), &value.json());
    }
    Record {
        time_ns: parse_rfc3339(&text(&shaped.time)).map_or_else(|| nanos(received), nanos),
        observed_ns: nanos(received),
        name,
        attributes,
    }
}

/// Nanoseconds since the epoch; nothing is before it.
fn nanos(at_ms: i64) -> u64 {
    u64::try_from(at_ms).unwrap_or(0).saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_records_are_told_from_a_warning_in_both_forms() {
        // ExportLogsServiceResponse { partial_success: { rejected_log_records: 3, error_message: "no" } }
        assert!(rejects(&[0x0a, 0x06, 0x08, 0x03, 0x12, 0x02, b'n', b'o'], true));
        assert!(!rejects(&[0x0a, 0x04, 0x12, 0x02, b'h', b'm'], true));
        assert!(!rejects(&[], true));
        assert!(!rejects(&[0x0a, 0xff], true), "what cannot be read says nothing");
        assert!(rejects(
            br#"{"partialSuccess":{"rejectedLogRecords":"3"}}"#,
            false
        ));
        assert!(rejects(br#"{"partialSuccess":{"rejectedLogRecords":3}}"#, false));
        assert!(!rejects(br#"{"partialSuccess":{"errorMessage":"hm"}}"#, false));
        assert!(!rejects(br#"{"partialSuccess":{}}"#, false));
        assert!(!rejects(b"", false));
    }
}
