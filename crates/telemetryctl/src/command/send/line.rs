//! An event's line, made from the command line or from a line of stdin. Values stay as they came: no number
//! is rounded on its way.

use std::path::PathBuf;

use telemetry_protocol::consent::Fact;
use telemetry_protocol::event::{Ack, Event};
use telemetry_protocol::json::{self, Object};
use telemetry_protocol::limits::MAX_DEPTH;
use telemetry_protocol::time::Rfc3339;

use crate::clock;

/// Members of an object: the key, and the value as raw JSON.
pub(super) type Members = Vec<(String, String)>;

/// What the command line says about every event.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) tool: Option<String>,
    pub(super) event: Option<String>,
    pub(super) properties: Members,
    pub(super) ack: Ack,
}

/// A line that may be sent.
#[derive(Debug)]
pub(super) struct Ready {
    /// With its newline.
    pub(super) line: String,
    pub(super) tool: String,
    pub(super) id: String,
    pub(super) ack: Ack,
    /// The line's own project, as it names it.
    pub(super) project: Option<String>,
    /// The line says what its client saw.
    claims: bool,
    /// The line says where its client runs.
    placed: bool,
}

impl Ready {
    /// Says in the line what this process saw and the daemon cannot, unless the line has a word of its own.
    pub(super) fn claim(&mut self, fact: &Fact) {
        let Some(verdict) = fact.verdict else { return };
        if std::mem::replace(&mut self.claims, true) {
            return;
        }
        let source: String = fact.source.chars().take(MAX_SOURCE).collect();
        self.add(&format!(
            "\"consent\":{{\"layer\":\"{}\",\"verdict\":\"{}\",\"source\":{}}}",
            fact.layer.as_str(),
            verdict.as_str(),
            quoted(&source),
        ));
    }

    /// Says in the line where this process runs, unless the line has a word of its own.
    pub(super) fn place(&mut self, context: &str) {
        if !std::mem::replace(&mut self.placed, true) {
            self.add(&format!("\"context\":{context}"));
        }
    }

    fn add(&mut self, member: &str) {
        if let Some(object) = self.line.strip_suffix("}\n") {
            self.line = format!("{object},{member}}}\n");
        }
    }

    /// Where the line's own project is, if it says so with a path.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        let path = self.project.as_deref().map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    }

    /// Says whose project it is, unless the line does: a denial of the project finds it again.
    pub(super) fn belongs_to(&mut self, project: &str) {
        if self.project.is_none()
            && let Some(object) = self.line.strip_suffix("}\n")
        {
            self.line = format!("{object},\"project\":{}}}\n", quoted(project));
            self.project = Some(project.to_owned());
        }
    }
}

/// Letters of a claim's source: of UTF-8 four bytes each at most, and a key has 256.
const MAX_SOURCE: usize = telemetry_protocol::limits::MAX_KEY / 4;

impl Template {
    /// An event from one object's text, with what it lacks filled in.
    ///
    /// # Errors
    /// A sentence that names the key and the shape, never the value.
    pub(super) fn fill(&self, text: &str) -> Result<Ready, String> {
        let mut spans = Vec::new();
        let scanned = json::scan(text.as_bytes(), MAX_DEPTH, &mut spans).map_err(|why| why.to_string())?;
        if scanned.get("op").is_some() {
            return Err("op: a line of events cannot hold a control request".to_owned());
        }
        let mut line = members(&scanned);
        let mut lacks = |key: &str, value: Option<String>| {
            if let Some(value) = value
                && !line.iter().any(|(own, raw)| own == key && raw != "null")
            {
                line.retain(|(own, _)| own != key);
                line.push((key.to_owned(), value));
            }
        };
        lacks("tool", self.tool.as_deref().map(quoted));
        lacks("event", self.event.as_deref().map(quoted));
        lacks("id", Some(quoted(&clock::new_id().to_string())));
        lacks("time", Some(quoted(&Rfc3339(clock::wall_ms()).to_string())));
        lacks("properties", Some("{}".to_owned()));
        let ack = match self.ack {
            Ack::None => "none",
            Ack::Queued => "queued",
            Ack::Synced => "synced",
        };
        lacks("ack", Some(quoted(ack)));
        if !self.properties.is_empty()
            && let Some((_, raw)) = line.iter_mut().find(|(key, _)| key == "properties")
            && raw.starts_with('{')
        {
            *raw = written(&over(self.properties.clone(), object(raw)?));
        }
        let line = written(&line);
        let mut spans = Vec::new();
        let scanned = json::scan(line.as_bytes(), MAX_DEPTH, &mut spans).map_err(|why| why.to_string())?;
        let event = Event::parse(&scanned).map_err(|rejected| rejected.message)?;
        Ok(Ready {
            tool: event.tool.to_owned(),
            id: event.id.map(|id| id.to_string()).unwrap_or_default(),
            ack: event.ack,
            project: event.project.map(std::borrow::Cow::into_owned),
            claims: event.consent.is_some(),
            placed: event.context.is_some(),
            line: line + "\n",
        })
    }
}

/// `KEY=VALUE` of the command line.
///
/// # Errors
/// When there is no `=`, or no key.
pub(super) fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), raw(value))),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// A JSON number or boolean as it is, else a string.
fn raw(value: &str) -> String {
    let parsed = serde_json::from_str::<serde_json::Value>(value);
    let is_bare = value.trim().len() == value.len();
    match parsed {
        Ok(parsed) if is_bare && (parsed.is_number() || parsed.is_boolean()) => value.to_owned(),
        _ => quoted(value),
    }
}

/// An object's members.
///
/// # Errors
/// When the text is not one JSON object.
pub(super) fn object(text: &str) -> Result<Members, String> {
    let mut spans = Vec::new();
    let scanned = json::scan(text.as_bytes(), MAX_DEPTH, &mut spans).map_err(|why| why.to_string())?;
    Ok(members(&scanned))
}

/// `under`, with what `over` says in place of the same keys; of a key said twice the last counts.
pub(super) fn over(mut under: Members, over: Members) -> Members {
    for (key, raw) in over {
        under.retain(|(own, _)| *own != key);
        under.push((key, raw));
    }
    under
}

fn members(object: &Object<'_>) -> Members {
    object
        .members
        .iter()
        .filter_map(|member| {
            // Between the quotes; with them it is a string like any other.
            let key = object
                .text
                .get(member.key.start.checked_sub(1)?..member.key.end + 1)?;
            let value = object.text.get(member.value.clone())?;
            Some((json::string(key)?.into_owned(), value.to_owned()))
        })
        .collect()
}

fn written(members: &Members) -> String {
    let list: Vec<String> = members
        .iter()
        .map(|(key, raw)| format!("{}:{raw}", quoted(key)))
        .collect();
    format!("{{{}}}", list.join(","))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(properties: &[&str]) -> Template {
        Template {
            tool: Some("kedro".into()),
            event: Some("ran".into()),
            properties: properties.iter().map(|pair| property(pair).unwrap()).collect(),
            ack: Ack::Queued,
        }
    }

    fn value(ready: &Ready) -> serde_json::Value {
        serde_json::from_str(&ready.line).unwrap()
    }

    #[test]
    fn numbers_and_booleans_are_ones_and_anything_else_is_a_string() {
        for (pair, raw) in [
            ("n=3", "3"),
            ("n=1.10", "1.10"),
            ("b=true", "true"),
            ("s=True", "\"True\""),
            ("s=", "\"\""),
            ("s= 3", "\" 3\""),
            ("s={}", "\"{}\""),
            ("s=null", "\"null\""),
            ("s=a=b", "\"a=b\""),
            ("s=\"3\"", "\"\\\"3\\\"\""),
        ] {
            assert_eq!(property(pair).unwrap().1, raw, "{pair}");
        }
        assert!(property("no").is_err() && property("=v").is_err());
    }

    #[test]
    fn an_event_from_the_command_line_is_complete() {
        let ready = template(&["a.b=1.10"]).fill("{}").unwrap();
        assert!(ready.line.contains("\"a.b\":1.10") && ready.line.ends_with('\n'));
        let line = value(&ready);
        assert_eq!(
            (line["tool"].as_str(), line["ack"].as_str()),
            (Some("kedro"), Some("queued"))
        );
        assert_eq!(line["id"].as_str(), Some(ready.id.as_str()));
        assert!(line["time"].is_string());
    }

    #[test]
    fn a_lines_own_keys_go_before_those_of_the_command_line() {
        let text = r#"{"tool":"dlt","properties":{"n":1,"m":2.50},"ack":"none","time":5,"id":"00000000-0000-0000-0000-000000000001","more":[1]}"#;
        let ready = template(&["n=7", "k=8"]).fill(text).unwrap();
        let line = value(&ready);
        assert_eq!(
            (ready.tool.as_str(), line["event"].as_str()),
            ("dlt", Some("ran"))
        );
        assert_eq!(line["properties"], serde_json::json!({"n":1,"m":2.5,"k":8}));
        assert_eq!(ready.ack, Ack::None);
        assert_eq!(line["time"], 5);
        assert!(ready.line.contains("2.50") && ready.line.contains("\"more\":[1]"));
    }

    #[test]
    fn what_is_no_event_is_refused_with_the_key_and_never_the_value() {
        for (text, begin) in [
            ("[1]", "not an object"),
            ("{\"op\":\"stop\"}", "op:"),
            ("{\"tool\":\"SECRET\"}", "tool: expected"),
            ("{\"event\":7}", "event: expected"),
            ("{\"properties\":3}", "properties: expected an object"),
            ("{\"id\":\"SECRET\"}", "id: expected a UUID"),
            ("{\"a\":1,\"a\":2}", "a key is repeated"),
            ("nonsense", "not JSON"),
        ] {
            let why = template(&["p=1"]).fill(text).unwrap_err();
            assert!(why.starts_with(begin) && !why.contains("SECRET"), "{text}: {why}");
        }
    }

    #[test]
    fn a_property_said_twice_counts_once_the_last() {
        let said = over(
            object(r#"{"a":1,"b":2}"#).unwrap(),
            vec![("a".into(), "3".into())],
        );
        assert_eq!(written(&said), r#"{"b":2,"a":3}"#);
    }
}
