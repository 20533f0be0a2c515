//! OTLP bodies, read by the official definitions (the crate `opentelemetry-proto`).

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use prost::Message as _;
use telemetry_delivery::{Encoding, encode};

use super::{batch, mapping};

const CONTEXT: &str = r#""context":{"os":{"name":"linux"},"arch":"aarch64","cpu":8}"#;

fn both(events: &[(&str, &str)]) -> [ExportLogsServiceRequest; 2] {
    let map = mapping(&[("properties.is_arm", "context.arch")]);
    let events: Vec<_> = events
        .iter()
        .map(|(tool, payload)| (*tool, *payload, Some(&map)))
        .collect();
    let batch = batch(&events);
    let protobuf = encode(Encoding::Otlp, &batch, "").body;
    let json = encode(Encoding::OtlpJson, &batch, "").body;
    [
        ExportLogsServiceRequest::decode(protobuf.as_slice()).unwrap(),
        serde_json::from_slice(&json).unwrap(),
    ]
}

fn of<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Any> {
    let found: Vec<&KeyValue> = attributes.iter().filter(|own| own.key == key).collect();
    assert!(found.len() <= 1, "{key} is there twice");
    found.first()?.value.as_ref()?.value.as_ref()
}

fn text(text: &str) -> Any {
    Any::StringValue(text.to_owned())
}

#[test]
fn both_forms_say_the_same_to_the_official_definitions() {
    let values = r#"{"s":"é\n","i":-7,"f":1.5,"t":true,"n":null,"l":[1,"x"],"o":{"k":0},"z":0,"e":"","big":9007199254740993}"#;
    let full = format!(
        r#"{{"event":"ran","time":"2026-11-21T10:59:58.001+01:00","tool_version":"1","anonymous_id":"a","properties":{values},{CONTEXT}}}"#
    );
    let [protobuf, json] = both(&[("kedro", &full)]);
    assert_eq!(protobuf, json);
    let resource = &protobuf.resource_logs[0];
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(of(attributes, "service.name"), Some(&text("kedro")));
    assert_eq!(of(attributes, "host.arch"), Some(&text("arm64")));
    assert_eq!(of(attributes, "telemetryd.context.cpu"), Some(&Any::IntValue(8)));
    let scope = &resource.scope_logs[0];
    assert_eq!(scope.scope.as_ref().unwrap().name, "telemetryd");
    let record = &scope.log_records[0];
    assert_eq!(record.time_unix_nano, 1_795_255_198_001_000_000);
    assert_eq!(record.observed_time_unix_nano, 1_795_255_205_120_000_000);
    assert_eq!(record.event_name, "ran");
    let value = |key: &str| of(&record.attributes, key).cloned();
    assert_eq!(
        value("event.id"),
        Some(text("019aa6c2-0000-7000-8000-000000000001"))
    );
    assert_eq!(value("event.name"), Some(text("ran")));
    assert_eq!(value("enduser.pseudo.id"), Some(text("a")));
    assert_eq!(value("is_arm"), Some(text("aarch64")));
    assert_eq!(value("s"), Some(text("é\n")));
    assert_eq!(value("e"), Some(text("")));
    assert_eq!(value("i"), Some(Any::IntValue(-7)));
    assert_eq!(value("z"), Some(Any::IntValue(0)));
    assert_eq!(value("big"), Some(Any::IntValue(9_007_199_254_740_993)));
    assert_eq!(value("f"), Some(Any::DoubleValue(1.5)));
    assert_eq!(value("t"), Some(Any::BoolValue(true)));
    assert_eq!(value("n"), None, "null is a value that is none");
    assert!(record.attributes.iter().any(|own| own.key == "n"));
    let Some(Any::ArrayValue(list)) = value("l") else {
        panic!("an array")
    };
    assert_eq!(
        list.values[1],
        AnyValue {
            value: Some(text("x"))
        }
    );
    let Some(Any::KvlistValue(list)) = value("o") else {
        panic!("a list of pairs")
    };
    assert_eq!(list.values[0].key, "k");
}

#[test]
fn events_of_one_tool_and_one_context_share_a_resource() {
    let here = format!(r#"{{"event":"a",{CONTEXT}}}"#);
    let [requests, _] = both(&[
        ("t", &here),
        ("t", &here),
        ("u", &here),
        ("u", r#"{"event":"b"}"#),
    ]);
    let records = requests
        .resource_logs
        .iter()
        .map(|resource| resource.scope_logs[0].log_records.len());
    assert_eq!(records.collect::<Vec<_>>(), [2, 1, 1]);
}

#[test]
fn a_property_cannot_pass_for_the_events_id() {
    let [requests, json] = both(&[(
        "t",
        r#"{"event":"e","properties":{"event.id":"another","event.name":"n"}}"#,
    )]);
    assert_eq!(requests, json);
    let record = &requests.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(
        of(&record.attributes, "event.id"),
        Some(&text("019aa6c2-0000-7000-8000-000000000001"))
    );
    assert_eq!(of(&record.attributes, "event.name"), Some(&text("e")));
}
