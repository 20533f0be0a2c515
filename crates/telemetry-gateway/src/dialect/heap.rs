//! Heap's track API, single and bulk, and what Kedro sends to it: `POST /api/track`.
//!
//! Source: Heap's "Server-side APIs", Track and Bulk Track.

use telemetry_protocol::foreign;

use super::{Body, Line, Writer, Wrong};

/// The key in a body, where there is one.
#[must_use]
pub fn key<'a>(body: &Body<'a>) -> Option<std::borrow::Cow<'a, str>> {
    body.words("app_id")
}

/// One event, or those of `events`.
///
/// # Errors
/// Which key of which event is wrong.
pub fn lines(body: &Body<'_>, tool: &str) -> Result<Vec<Line>, Wrong> {
    if body.get("events").is_none() {
        return Ok(vec![event(body, tool)?]);
    }
    body.list("events")?
        .iter()
        .map(|item| event(item, tool))
        .collect()
}

fn event(body: &Body<'_>, tool: &str) -> Result<Line, Wrong> {
    let mut line = Writer::new(tool);
    line.raw("event", body.needed("event")?);
    line.maybe("properties", body.object("properties")?);
    // Heap takes numbers for names of people and of events.
    if let Some(user) = body.words("identity").or_else(|| body.words("user_id")) {
        line.text("user", &user);
    }
    line.maybe("time", body.time("timestamp")?);
    if let Some(id) = body.words("idempotency_key") {
        line.text("id", &foreign::event_id(tool, &id).to_string());
    }
    Ok(line.done(body.place().to_owned()))
}
