//! Any event, with any mapping, in every form: always a body that its format's own reader takes, always with the event's id.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Value, json};
use telemetry_delivery::{Encoding, Meta, encode};
use telemetry_protocol::map::{Mapping, Written};

use super::{VENDORS, batch, limits::destination};

/// JSON of all kinds, with names that hold dots, quotes and what is not ASCII.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Exact in every reader: serde_json itself reads the last digit of a long number as it comes.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner),
        ]
    })
}

fn object(of: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    let name = prop_oneof!["[a-c](\\.[a-c]){0,2}", any::<String>()];
    prop::collection::btree_map(name, of, 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// What an event may be stored with.
fn payload() -> impl Strategy<Value = String> {
    let optional = |of: BoxedStrategy<Value>| prop::option::of(of);
    let text = || any::<String>().prop_map(Value::from).boxed();
    (
        text(),
        optional(text()),
        optional(object(value()).boxed()),
        optional(object(value()).boxed()),
        any::<bool>(),
    )
        .prop_map(|(event, who, properties, context, pretty)| {
            let mut stored = json!({ "event": event, "time": "2026-11-21T10:00:00Z" });
            for (name, value) in [
                ("anonymous_id", who),
                ("properties", properties),
                ("context", context),
            ] {
                if let Some(value) = value {
                    stored[name] = value;
                }
            }
            match pretty {
                true => serde_json::to_string_pretty(&stored).unwrap(),
                false => stored.to_string(),
            }
        })
}

fn mapping() -> impl Strategy<Value = Mapping> {
    let target = prop_oneof![
        "(properties|context)(\\.[a-c]){1,2}",
        "[a-z]{1,8}",
        Just("messageId".to_owned())
    ];
    let source = prop_oneof![
        "(properties|context)(\\.[a-c]){0,3}",
        Just("anonymous_id".to_owned()),
        Just("time".to_owned()),
        Just("event".to_owned()),
    ];
    prop::collection::vec((target, source), 0..5).prop_map(|pairs| {
        // Those that go together; what does not is refused, which is tried elsewhere.
        let mut good = Vec::new();
        for pair in pairs {
            good.push(pair);
            let written = good
                .iter()
                .map(|(target, source)| (target.as_str(), Written::Path(source)));
            if Mapping::new(written).is_err() {
                good.pop();
            }
        }
        Mapping::new(
            good.iter()
                .map(|(target, source)| (target.as_str(), Written::Path(source))),
        )
        .unwrap()
    })
}

proptest! {
    #[test]
    fn every_form_takes_any_event(stored in prop::collection::vec(payload(), 1..4), map in mapping(), mapped: bool) {
        let map = mapped.then_some(&map);
        let events: Vec<_> = stored.iter().map(|stored| ("tool", stored.as_str(), map)).collect();
        let batch = batch(&events);
        for encoding in VENDORS.into_iter().chain([Encoding::Json, Encoding::Ndjson, Encoding::NdjsonText]) {
            let body = encode(encoding, &batch, "key").body;
            match encoding {
                Encoding::Otlp => {
                    let request = ExportLogsServiceRequest::decode(body.as_slice()).unwrap();
                    let json = encode(Encoding::OtlpJson, &batch, "key").body;
                    let json: ExportLogsServiceRequest = serde_json::from_slice(&json).unwrap();
                    prop_assert_eq!(request, json);
                }
                Encoding::Ndjson | Encoding::NdjsonText => {
                    let lines: Vec<Value> = body
                        .split_inclusive(|byte| *byte == b'\n')
                        .map(|line| serde_json::from_slice(line).unwrap())
                        .collect();
                    prop_assert_eq!(lines.len(), events.len());
                    for (line, event) in lines.iter().zip(&batch.events) {
                        prop_assert_eq!(&line["id"], &event.id.to_string());
                    }
                }
                _ => {
                    let value: Value = serde_json::from_slice(&body).unwrap();
                    prop_assert!(value.is_object());
                    let first = batch.events[0].id.to_string();
                    let there = String::from_utf8_lossy(&body).contains(&first);
                    prop_assert!(there || encoding == Encoding::Mapped, "{:?}", encoding);
                }
            }
            // And the sent log shows it again.
            let meta = Meta::from_text(&Meta::new(&destination(encoding), &batch).to_text()).unwrap();
            prop_assert_eq!(
                meta.body(batch.id, batch.losses, &batch.events),
                encode(encoding.shown(), &batch, "*****").body
            );
        }
    }
}
