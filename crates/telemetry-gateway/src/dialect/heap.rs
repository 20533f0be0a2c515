//! Heap's track API, single and bulk, and what Kedro sends to it: `POST /api/track`.
//!
//! Source: Heap's "Server-side APIs", Track and Bulk Track.

use telemetry_protocol::foreign;
use telemetry_protocol::json;

use super::{Body, Facts, Line, Writer, Wrong};

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
    if let Some(properties) = body.object("properties")? {
        line.raw("properties", properties);
        kedro(&Body::scan(properties.as_bytes())?, &mut line);
    }
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

/// Kedro has no other place than the properties for what an event line has words for.
fn kedro(properties: &Body<'_>, line: &mut Writer) {
    let text = |key: &str| properties.get(key).filter(|raw| raw.starts_with('"'));
    let mut facts = Facts::default();
    if let Some(version) = text("python_version").and_then(json::string) {
        facts.python(&version, None);
    }
    if let Some(ci) = properties
        .get("is_ci_env")
        .filter(|raw| matches!(*raw, "true" | "false"))
    {
        facts.add("ci", ci.to_owned());
    }
    line.maybe("context", facts.within(None).as_deref());
    line.maybe("version", text("project_version"));
    // Versions up to 0.3 called it so.
    line.maybe("project", text("project_id").or_else(|| text("package_name")));
}
