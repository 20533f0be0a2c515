//! `posthog`: PostHog's batch form (<https://posthog.com/docs/api/capture>): `api_key` from `auth`, and each event with
//! `distinct_id` (the anonymous id), `uuid` (the event's id, by which PostHog knows a resend) and its properties.
//!
//! The context goes among the properties, as `context`. Each event asks PostHog not to look up where the sender's
//! address is, and to make no profile of a person.

use std::borrow::Cow;

use super::read::find;
use super::shape::{Shaped, quoted_time, set_own};
use super::tree::Tree;
use super::{Bound, Limits, write_string};
use crate::types::{Batch, Event};

/// PostHog's limits: 20 MB a batch, 1 MB an event (the API's page; `posthog` itself cuts at 900 KiB an event).
pub(super) const LIMITS: Limits = Limits {
    max_events: u32::MAX,
    max_bytes: 20_000_000,
    max_event_bytes: EVENT_MAX,
};
const EVENT_MAX: u64 = 900 * 1024;

/// Beside the payload: names, ids and what is said of this sender. A mapping makes it longer: then the batch is cut
/// again.
pub(super) const BOUND: Bound = Bound {
    per_batch: FRAME.len() as u32 + 24 + 64,
    per_event: (EVENT.len() + OURS.len() + 36 + 36 + 64) as u32,
};
const FRAME: &str = r#"{"api_key":"","historical_migration":false,"sent_at":"","batch":[]}"#;
const EVENT: &str = r#"{"event":,"distinct_id":"","timestamp":,"uuid":"","properties":{"context":,}},"#;
const OURS: &str =
    r#""$lib":"telemetryd","$lib_version":"","$geoip_disable":true,"$process_person_profile":false,"#;

/// Members that say which event it is: no mapping replaces them.
const KEPT: &[&str] = &["uuid"];

/// Many events.
pub(super) fn write(out: &mut Vec<u8>, batch: &Batch<'_>, key: &str, version: &str) -> Option<String> {
    let mut unfit = None;
    out.extend_from_slice(br#"{"api_key":"#);
    write_string(out, key);
    out.extend_from_slice(br#","historical_migration":false,"sent_at":"#);
    out.extend_from_slice(quoted_time(batch.sent_at_ms).as_bytes());
    out.extend_from_slice(br#","batch":["#);
    for (index, event) in batch.events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let start = out.len();
        form(batch, event, version).write(out);
        let bytes = out.len() - start;
        if bytes as u64 > EVENT_MAX {
            unfit.get_or_insert_with(|| {
                format!("an event has {bytes} bytes in PostHog's form, which takes {EVENT_MAX} at most")
            });
        }
    }
    out.extend_from_slice(b"]}");
    unfit
}

fn form<'a>(batch: &Batch<'_>, event: &Event<'a>, version: &str) -> Tree<'a> {
    let shaped = Shaped::of(batch, event, true);
    let somebody = shaped.somebody(event.id);
    let mut properties = shaped.properties;
    let there = |properties: &Tree<'_>, name: &str| find(&properties.json(), name).is_some();
    if let Some(context) = shaped.context
        && !there(&properties, "context")
    {
        properties.set(["context"].into_iter(), context);
    }
    for (name, value) in [
        ("$lib", Tree::raw("\"telemetryd\"")),
        ("$lib_version", Tree::text(version)),
        ("$geoip_disable", Tree::raw("true")),
        ("$process_person_profile", Tree::raw("false")),
    ] {
        if !there(&properties, name) {
            properties.set([name].into_iter(), value);
        }
    }
    let mut form = Tree::object([
        ("event", Some(Tree::raw(shaped.event))),
        ("distinct_id", Some(somebody)),
        ("timestamp", Some(Tree::Raw(Cow::clone(&shaped.time)))),
        ("uuid", Some(Tree::text(&event.id.hyphenated().to_string()))),
        ("properties", Some(properties)),
    ]);
    set_own(&mut form, shaped.own, KEPT);
    form
}
