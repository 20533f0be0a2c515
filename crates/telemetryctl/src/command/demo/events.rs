//! Events of three tools, made from requests that the real packages sent (`tests/fixtures/captures`).
//!
//! The mapping is small on purpose:
//!
//! | tool | event | version | properties | left out |
//! |---|---|---|---|---|
//! | Kedro | `event` | `properties.telemetry_version` | `properties` | who and which project: `username`, `identity`, `project_id`, `package_name` |
//! | dlt | `event` | `context.library.version` | `properties`, and `context` as it is | who and which project: `anonymousId`, the `…_hash` keys |
//! | Evidently | `action`, or `usage.type` of old versions | `tool_version` | the rest of the body | who: `user_id`, `group_id` |
//!
//! Times and ids are made anew, for each event is recorded now.

use serde_json::{Map, Value, json};

/// Who speaks.
pub(super) const TOOLS: [&str; 3] = ["kedro", "dlt", "evidently"];

macro_rules! captures {
    ($($name:literal),+ $(,)?) => {
        &[$(include_str!(concat!("../../../../../tests/fixtures/captures/", $name, ".json"))),+]
    };
}

const KEDRO: &[&str] = captures![
    "kedro-025-runok-001",
    "kedro-032-runok-001",
    "kedro-032-runok-002",
    "kedro-032-runok-003",
    "kedro-new-new-001",
    "kedro-new-outside-001",
    "kedro-new-reglist-001",
    "kedro-new-run-001",
    "kedro-new-runok-001",
];

const DLT: &[&str] = captures![
    "dlt-disable-001",
    "dlt-pipeline-run-001",
    "dlt-pipeline-run-002",
    "dlt-pipeline-run-003",
    "dlt-pipeline-run-004",
    "dlt-schema-cmd-001",
    "dlt-segment-001",
    "dlt-telemetry-status-001",
];

const EVIDENTLY: &[&str] = captures![
    "ev-new-event-001",
    "ev-old-profile-001",
    "ev-ui-001",
    "ev-ui-004",
    "ev-ui-idnt-001",
    "ev-ui-idnt-004",
];

/// Keys that say who somebody is or which project it is.
const WHO: [&str; 7] = [
    "username",
    "identity",
    "project_id",
    "package_name",
    "user_id",
    "group_id",
    "anonymousId",
];

/// `count` event lines of `tool`, its requests again and again; `round` stands in each.
pub(super) fn lines(tool: &str, count: u32, round: u32) -> Vec<String> {
    let events: Vec<Value> = captured(tool);
    let lines = events.iter().cycle().take(count as usize).enumerate();
    lines
        .map(|(number, event)| {
            let mut event = event.clone();
            event["properties"]["demo"] = json!(format!("round {round}, event {number}"));
            format!("{event}\n")
        })
        .collect()
}

/// The events of a tool's requests.
fn captured(tool: &str) -> Vec<Value> {
    let captures = match tool {
        "kedro" => KEDRO,
        "dlt" => DLT,
        _ => EVIDENTLY,
    };
    captures
        .iter()
        .filter_map(|text| event(tool, serde_json::from_str(text).ok()?))
        .collect()
}

/// One request as an event line.
fn event(tool: &str, mut capture: Value) -> Option<Value> {
    let mut body = capture.get_mut("body")?.take();
    let named = |value: &Value| value.as_str().map(ToOwned::to_owned);
    Some(match tool {
        "kedro" => {
            let event = named(&body["event"])?;
            let mut properties = body["properties"].take();
            let version = named(&properties["telemetry_version"]);
            leave_out(properties.as_object_mut()?);
            json!({ "tool": tool, "event": event, "version": version, "properties": properties })
        }
        "dlt" => {
            let event = named(&body["event"])?;
            let version = named(&body["context"]["library"]["version"]);
            let mut properties = body["properties"].take();
            leave_out(properties.as_object_mut()?);
            let context = body["context"].take();
            json!({ "tool": tool, "event": event, "version": version, "properties": properties, "context": context })
        }
        _ => {
            let event = named(&body["action"]).or_else(|| named(&body["usage"]["type"]))?;
            let version = named(&body["tool_version"]);
            leave_out(body.as_object_mut()?);
            json!({ "tool": tool, "event": event, "version": version, "properties": body })
        }
    })
}

fn leave_out(properties: &mut Map<String, Value>) {
    properties.retain(|key, _| !WHO.contains(&key.as_str()) && !key.ends_with("_hash"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_protocol::event::Event;
    use telemetry_protocol::json::scan;

    #[test]
    fn every_captured_request_becomes_an_event_of_the_protocol() {
        for (tool, captures) in [("kedro", KEDRO), ("dlt", DLT), ("evidently", EVIDENTLY)] {
            let lines = lines(tool, u32::try_from(captures.len()).unwrap(), 1);
            assert_eq!(lines.len(), captured(tool).len(), "{tool}: none is left out");
            for line in lines {
                let mut members = Vec::new();
                let event = scan(line.trim().as_bytes(), 32, &mut members).unwrap();
                let event = Event::parse(&event).unwrap();
                assert_eq!(event.tool, tool);
                assert!(line.len() < 2048, "{line}");
            }
        }
    }

    #[test]
    fn nothing_that_says_who_or_where_is_in_them() {
        for tool in TOOLS {
            for line in lines(tool, 20, 1) {
                for who in WHO.into_iter().chain(["_hash", "alice", "/home/"]) {
                    assert!(!line.contains(who), "{who} in {line}");
                }
            }
        }
    }
}
