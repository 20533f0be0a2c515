//! The protobuf form, written out by the field numbers of opentelemetry-proto 1.x (logs.proto, common.proto,
//! resource.proto, logs_service.proto): eight messages and four wire types, checked against the official definitions.

use super::{Any, Record, Request, Resource};

/// Wire types (<https://protobuf.dev/programming-guides/encoding/>).
const VARINT: u64 = 0;
const I64: u64 = 1;
const LEN: u64 = 2;
const I32: u64 = 5;

/// ExportLogsServiceRequest.
pub(super) fn write(out: &mut Vec<u8>, request: &Request) {
    for resource in &request.resources {
        message(out, 1, |out| resource_logs(out, resource, &request.scope));
    }
}

fn resource_logs(out: &mut Vec<u8>, of: &Resource, scope: &(&str, String)) {
    message(out, 1, |out| key_values(out, 1, &of.attributes));
    message(out, 2, |out| {
        message(out, 1, |out| {
            text(out, 1, scope.0);
            text(out, 2, &scope.1);
        });
        for record in &of.records {
            message(out, 2, |out| log_record(out, record));
        }
    });
}

fn log_record(out: &mut Vec<u8>, record: &Record) {
    fixed64(out, 1, record.time_ns);
    key_values(out, 6, &record.attributes);
    fixed64(out, 11, record.observed_ns);
    text(out, 12, &record.name);
}

fn key_values(out: &mut Vec<u8>, field: u64, list: &[(String, Any)]) {
    for (key, value) in list {
        message(out, field, |out| {
            text(out, 1, key);
            message(out, 2, |out| any(out, value));
        });
    }
}

/// A oneof: its default value is written, too, or it would be no value at all.
fn any(out: &mut Vec<u8>, value: &Any) {
    match value {
        Any::Empty => {}
        Any::Text(value) => {
            tag(out, 1, LEN);
            varint(out, value.len() as u64);
            out.extend_from_slice(value.as_bytes());
        }
        Any::Flag(value) => {
            tag(out, 2, VARINT);
            varint(out, u64::from(*value));
        }
        Any::Int(value) => {
            tag(out, 3, VARINT);
            varint(out, value.cast_unsigned());
        }
        Any::Double(value) => {
            tag(out, 4, I64);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Any::Array(items) => message(out, 5, |out| {
            for item in items {
                message(out, 1, |out| any(out, item));
            }
        }),
        Any::List(members) => message(out, 6, |out| key_values(out, 1, members)),
    }
}

/// A field of the wire type LEN whose content is written by `inside`; the length is put before it afterwards.
fn message(out: &mut Vec<u8>, field: u64, inside: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, LEN);
    let start = out.len();
    inside(out);
    let length = out.len() - start;
    let mut prefix = Vec::with_capacity(5);
    varint(&mut prefix, length as u64);
    out.splice(start..start, prefix);
}

fn text(out: &mut Vec<u8>, field: u64, value: &str) {
    if !value.is_empty() {
        tag(out, field, LEN);
        varint(out, value.len() as u64);
        out.extend_from_slice(value.as_bytes());
    }
}

fn fixed64(out: &mut Vec<u8>, field: u64, value: u64) {
    tag(out, field, I64);
    out.extend_from_slice(&value.to_le_bytes());
}

fn tag(out: &mut Vec<u8>, field: u64, wire: u64) {
    varint(out, field << 3 | wire);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// ExportLogsServiceResponse: `partial_success.rejected_log_records`; 0 where it is not there or cannot be read.
pub(super) fn rejected(body: &[u8]) -> i64 {
    field(body, 1)
        .and_then(|found| match found {
            Found::Bytes(partial) => field(partial, 1),
            Found::Number(_) => None,
        })
        .map_or(0, |found| match found {
            Found::Number(rejected) => rejected.cast_signed(),
            Found::Bytes(_) => 0,
        })
}

enum Found<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The last occurrence of a field in a message, as protobuf has it.
fn field(mut message: &[u8], wanted: u64) -> Option<Found<'_>> {
    let mut last = None;
    while !message.is_empty() {
        let (key, rest) = read_varint(message)?;
        let (found, rest) = match key & 7 {
            VARINT => {
                let (number, rest) = read_varint(rest)?;
                (Found::Number(number), rest)
            }
            LEN => {
                let (length, rest) = read_varint(rest)?;
                let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Found::Bytes(bytes), rest)
            }
            I64 => (Found::Number(0), rest.get(8..)?),
            I32 => (Found::Number(0), rest.get(4..)?),
            _ => return None,
        };
        if key >> 3 == wanted {
            last = Some(found);
        }
        message = rest;
    }
    last
}

fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}
