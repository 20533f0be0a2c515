//! Segment's HTTP API, and what dlt makes of it: `POST /v1/track` is one call, `/v1/batch` and `/v1/import` are
//! many. A track call is an event; of the others (identify, page, screen, group, alias) only what the manifest lists by
//! that name.
//!
//! Source: Segment's "HTTP Tracking API" and "Spec: Common Fields".

use telemetry_protocol::foreign;
use telemetry_protocol::json;

use super::{Body, Facts, Line, Writer, Wrong, object};

/// Calls that say who somebody is, or where, instead of what happened.
const OTHERS: [&str; 5] = ["identify", "page", "screen", "group", "alias"];

/// The key in a body, where there is one.
#[must_use]
pub fn key<'a>(body: &Body<'a>) -> Option<std::borrow::Cow<'a, str>> {
    body.words("writeKey")
}

/// One call.
///
/// # Errors
/// Which key is wrong.
pub fn one(body: &Body<'_>, tool: &str, lists: &dyn Fn(&str) -> bool) -> Result<Vec<Line>, Wrong> {
    Ok(call(body, None, tool, lists)?.into_iter().collect())
}

/// Many calls; what stands in the batch's own `context` holds for those that have none.
///
/// # Errors
/// Which key of which call is wrong.
pub fn many(body: &Body<'_>, tool: &str, lists: &dyn Fn(&str) -> bool) -> Result<Vec<Line>, Wrong> {
    let context = body.object("context")?;
    let mut lines = Vec::new();
    for item in body.list("batch")? {
        lines.extend(call(&item, context, tool, lists)?);
    }
    Ok(lines)
}

fn call(
    body: &Body<'_>,
    outer: Option<&str>,
    tool: &str,
    lists: &dyn Fn(&str) -> bool,
) -> Result<Option<Line>, Wrong> {
    let kind = body
        .string("type")?
        .and_then(json::string)
        .unwrap_or("track".into());
    let mut line = Writer::new(tool);
    if kind == "track" {
        line.raw("event", body.needed("event")?);
    } else if OTHERS.contains(&&*kind) {
        if !lists(&kind) {
            return Ok(None);
        }
        line.text("event", &kind);
    } else {
        return Err(body.wrong("type", "track, identify, page, screen, group or alias"));
    }
    match &*kind {
        "identify" | "group" => line.maybe("properties", body.object("traits")?),
        "page" | "screen" => {
            if let Some(properties) = named(body)? {
                line.raw("properties", &properties);
            }
        }
        _ => line.maybe("properties", body.object("properties")?),
    }
    let context = body.object("context")?.or(outer);
    if let Some(context) = context.map(|raw| Body::scan(raw.as_bytes())).transpose()? {
        line.maybe("context", facts(&context).as_deref());
        line.maybe("version", version(&context, tool).as_deref());
    }
    line.maybe("user", body.string("anonymousId")?.or(body.string("userId")?));
    line.maybe(
        "time",
        body.time("timestamp")?.or(body.time("originalTimestamp")?),
    );
    if let Some(id) = body.string("messageId")?.and_then(json::string) {
        line.text("id", &foreign::event_id(tool, &id).to_string());
    }
    Ok(Some(line.done(body.place().to_owned())))
}

/// The properties of a page or a screen: its name and category are among them.
fn named(body: &Body<'_>) -> Result<Option<String>, Wrong> {
    let properties = body.object("properties")?;
    let inner = body.inner("properties");
    let has = |key: &str| inner.as_ref().is_some_and(|inner| inner.get(key).is_some());
    let mut members: Vec<(String, &str)> = Vec::new();
    for key in ["name", "category"] {
        if let (Some(raw), false) = (body.string(key)?, has(key)) {
            members.push((key.to_owned(), raw));
        }
    }
    if members.is_empty() {
        return Ok(properties.map(str::to_owned));
    }
    let rest = inner.iter().flat_map(Body::members);
    members.extend(rest.map(|(key, raw)| (key.into_owned(), raw)));
    Ok(Some(object(
        members.iter().map(|(key, raw)| (key.as_str(), *raw)),
    )))
}

/// The context, with what dlt calls otherwise under the names of here beside it.
fn facts(context: &Body<'_>) -> Option<String> {
    let mut facts = Facts::default();
    if let Some(ci) = context
        .get("ci_run")
        .filter(|raw| matches!(*raw, "true" | "false"))
    {
        facts.add("ci", ci.to_owned());
    }
    if let Some(version) = context.get("python").and_then(json::string) {
        facts.python(&version, None);
    }
    facts.within(Some(context))
}

/// The tool's version: that of the app, or of the library where the library is the tool (dlt sends for itself).
fn version(context: &Body<'_>, tool: &str) -> Option<String> {
    let of = |key: &str, own: bool| -> Option<String> {
        let about = context.inner(key)?;
        let name = about.get("name").and_then(json::string);
        let version = about.get("version").filter(|raw| raw.starts_with('"'))?;
        (own || name.is_some_and(|name| name == tool)).then(|| version.to_owned())
    };
    of("app", true).or_else(|| of("library", false))
}
