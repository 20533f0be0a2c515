//! The protobuf form into the JSON form: the fields of logs.proto, common.proto, resource.proto and logs_service.proto
//! (opentelemetry-proto 1.x) that a batch of events has. Others are skipped, as protobuf asks.

use serde_json::{Value, json};

/// Values in values; what is deeper is no request.
const DEPTH_MAX: usize = 128;

/// A field's content.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Number(_) => None,
        }
    }

    fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Bytes(_) => None,
        }
    }

    fn text(self) -> Option<Value> {
        Some(std::str::from_utf8(self.bytes()?).ok()?.into())
    }
}

/// ExportLogsServiceRequest; `None` if it is none.
pub(super) fn request(plain: &[u8]) -> Option<Value> {
    let mut resources = Vec::new();
    each(plain, |field, wire| {
        if field == 1 {
            resources.push(resource_logs(wire.bytes()?)?);
        }
        Some(())
    })?;
    Some(json!({ "resourceLogs": resources }))
}

fn resource_logs(message: &[u8]) -> Option<Value> {
    let (mut attributes, mut scopes) = (Vec::new(), Vec::new());
    each(message, |field, wire| {
        match field {
            1 => attributes = key_values(wire.bytes()?, 1, 0)?,
            2 => {
                let mut records = Vec::new();
                each(wire.bytes()?, |field, wire| {
                    if field == 2 {
                        records.push(log_record(wire.bytes()?)?);
                    }
                    Some(())
                })?;
                scopes.push(json!({ "logRecords": records }));
            }
            _ => {}
        }
        Some(())
    })?;
    Some(json!({ "resource": { "attributes": attributes }, "scopeLogs": scopes }))
}

fn log_record(message: &[u8]) -> Option<Value> {
    let mut record = json!({ "attributes": key_values(message, 6, 0)? });
    each(message, |field, wire| {
        match field {
            1 => record["timeUnixNano"] = wire.number()?.to_string().into(),
            11 => record["observedTimeUnixNano"] = wire.number()?.to_string().into(),
            12 => record["eventName"] = wire.text()?,
            _ => {}
        }
        Some(())
    })?;
    Some(record)
}

/// The pairs that stand in `field` of a message.
fn key_values(message: &[u8], field: u64, depth: usize) -> Option<Vec<Value>> {
    let mut pairs = Vec::new();
    each(message, |found, wire| {
        if found == field {
            let (mut key, mut value) = (Value::from(""), json!({}));
            each(wire.bytes()?, |field, wire| {
                match field {
                    1 => key = wire.text()?,
                    2 => value = any(wire.bytes()?, depth + 1)?,
                    _ => {}
                }
                Some(())
            })?;
            pairs.push(json!({ "key": key, "value": value }));
        }
        Some(())
    })?;
    Some(pairs)
}

fn any(message: &[u8], depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    let mut value = json!({});
    each(message, |field, wire| {
        value = match field {
            1 => json!({ "stringValue": wire.text()? }),
            2 => json!({ "boolValue": wire.number()? != 0 }),
            3 => json!({ "intValue": wire.number()?.cast_signed().to_string() }),
            4 => json!({ "doubleValue": f64::from_bits(wire.number()?) }),
            5 => {
                let mut values = Vec::new();
                each(wire.bytes()?, |field, wire| {
                    if field == 1 {
                        values.push(any(wire.bytes()?, depth + 1)?);
                    }
                    Some(())
                })?;
                json!({ "arrayValue": { "values": values } })
            }
            6 => json!({ "kvlistValue": { "values": key_values(wire.bytes()?, 1, depth)? } }),
            _ => return Some(()),
        };
        Some(())
    })?;
    Some(value)
}

/// Calls `found` with each field of a message.
fn each<'a>(mut message: &'a [u8], mut found: impl FnMut(u64, Wire<'a>) -> Option<()>) -> Option<()> {
    while !message.is_empty() {
        let (key, rest) = varint(message)?;
        let (wire, rest) = match key & 7 {
            0 => {
                let (number, rest) = varint(rest)?;
                (Wire::Number(number), rest)
            }
            1 => {
                let (bytes, rest) = rest.split_first_chunk::<8>()?;
                (Wire::Number(u64::from_le_bytes(*bytes)), rest)
            }
            2 => {
                let (length, rest) = varint(rest)?;
                let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Wire::Bytes(bytes), rest)
            }
            5 => {
                let (bytes, rest) = rest.split_first_chunk::<4>()?;
                (Wire::Number(u32::from_le_bytes(*bytes).into()), rest)
            }
            _ => return None,
        };
        found(key >> 3, wire)?;
        message = rest;
    }
    Some(())
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_request_is_none_and_never_panics() {
        for body in [
            &b"\x0a\xff"[..],
            b"{\"a\":1}",
            &[0xff; 20],
            b"\x0a\x02\x12\x09",
            b"\x0a\x03\x0a\x01\x0a",
        ] {
            assert_eq!(request(body), None, "{body:?}");
        }
        assert_eq!(request(b""), Some(json!({ "resourceLogs": [] })));
    }

    #[test]
    fn values_within_values_end_somewhere() {
        // AnyValue { array_value: { values: [ … ] } }, 200 times.
        let mut message = Vec::new();
        for _ in 0..200 {
            let mut outer = Vec::new();
            for tag in [0x0a, 0x2a] {
                outer = [&[tag][..], &length(message.len()), &message].concat();
                message = outer.clone();
            }
            message = outer;
        }
        assert_eq!(any(&message, 0), None);
    }

    fn length(mut value: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    }
}
