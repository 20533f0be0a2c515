//! Encoding `otlp`: OTLP/HTTP logs, protobuf or JSON. One event a log record; the resource becomes the event's
//! `context`, its `service.name` the tool.

mod protobuf;

use serde_json::{Map, Value};

use super::Undecodable;
use super::vendor::{content, shape};
use crate::received::{Content, Encoding};
use telemetry_protocol::time::Rfc3339;

/// Reads the protobuf form.
pub(super) fn decode_protobuf(plain: &[u8]) -> Result<Content, Undecodable> {
    let request = protobuf::request(plain)
        .ok_or_else(|| shape("the body", "an ExportLogsServiceRequest of opentelemetry-proto"))?;
    decode_json(&request)
}

/// Reads the JSON form.
pub(super) fn decode_json(whole: &Value) -> Result<Content, Undecodable> {
    let mut events = Vec::new();
    for resource in items(whole, "resourceLogs")? {
        let about = attributes(&resource["resource"]["attributes"]);
        for scope in items(resource, "scopeLogs")? {
            for record in items(scope, "logRecords")? {
                events.push(event(record, &about));
            }
        }
    }
    if events.is_empty() {
        return Err(shape("resourceLogs", "a request has at least one log record"));
    }
    Ok(content(Encoding::Otlp, events))
}

fn items<'a>(of: &'a Value, key: &str) -> Result<&'a Vec<Value>, Undecodable> {
    of[key].as_array().ok_or_else(|| shape(key, "an array"))
}

fn event(record: &Value, about: &Map<String, Value>) -> Value {
    let mut properties = attributes(&record["attributes"]);
    let mut event = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            event.insert(name.to_owned(), value);
        }
    };
    put("id", properties.remove("event.id"));
    put("tool", about.get("service.name").cloned());
    put("tool_version", about.get("service.version").cloned());
    let name = properties.remove("event.name");
    let own = record["eventName"].as_str().filter(|name| !name.is_empty());
    put("event", own.map(Value::from).or(name));
    let nanos = record["timeUnixNano"]
        .as_str()
        .and_then(|text| text.parse::<u64>().ok());
    let time = nanos.and_then(|nanos| i64::try_from(nanos / 1_000_000).ok());
    put("time", time.map(|at| Rfc3339(at).to_string().into()));
    put("anonymous_id", properties.remove("enduser.pseudo.id"));
    put("project_id", properties.remove("project.id"));
    put("properties", Some(Value::Object(properties)));
    put("context", Some(Value::Object(about.clone())));
    Value::Object(event)
}

/// A list of pairs as an object.
fn attributes(list: &Value) -> Map<String, Value> {
    let pairs = list.as_array().into_iter().flatten();
    pairs
        .filter_map(|pair| Some((pair["key"].as_str()?.to_owned(), any(&pair["value"]))))
        .collect()
}

/// An `AnyValue` in JSON's own words.
fn any(value: &Value) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|object| object.iter().next()) else {
        return Value::Null;
    };
    match kind.as_str() {
        // An int64 is a string in protobuf's JSON.
        "intValue" => match inner.as_str().and_then(|text| text.parse::<i64>().ok()) {
            Some(int) => int.into(),
            None => inner.clone(),
        },
        "arrayValue" => inner["values"]
            .as_array()
            .into_iter()
            .flatten()
            .map(any)
            .collect(),
        "kvlistValue" => Value::Object(attributes(&inner["values"])),
        _ => inner.clone(),
    }
}
