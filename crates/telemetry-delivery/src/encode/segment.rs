//! `segment`: Segment's tracking API (<https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/>),
//! which RudderStack and Jitsu take, too. Two forms: `batch`, many messages a request, and `track`, one call an event,
//! which is what dlt's own trackers take.
//!
//! A message has `anonymousId`, `event`, `properties` and `context` as dlt sends them, and what makes a resend
//! harmless and a wrong clock mendable: `messageId` (the event's id), `timestamp`, `originalTimestamp`, `sentAt`.

use super::shape::{Shaped, quoted_time, set_own};
use super::tree::Tree;
use super::{Bound, Limits};
use crate::types::{Batch, Event};

/// Segment's own limits: 500 KiB a batch, 32 KiB an event (the API's page, "Max request size").
pub(super) const BATCH: Limits = Limits {
    max_events: u32::MAX,
    max_bytes: 500 * 1024,
    max_event_bytes: EVENT_MAX,
};
/// One event a request.
pub(super) const TRACK: Limits = Limits {
    max_events: 1,
    max_bytes: EVENT_MAX,
    max_event_bytes: EVENT_MAX,
};
const EVENT_MAX: u64 = 32 * 1024;

/// Beside the payload: names, two ids, and the time once more. A client's time with a fraction of more than nine digits,
/// or a mapping, makes it longer: then the batch is cut again.
pub(super) const BOUND: Bound = Bound {
    per_batch: FRAME.len() as u32 + 24,
    per_event: (MESSAGE.len() + 36 + 36 + 38) as u32,
};
const FRAME: &str = r#"{"batch":[],"sentAt":""}"#;
const MESSAGE: &str = concat!(
    r#"{"type":"track","anonymousId":"","event":,"properties":{},"context":{},"messageId":"","#,
    r#""timestamp":,"originalTimestamp":,"sentAt":""},"#,
);

/// Members that say which event it is: no mapping replaces them.
const KEPT: &[&str] = &["messageId", "type"];

/// Many messages.
pub(super) fn write_batch(out: &mut Vec<u8>, batch: &Batch<'_>) -> Option<String> {
    let mut unfit = None;
    out.extend_from_slice(br#"{"batch":["#);
    for (index, event) in batch.events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let start = out.len();
        message(batch, event, true).write(out);
        unfit = unfit.or_else(|| too_large(out.len() - start));
    }
    out.extend_from_slice(br#"],"sentAt":"#);
    out.extend_from_slice(quoted_time(batch.sent_at_ms).as_bytes());
    out.push(b'}');
    unfit
}

/// One call.
pub(super) fn write_track(out: &mut Vec<u8>, batch: &Batch<'_>) -> Option<String> {
    let event = batch.events.first()?;
    message(batch, event, false).write(out);
    too_large(out.len())
}

fn too_large(bytes: usize) -> Option<String> {
    (bytes as u64 > EVENT_MAX)
        .then(|| format!("an event has {bytes} bytes in Segment's form, which takes {EVENT_MAX} at most"))
}

fn message<'a>(batch: &Batch<'_>, event: &Event<'a>, among_others: bool) -> Tree<'a> {
    let shaped = Shaped::of(batch, event, true);
    let time = Tree::Raw(shaped.time.clone());
    let mut form = Tree::object([
        ("type", among_others.then_some(Tree::raw("\"track\""))),
        ("anonymousId", Some(shaped.somebody(event.id))),
        ("event", Some(Tree::raw(shaped.event))),
        ("properties", Some(shaped.properties)),
        ("context", Some(shaped.context.unwrap_or(Tree::raw("{}")))),
        ("messageId", Some(Tree::text(&event.id.hyphenated().to_string()))),
        ("timestamp", Some(time.clone())),
        ("originalTimestamp", Some(time)),
        (
            "sentAt",
            (!among_others).then(|| Tree::Raw(quoted_time(batch.sent_at_ms).into())),
        ),
    ]);
    set_own(&mut form, shaped.own, KEPT);
    form
}
