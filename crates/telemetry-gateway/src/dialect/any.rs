//! Any JSON object: `POST /t/TOOL`, for clients that know one address and no key (dlt's default, Evidently 0.2).

use super::{Body, Line, Writer, Wrong, evidently, heap, jitsu, segment};

/// What an event is called that says nothing of the kind.
const NAMELESS: &str = "event";

/// Reads the body by what it looks like: a track call, Heap's, a server-to-server event, Evidently's of old. Everything else is one event
/// with the object as its properties.
///
/// # Errors
/// Which key is wrong.
pub fn lines(body: &Body<'_>, tool: &str, lists: &dyn Fn(&str) -> bool) -> Result<Vec<Line>, Wrong> {
    let says = |key: &str, begin: char| body.get(key).is_some_and(|raw| raw.starts_with(begin));
    if says("batch", '[') {
        return segment::many(body, tool, lists);
    }
    if body.get("app_id").is_some() && (says("event", '"') || says("events", '[')) {
        return heap::lines(body, tool);
    }
    if says("event", '"') {
        return segment::one(body, tool, lists);
    }
    if says("event_type", '"') || says("action", '"') {
        return jitsu::lines(body, tool, lists);
    }
    if evidently::is_one(body) {
        return evidently::lines(body, tool);
    }
    let mut line = Writer::new(tool);
    line.text("event", NAMELESS);
    line.raw("properties", body.raw());
    Ok(vec![line.done(String::new())])
}
