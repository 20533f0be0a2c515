//! `heap`: Heap's server-side API (<https://developers.heap.io/reference/track-1>): bulk, or one event a request, which
//! is the form that Kedro sends. `app_id` comes from `auth`; `idempotency_key` is the event's id.
//!
//! Properties are flat: what is nested gets the names on the way with dots between them, and an array is its JSON.
//! There is no place for a context: what of it is wanted, `[map]` puts among the properties, as Kedro's does.

use std::borrow::Cow;

use super::read::members;
use super::shape::{Shaped, set_own};
use super::tree::Tree;
use super::{Bound, Limits, write_string};
use crate::types::{Batch, Event};

/// Heap takes 1,000 events a bulk request ("Bulk track"). No size is documented.
pub(super) const BULK: Limits = Limits {
    max_events: 1000,
    ..Limits::NONE
};
/// One event a request.
pub(super) const TRACK: Limits = Limits {
    max_events: 1,
    ..Limits::NONE
};

/// Characters of a property's name or text: fewer than 1,024 ("Track": properties). What is longer is cut.
const TEXT_MAX: usize = 1023;

/// Beside the payload: names and ids. What is nested grows when it is made flat: then the batch is cut again.
pub(super) const BOUND: Bound = Bound {
    per_batch: FRAME.len() as u32 + 64,
    per_event: (EVENT.len() + 36 + 36 + 32) as u32,
};
const FRAME: &str = r#"{"app_id":"","events":[]}"#;
const EVENT: &str = r#"{"identity":"","event":,"timestamp":,"properties":{},"idempotency_key":""},"#;

/// Members that say whose and which event it is: no mapping replaces them.
const KEPT: &[&str] = &["app_id", "idempotency_key"];

/// Many events.
pub(super) fn write_bulk(out: &mut Vec<u8>, batch: &Batch<'_>, app_id: &str) {
    out.extend_from_slice(br#"{"app_id":"#);
    write_string(out, app_id);
    out.extend_from_slice(br#","events":["#);
    for (index, event) in batch.events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        form(batch, event, None).write(out);
    }
    out.extend_from_slice(b"]}");
}

/// One event.
pub(super) fn write_track(out: &mut Vec<u8>, batch: &Batch<'_>, app_id: &str) {
    if let Some(event) = batch.events.first() {
        form(batch, event, Some(app_id)).write(out);
    }
}

fn form<'a>(batch: &Batch<'_>, event: &Event<'a>, app_id: Option<&str>) -> Tree<'a> {
    let shaped = Shaped::of(batch, event, true);
    let mut form = Tree::object([
        ("app_id", app_id.map(Tree::text)),
        ("event", Some(Tree::raw(shaped.event))),
        ("timestamp", Some(Tree::Raw(shaped.time.clone()))),
        ("properties", Some(flat(&shaped.properties))),
        ("identity", Some(shaped.somebody(event.id))),
        (
            "idempotency_key",
            Some(Tree::text(&event.id.hyphenated().to_string())),
        ),
    ]);
    set_own(&mut form, shaped.own, KEPT);
    form
}

/// The properties with nothing nested in them.
fn flat<'a>(properties: &Tree<'_>) -> Tree<'a> {
    let mut out = Vec::new();
    flatten(&properties.json(), "", &mut out);
    Tree::Object(out)
}

fn flatten<'a>(raw: &str, before: &str, out: &mut Vec<(Cow<'a, str>, Tree<'a>)>) {
    for (name, value) in members(raw) {
        let name = match before {
            "" => name.into_owned(),
            before => format!("{before}.{name}"),
        };
        let value = match value.as_bytes().first() {
            Some(b'{') => {
                flatten(value, &name, out);
                continue;
            }
            Some(b'[') => text(value),
            Some(b'"') if value.len() > TEXT_MAX => match serde_json::from_str::<Cow<'_, str>>(value) {
                Ok(long) => text(&long),
                Err(_) => continue,
            },
            _ => Tree::Raw(Cow::Owned(value.to_owned())),
        };
        out.push((Cow::Owned(cut(&name).to_owned()), value));
    }
}

fn text<'a>(text: &str) -> Tree<'a> {
    Tree::text(cut(text))
}

fn cut(text: &str) -> &str {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_become_flat_and_scalars_stay_as_they_are() {
        let nested = r#"{"a":1.10,"b":{"c":{"d":true},"e":null},"l":[1,"x"],"s":"é"}"#;
        assert_eq!(
            flat(&Tree::raw(nested)).json(),
            r#"{"a":1.10,"b.c.d":true,"b.e":null,"l":"[1,\"x\"]","s":"é"}"#
        );
    }

    #[test]
    fn a_long_text_is_cut_at_a_whole_character() {
        let long = format!(
            r#"{{"s":"{}","ok":"{}"}}"#,
            "é".repeat(2000),
            "é".repeat(TEXT_MAX)
        );
        let short = flat(&Tree::raw(&long)).json().into_owned();
        let shown: serde_json::Value = serde_json::from_str(&short).unwrap();
        for name in ["s", "ok"] {
            assert_eq!(shown[name].as_str().unwrap().chars().count(), TEXT_MAX, "{name}");
        }
    }
}
