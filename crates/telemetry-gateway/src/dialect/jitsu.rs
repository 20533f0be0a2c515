//! Jitsu's server-to-server events, and what Evidently sends to them: `POST /api/v1/s2s/event`.
//!
//! The whole object is the event's properties, but for what an event line has words of its own for. Source: Jitsu
//! Classic, "Events API"; the sender is iterative-telemetry 0.0.10.

use telemetry_protocol::foreign;

use super::{Body, Facts, Line, Writer, Wrong, object};

/// Members that become something else than properties.
const OWN: [&str; 9] = [
    "event_type",
    "event_id",
    "eventn_ctx_event_id",
    "uuid",
    "user_id",
    "utc_time",
    "timestamp",
    "context",
    "api_key",
];

/// One event. Its name is `event_type`, else `action`; where the manifest lists one event `action` for all of them, it is
/// that. The action stays among the properties: the body that leaves has it.
///
/// # Errors
/// Which key is wrong.
pub fn lines(body: &Body<'_>, tool: &str, lists: &dyn Fn(&str) -> bool) -> Result<Vec<Line>, Wrong> {
    let name = match body.string("event_type")? {
        Some(name) => name,
        None => match body.string("action")? {
            Some(_) if lists("action") => "\"action\"",
            Some(action) => action,
            None => return Err(body.wrong("event_type", "a string, or action")),
        },
    };
    let mut line = Writer::new(tool);
    line.raw("event", name);
    let members: Vec<_> = body.members().filter(|(key, _)| !OWN.contains(&&**key)).collect();
    let properties = object(members.iter().map(|(key, raw)| (&**key, *raw)));
    line.raw("properties", &properties);
    let context = body
        .object("context")?
        .map(|raw| Body::scan(raw.as_bytes()))
        .transpose()?;
    let mut facts = Facts::default();
    if let Some(version) = python(body) {
        facts.python(&version, None);
    }
    line.maybe("context", facts.within(context.as_ref()).as_deref());
    line.maybe("version", body.string("tool_version")?);
    line.maybe("user", body.string("user_id")?);
    line.maybe("time", body.time("utc_time")?.or(body.time("timestamp")?));
    let id = ["event_id", "eventn_ctx_event_id", "uuid"]
        .iter()
        .find_map(|key| body.words(key));
    if let Some(id) = id {
        line.text("id", &foreign::event_id(tool, &id).to_string());
    }
    Ok(vec![line.done(String::new())])
}

/// `{"major": 3, "minor": 11, "patch": 7}`.
fn python(body: &Body<'_>) -> Option<String> {
    let version = body.inner("python_version")?;
    let part = |key: &str| version.get(key)?.parse::<u16>().ok();
    Some(format!(
        "{}.{}.{}",
        part("major")?,
        part("minor")?,
        part("patch")?
    ))
}
