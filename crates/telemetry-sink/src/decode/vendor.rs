//! What the vendors' forms have in common: an event under other names. It is remembered under ours; members that have
//! none stay under their own. Nothing is asked of it but that it has a name: what is shown may come from anybody.

use serde_json::{Map, Value};

use super::Undecodable;
use crate::received::{Content, Encoding};

/// Our name and theirs.
pub(super) type Names = &'static [(&'static str, &'static str)];

/// The events of an array under `key`.
pub(super) fn list(key: &str, events: Value, names: Names) -> Result<Vec<Value>, Undecodable> {
    let Value::Array(events) = events else {
        return Err(shape(key, "a batch has an array of events"));
    };
    if events.is_empty() {
        return Err(shape(key, "a batch has at least one event"));
    }
    let numbered = events.into_iter().enumerate();
    numbered
        .map(|(index, one)| event(&format!("{key}[{index}]"), one, names))
        .collect()
}

/// One event.
pub(super) fn event(place: &str, one: Value, names: Names) -> Result<Value, Undecodable> {
    let Value::Object(mut theirs) = one else {
        return Err(shape(place, "an event is an object"));
    };
    if !theirs.get("event").is_some_and(Value::is_string) {
        return Err(shape(&format!("{place}.event"), "every event has a name"));
    }
    let mut ours = Map::new();
    for (our, their) in names {
        if let Some(value) = theirs.remove(*their) {
            ours.insert((*our).to_owned(), value);
        }
    }
    ours.extend(theirs);
    Ok(Value::Object(ours))
}

/// A body with nothing but events.
pub(super) fn content(encoding: Encoding, events: Vec<Value>) -> Content {
    Content {
        encoding,
        batch_id: None,
        sent_at: None,
        source: None,
        losses: None,
        count: events.len(),
        events,
    }
}

pub(super) fn shape(place: &str, wanted: &'static str) -> Undecodable {
    Undecodable::Shape {
        place: place.to_owned(),
        wanted,
    }
}
