//! Our own: event lines (PROTOCOL, "event") over HTTP, as NDJSON or as an array: `POST /v1/events`.

use telemetry_protocol::json;

use super::read::objects;
use super::{Body, Line, Wrong, object};

/// What an event line has that a request has not: a request is answered once, as a whole, and no door for control.
const LEFT_OUT: [&str; 1] = ["ack"];

/// The events of a body. Their `tool` is the key's; one that says another is refused.
///
/// # Errors
/// Which key of which line is wrong.
pub fn lines(body: &[u8], tool: &str) -> Result<Vec<Line>, Wrong> {
    let text = str::from_utf8(body).map_err(|_| Wrong("the body is not UTF-8".to_owned()))?;
    let bodies = match text.trim_start().starts_with('[') {
        true => objects(text, "")?,
        false => ndjson(text)?,
    };
    bodies.iter().map(|body| event(body, tool)).collect()
}

fn ndjson(text: &str) -> Result<Vec<Body<'_>>, Wrong> {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let scanned = lines.map(|(at, line)| {
        let place = format!("line {}", at + 1);
        match Body::scan(line.as_bytes()) {
            Ok(body) => Ok(body.at(place)),
            Err(Wrong(what)) => Err(Wrong(what.replacen("the body", &place, 1))),
        }
    });
    scanned.collect()
}

fn event(body: &Body<'_>, tool: &str) -> Result<Line, Wrong> {
    if body.get("op").is_some() {
        return Err(body.wrong("op", "an event, which has none"));
    }
    if let Some(named) = body.string("tool")?.and_then(json::string)
        && named != tool
    {
        return Err(body.wrong("tool", "the tool that the key names"));
    }
    let quoted = serde_json::Value::from(tool).to_string();
    let members: Vec<_> = body
        .members()
        .filter(|(key, _)| key != "tool" && !LEFT_OUT.contains(&&**key))
        .collect();
    let rest = members.iter().map(|(key, raw)| (&**key, *raw));
    Ok(Line {
        place: body.place().to_owned(),
        line: object([("tool", quoted.as_str())].into_iter().chain(rest)).into_bytes(),
    })
}
