//! From events to bytes: one file and one pure function for each encoding.
//!
//! Payloads are spliced, never parsed again: they were checked before they were stored (I4), and parsing is
//! what would cost (measured: a copy runs at memory speed, serde_json to a value at 0.26 M events/s).

mod json;
mod ndjson;

use uuid::Uuid;

use crate::types::{Batch, Encoding, Event};

/// This version of telemetryd, as `source.version` has it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How large a batch can get: `per_batch`, and for each event its payload, its tool's name and `per_event`,
/// all in bytes before compression. Never less than the encoded size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Once a batch.
    pub per_batch: u32,
    /// For each event, beside its payload and its tool's name.
    pub per_event: u32,
}

/// The body of a request, before compression, by this version.
#[must_use]
pub fn encode(encoding: Encoding, batch: &Batch<'_>) -> Vec<u8> {
    encode_as(encoding, batch, VERSION)
}

/// The body as telemetryd `version` sends it.
pub(crate) fn encode_as(encoding: Encoding, batch: &Batch<'_>, version: &str) -> Vec<u8> {
    let bound = size_bound(encoding);
    let room: usize = batch
        .events
        .iter()
        .map(|event| event.payload.len() + event.tool.len() + bound.per_event as usize)
        .sum::<usize>()
        + bound.per_batch as usize;
    let mut out = Vec::with_capacity(room);
    match encoding {
        Encoding::Json => json::write(&mut out, batch, version),
        Encoding::Ndjson => ndjson::write(&mut out, batch),
    }
    out
}

/// An upper bound of [`encode`]'s size that needs no encoding, tight to about 20 bytes an event: batches are
/// cut by it. Holds for tool names of the protocol's form (`[a-z0-9._-]`, PROTOCOL.md), which need no
/// escapes, and for versions of up to 64 bytes.
#[must_use]
pub const fn size_bound(encoding: Encoding) -> Bound {
    match encoding {
        Encoding::Json => json::BOUND,
        Encoding::Ndjson => ndjson::BOUND,
    }
}

/// What `Content-Type` says.
pub(crate) const fn content_type(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Json => "application/json",
        Encoding::Ndjson => "application/x-ndjson",
    }
}

/// Bytes of an event's object beside its payload and its tool's name, at most: the fixed text, an id, an age of twenty
/// digits, and a comma after the payload's members; less the payload's own two braces.
const EVENT_OVERHEAD: u32 = (r#"{"id":"","tool":"",,"age_ms":}"#.len() + 36 + 20 - 2) as u32;

/// One event's object: `id` and `tool`, the payload's members, `age_ms`.
fn write_event(out: &mut Vec<u8>, event: &Event<'_>) {
    out.extend_from_slice(br#"{"id":""#);
    write_uuid(out, event.id);
    out.extend_from_slice(br#"","tool":"#);
    write_string(out, event.tool);
    // Without the braces: the payload's members go beside the ones written here.
    let members = event
        .payload
        .get(1..event.payload.len().saturating_sub(1))
        .unwrap_or_default()
        .trim_ascii();
    out.push(b',');
    if !members.is_empty() {
        out.extend_from_slice(members);
        out.push(b',');
    }
    out.extend_from_slice(br#""age_ms":"#);
    write_number(out, event.age_ms);
    out.push(b'}');
}

fn write_uuid(out: &mut Vec<u8>, id: Uuid) {
    let mut buffer = Uuid::encode_buffer();
    out.extend_from_slice(id.hyphenated().encode_lower(&mut buffer).as_bytes());
}

/// A JSON string, escaped where it must be.
fn write_string(out: &mut Vec<u8>, text: &str) {
    if text
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
    {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a string is valid JSON, and a Vec takes every write");
    }
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
