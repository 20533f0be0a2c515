//! From events to bytes: one file and one pure function for each encoding.
//!
//! Payloads are spliced, never parsed again: they were checked before they were stored (I4), and parsing is
//! what would cost (measured: a copy runs at memory speed, serde_json to a value at 0.26 M events/s).

mod heap;
mod json;
mod mapped;
mod ndjson;
mod otlp;
mod posthog;
mod read;
mod segment;
mod shape;
mod tree;

use uuid::Uuid;

use self::shape::{Shaped, set_own};
use self::tree::Tree;
use crate::types::{Batch, Encoding, Event};

/// This version of telemetryd, as `source.version` has it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How large a batch gets: `per_batch`, and for each event its payload, its tool's name and `per_event`, all in bytes
/// before compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Once a batch.
    pub per_batch: u32,
    /// For each event, beside its payload and its tool's name.
    pub per_event: u32,
}

/// What an encoding's vendor takes in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events.
    pub max_events: u32,
    /// Bytes of the body before compression.
    pub max_bytes: u64,
    /// Bytes of one event in the body.
    pub max_event_bytes: u64,
}

impl Limits {
    /// None but those of the config.
    const NONE: Self = Self {
        max_events: u32::MAX,
        max_bytes: u64::MAX,
        max_event_bytes: u64::MAX,
    };
}

/// A request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The body before compression.
    pub body: Vec<u8>,
    /// Why one of its events can never be sent in this encoding, for people: it is larger than the vendor takes, or
    /// nothing says how it is built. The batch must not go as it is.
    pub unfit: Option<String>,
}

/// The body of a request, before compression, by this version. `key` stands where the form has its key in the body
/// (`heap`, `posthog`).
#[must_use]
pub fn encode(encoding: Encoding, batch: &Batch<'_>, key: &str) -> Encoded {
    encode_as(encoding, batch, key, VERSION)
}

/// The body as telemetryd `version` sends it.
pub(crate) fn encode_as(encoding: Encoding, batch: &Batch<'_>, key: &str, version: &str) -> Encoded {
    let bound = size_bound(encoding);
    let room: usize = batch
        .events
        .iter()
        .map(|event| event.payload.len() + event.tool.len() + bound.per_event as usize)
        .sum::<usize>()
        + bound.per_batch as usize;
    let mut body = Vec::with_capacity(room);
    let out = &mut body;
    let mut unfit = None;
    match encoding {
        Encoding::Json => json::write(out, batch, version),
        Encoding::Ndjson => ndjson::write(out, batch),
        Encoding::NdjsonText => ndjson::write_text(out, batch),
        Encoding::Segment => unfit = segment::write_batch(out, batch),
        Encoding::SegmentTrack => unfit = segment::write_track(out, batch),
        Encoding::Heap => heap::write_bulk(out, batch, key),
        Encoding::HeapTrack => heap::write_track(out, batch, key),
        Encoding::Posthog => unfit = posthog::write(out, batch, key, version),
        Encoding::Otlp => otlp::write_protobuf(out, batch, version),
        Encoding::OtlpJson => otlp::write_json(out, batch, version),
        Encoding::Mapped => unfit = mapped::write(out, batch),
    }
    Encoded { body, unfit }
}

/// How large [`encode`]'s body gets, without encoding: batches are cut by it. For `json` and `ndjson` without a mapping
/// it is an upper bound, tight to about 20 bytes an event; elsewhere it is what is usual, and [`may_outgrow`] says that
/// the encoded size has to be looked at. Holds for tool names of the protocol's form (`[a-z0-9._-]`, PROTOCOL.md),
/// which need no escapes, and for versions of up to 64 bytes.
#[must_use]
pub const fn size_bound(encoding: Encoding) -> Bound {
    match encoding {
        Encoding::Json => json::BOUND,
        Encoding::Ndjson => ndjson::BOUND,
        Encoding::NdjsonText => ndjson::TEXT_BOUND,
        Encoding::Segment | Encoding::SegmentTrack => segment::BOUND,
        Encoding::Heap | Encoding::HeapTrack => heap::BOUND,
        Encoding::Posthog => posthog::BOUND,
        Encoding::Otlp | Encoding::OtlpJson => otlp::BOUND,
        Encoding::Mapped => mapped::BOUND,
    }
}

/// Whether a batch's body can be larger than [`size_bound`] says.
#[must_use]
pub fn may_outgrow(encoding: Encoding, batch: &Batch<'_>) -> bool {
    !matches!(encoding, Encoding::Json | Encoding::Ndjson)
        || batch.events.iter().any(|event| event.map.is_some())
}

/// What its vendor takes.
#[must_use]
pub const fn limits(encoding: Encoding) -> Limits {
    match encoding {
        Encoding::Json | Encoding::Ndjson | Encoding::NdjsonText => Limits::NONE,
        Encoding::Segment => segment::BATCH,
        Encoding::SegmentTrack => segment::TRACK,
        Encoding::Heap => heap::BULK,
        Encoding::HeapTrack => heap::TRACK,
        Encoding::Posthog => posthog::LIMITS,
        Encoding::Otlp | Encoding::OtlpJson => otlp::LIMITS,
        Encoding::Mapped => mapped::LIMITS,
    }
}

/// Whether the body of a 2xx says, in the vendor's words, that events were refused all the same: `success: false`
/// (Segment's, Heap's and in-house trackers), `status: 0` (PostHog), `partial_success` with rejected records (OTLP).
pub(crate) fn refuses(encoding: Encoding, answer: &[u8]) -> bool {
    match encoding {
        Encoding::Json | Encoding::Ndjson | Encoding::NdjsonText => false,
        Encoding::Otlp => otlp::rejects(answer, true),
        Encoding::OtlpJson => otlp::rejects(answer, false),
        Encoding::Segment
        | Encoding::SegmentTrack
        | Encoding::Heap
        | Encoding::HeapTrack
        | Encoding::Posthog
        | Encoding::Mapped => serde_json::from_slice::<serde_json::Value>(answer).is_ok_and(|answer| {
            answer["success"] == false || (encoding == Encoding::Posthog && answer["status"] == 0)
        }),
    }
}

impl Encoding {
    /// The form in which people are shown the body: the same, or JSON that says what protobuf does.
    #[must_use]
    pub const fn shown(self) -> Self {
        match self {
            Self::Otlp => Self::OtlpJson,
            same => same,
        }
    }
}

/// What `Content-Type` says.
pub(crate) const fn content_type(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Ndjson | Encoding::NdjsonText => "application/x-ndjson",
        Encoding::Otlp => "application/x-protobuf",
        _ => "application/json",
    }
}

/// Bytes of an event's object beside its payload and its tool's name, at most: the fixed text, an id, an age of twenty
/// digits, and a comma after the payload's members; less the payload's own two braces.
const EVENT_OVERHEAD: u32 = (r#"{"id":"","tool":"",,"age_ms":}"#.len() + 36 + 20 - 2) as u32;

/// One event's object: `id` and `tool`, the payload's members, `age_ms`.
fn write_event(out: &mut Vec<u8>, batch: &Batch<'_>, event: &Event<'_>) {
    if event.map.is_some_and(|map| !map.is_empty()) {
        return event_tree(batch, event).write(out);
    }
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

/// The same object, put together: its tool has a mapping, or members of it change.
fn event_tree<'a>(batch: &Batch<'_>, event: &Event<'a>) -> Tree<'a> {
    let shaped = Shaped::of(batch, event, false);
    let id = event.id.hyphenated().to_string();
    let mut form = Tree::object([
        ("id", Some(Tree::text(&id))),
        ("tool", Some(Tree::text(event.tool))),
    ]);
    let stored: &'a str = std::str::from_utf8(event.payload).unwrap_or("{}");
    for (name, value) in read::members(stored) {
        form.set([&*name].into_iter(), Tree::raw(value));
    }
    form.set(["properties"].into_iter(), shaped.properties);
    if let Some(context) = shaped.context {
        form.set(["context"].into_iter(), context);
    }
    set_own(&mut form, shaped.own, &["id", "tool", "age_ms"]);
    form.set(["age_ms"].into_iter(), Tree::Raw(event.age_ms.to_string().into()));
    form
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
