//! The JSON form: protobuf's JSON mapping, with camelCase names and 64-bit integers as strings (OTLP specification,
//! "JSON Protobuf Encoding").

use super::{Any, Record, Request, Resource};
use crate::encode::{write_number, write_string};

/// ExportLogsServiceRequest.
pub(super) fn write(out: &mut Vec<u8>, request: &Request) {
    out.extend_from_slice(br#"{"resourceLogs":"#);
    list(out, &request.resources, |out, of| {
        resource_logs(out, of, &request.scope)
    });
    out.push(b'}');
}

fn resource_logs(out: &mut Vec<u8>, of: &Resource, scope: &(&str, String)) {
    out.extend_from_slice(br#"{"resource":{"attributes":"#);
    key_values(out, &of.attributes);
    out.extend_from_slice(br#"},"scopeLogs":[{"scope":{"name":"#);
    write_string(out, scope.0);
    out.extend_from_slice(br#","version":"#);
    write_string(out, &scope.1);
    out.extend_from_slice(br#"},"logRecords":"#);
    list(out, &of.records, log_record);
    out.extend_from_slice(b"}]}");
}

fn log_record(out: &mut Vec<u8>, record: &Record) {
    out.extend_from_slice(br#"{"timeUnixNano":""#);
    write_number(out, record.time_ns);
    out.extend_from_slice(br#"","observedTimeUnixNano":""#);
    write_number(out, record.observed_ns);
    out.extend_from_slice(br#"","eventName":"#);
    write_string(out, &record.name);
    out.extend_from_slice(br#","attributes":"#);
    key_values(out, &record.attributes);
    out.push(b'}');
}

fn key_values(out: &mut Vec<u8>, members: &[(String, Any)]) {
    list(out, members, |out, (key, value)| {
        out.extend_from_slice(br#"{"key":"#);
        write_string(out, key);
        out.extend_from_slice(br#","value":"#);
        any(out, value);
        out.push(b'}');
    });
}

fn any(out: &mut Vec<u8>, value: &Any) {
    match value {
        Any::Empty => out.extend_from_slice(b"{"),
        Any::Text(value) => {
            out.extend_from_slice(br#"{"stringValue":"#);
            write_string(out, value);
        }
        Any::Flag(true) => out.extend_from_slice(br#"{"boolValue":true"#),
        Any::Flag(false) => out.extend_from_slice(br#"{"boolValue":false"#),
        Any::Int(value) => {
            out.extend_from_slice(br#"{"intValue":""#);
            out.extend_from_slice(value.to_string().as_bytes());
            out.push(b'"');
        }
        Any::Double(value) => {
            out.extend_from_slice(br#"{"doubleValue":"#);
            // JSON has no other numbers, so what was parsed from it is finite.
            out.extend_from_slice(serde_json::Value::from(*value).to_string().as_bytes());
        }
        Any::Array(items) => {
            out.extend_from_slice(br#"{"arrayValue":{"values":"#);
            list(out, items, any);
            out.push(b'}');
        }
        Any::List(members) => {
            out.extend_from_slice(br#"{"kvlistValue":{"values":"#);
            key_values(out, members);
            out.push(b'}');
        }
    }
    out.push(b'}');
}

fn list<T>(out: &mut Vec<u8>, items: &[T], mut one: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        one(out, item);
    }
    out.push(b']');
}
