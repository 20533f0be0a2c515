//! The event: what a tool's line may say (PROTOCOL.md, "event").

use std::borrow::Cow;

use uuid::Uuid;

use crate::consent::{Claim, Layer, Verdict};
use crate::json::{self, Object};
use crate::limits::{self, is_tool_name};
use crate::reason::ErrorCode;
use crate::time::parse_rfc3339;

/// When a client wants to hear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// Never.
    None,
    /// After the commit.
    #[default]
    Queued,
    /// After the fsync.
    Synced,
}

impl Ack {
    /// The `ack` of a scanned line; what cannot be read is answered, so it counts as the default.
    #[must_use]
    pub fn of(line: &Object<'_>) -> Self {
        match line.get("ack") {
            Some("\"none\"") => Self::None,
            Some("\"synced\"") => Self::Synced,
            _ => Self::Queued,
        }
    }
}

/// The time that a client gave, kept as it was given: the daemon never rewrites it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTime<'a> {
    /// An RFC 3339 string (no escapes, no quotes).
    Text(&'a str),
    /// Milliseconds since the epoch.
    Millis(i64),
}

/// One event, borrowed from its line.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Who speaks.
    pub tool: &'a str,
    /// What happened, as the raw JSON string.
    pub event_raw: &'a str,
    /// What happened.
    pub event: Cow<'a, str>,
    /// The raw object; `{}` when absent.
    pub properties: &'a str,
    /// Made by the client, so that a resend is not a second event.
    pub id: Option<Uuid>,
    /// When it happened.
    pub time: Option<EventTime<'a>>,
    /// The tool's version, as the raw JSON string.
    pub version_raw: Option<&'a str>,
    /// What only the client can know, as the raw object.
    pub context: Option<&'a str>,
    /// The tool's key of the project; never stored as it is.
    pub project: Option<Cow<'a, str>>,
    /// The tool's key of the user; never stored as it is.
    pub user: Option<Cow<'a, str>>,
    /// What the client's process saw of consent.
    pub consent: Option<Claim<'a>>,
    /// The tool's user has it send elsewhere: the event is not for its maker.
    pub redirected: bool,
    /// When to answer.
    pub ack: Ack,
}

/// Why a line is not a request: a code and a message that names key, shape and limit, never the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejected {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

impl Rejected {
    /// An `invalid_event` about `key`.
    #[must_use]
    pub fn key(key: &str, expected: &str, raw: Option<&str>) -> Self {
        let message = match raw {
            None => format!("{key}: missing; expected {expected}"),
            Some(raw) if raw.starts_with('"') => {
                format!(
                    "{key}: expected {expected}, found a string of {} bytes",
                    raw.len().saturating_sub(2)
                )
            }
            Some(raw) => format!("{key}: expected {expected}, found {}", json::kind_of(raw)),
        };
        Self {
            code: ErrorCode::InvalidEvent,
            message,
        }
    }
}

impl From<json::JsonError> for Rejected {
    fn from(error: json::JsonError) -> Self {
        let code = match error {
            json::JsonError::TooDeep(_) => ErrorCode::InvalidEvent,
            _ => ErrorCode::InvalidJson,
        };
        let message = match error {
            json::JsonError::TooDeep(levels) => {
                format!("the line is nested deeper than {levels} levels (limits.max_depth)")
            }
            other => format!("the line is {}", describe(other)),
        };
        Self { code, message }
    }
}

fn describe(error: json::JsonError) -> String {
    match error {
        json::JsonError::RepeatedKey(at) => format!("not valid: a key is repeated at byte {at}"),
        json::JsonError::LoneSurrogate(at) => format!("not valid: a lone surrogate at byte {at}"),
        other => other.to_string(),
    }
}

/// The raw values of the keys that an event has, found in one pass.
#[derive(Clone, Copy, Debug, Default)]
struct Fields<'a> {
    tool: Option<&'a str>,
    event: Option<&'a str>,
    properties: Option<&'a str>,
    id: Option<&'a str>,
    time: Option<&'a str>,
    version: Option<&'a str>,
    context: Option<&'a str>,
    project: Option<&'a str>,
    user: Option<&'a str>,
    consent: Option<&'a str>,
    redirected: Option<&'a str>,
    ack: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn of(line: &Object<'a>) -> Self {
        let mut fields = Self::default();
        for (key, value) in line.iter() {
            let field = match &*key {
                "tool" => &mut fields.tool,
                "event" => &mut fields.event,
                "properties" => &mut fields.properties,
                "id" => &mut fields.id,
                "time" => &mut fields.time,
                "version" => &mut fields.version,
                "context" => &mut fields.context,
                "project" => &mut fields.project,
                "user" => &mut fields.user,
                "consent" => &mut fields.consent,
                "redirected" => &mut fields.redirected,
                "ack" => &mut fields.ack,
                _ => continue,
            };
            // Null says what absence says, but for the two keys that have to be there.
            *field = Some(value).filter(|raw| *raw != "null" || matches!(&*key, "tool" | "event"));
        }
        fields
    }
}

impl<'a> Event<'a> {
    /// Reads a scanned line without `op`.
    ///
    /// # Errors
    /// `invalid_event`, naming the first key that is wrong.
    pub fn parse(line: &Object<'a>) -> Result<Self, Rejected> {
        const TOOL: &str = "a string like [a-z0-9][a-z0-9._-]{0,63}";
        let fields = Fields::of(line);
        let tool = match fields.tool.and_then(json::string) {
            Some(Cow::Borrowed(name)) if is_tool_name(name) => name,
            _ => return Err(Rejected::key("tool", TOOL, fields.tool)),
        };
        let event_raw = fields.event.ok_or_else(|| Rejected::key("event", EVENT, None))?;
        let event = json::string(event_raw)
            .filter(|name| {
                (1..=limits::MAX_EVENT_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
            })
            .ok_or_else(|| Rejected::key("event", EVENT, Some(event_raw)))?;
        let uuid = |raw| {
            let id = json::string(raw).and_then(|text| Uuid::try_parse(&text).ok());
            id.ok_or_else(|| Rejected::key("id", "a UUID", Some(raw)))
        };
        Ok(Self {
            tool,
            event_raw,
            event,
            id: fields.id.map(uuid).transpose()?,
            properties: object("properties", fields.properties)?.unwrap_or("{}"),
            time: fields.time.map(time).transpose()?,
            version_raw: bounded("version", fields.version, limits::MAX_VERSION)?.and(fields.version),
            context: object("context", fields.context)?,
            project: bounded("project", fields.project, limits::MAX_KEY)?,
            user: bounded("user", fields.user, limits::MAX_KEY)?,
            consent: object("consent", fields.consent)?.map(claim).transpose()?,
            redirected: fields.redirected.map_or(Ok(false), redirected)?,
            ack: fields.ack.map_or(Ok(Ack::default()), ack)?,
        })
    }
}

const EVENT: &str = "a string of 1 to 128 bytes without control characters";

fn object<'a>(key: &str, raw: Option<&'a str>) -> Result<Option<&'a str>, Rejected> {
    match raw {
        Some(raw) if !raw.starts_with('{') => Err(Rejected::key(key, "an object", Some(raw))),
        found => Ok(found),
    }
}

fn bounded<'a>(key: &str, raw: Option<&'a str>, max: usize) -> Result<Option<Cow<'a, str>>, Rejected> {
    let Some(raw) = raw else { return Ok(None) };
    match json::string(raw) {
        Some(text) if text.len() <= max => Ok(Some(text)),
        _ => Err(Rejected::key(
            key,
            &format!("a string of at most {max} bytes"),
            Some(raw),
        )),
    }
}

fn time(raw: &str) -> Result<EventTime<'_>, Rejected> {
    const TIME: &str = "an RFC 3339 string or integer milliseconds since the epoch";
    /// With nanoseconds and an offset: it is kept as it came, and must not be room for anything else.
    const LONGEST: usize = "2026-11-22T10:00:00.123456789+00:00".len();
    match json::string(raw) {
        Some(Cow::Borrowed(text)) if text.len() <= LONGEST && parse_rfc3339(text).is_some() => {
            Ok(EventTime::Text(text))
        }
        None => raw
            .parse()
            .map(EventTime::Millis)
            .map_err(|_| Rejected::key("time", TIME, Some(raw))),
        Some(_) => Err(Rejected::key("time", TIME, Some(raw))),
    }
}

fn redirected(raw: &str) -> Result<bool, Rejected> {
    match raw {
        "true" => Ok(true),
        "false" => Ok(false),
        raw => Err(Rejected::key("redirected", "true or false", Some(raw))),
    }
}

fn ack(raw: &str) -> Result<Ack, Rejected> {
    match raw {
        "\"queued\"" => Ok(Ack::Queued),
        "\"none\"" => Ok(Ack::None),
        "\"synced\"" => Ok(Ack::Synced),
        raw => Err(Rejected::key(
            "ack",
            "\"none\", \"queued\" or \"synced\"",
            Some(raw),
        )),
    }
}

fn claim(raw: &str) -> Result<Claim<'_>, Rejected> {
    let mut members = Vec::new();
    let inner =
        json::scan(raw.as_bytes(), limits::MAX_DEPTH_CEILING, &mut members).map_err(Rejected::from)?;
    let word = |key: &str| inner.get(key).and_then(json::string);
    let layer = word("layer").and_then(|w| Layer::from_word(&w));
    let verdict = match word("verdict").as_deref() {
        Some("deny") => Some(Verdict::Deny),
        Some("allow") => Some(Verdict::Allow),
        _ => None,
    };
    let source = match inner.get("source") {
        None | Some("null") => Some(Cow::Borrowed("")),
        Some(source) => json::string(source).filter(|s| s.len() <= limits::MAX_KEY),
    };
    match (layer, verdict, source) {
        (Some(layer), Some(verdict), Some(source)) => Ok(Claim {
            layer,
            verdict,
            source: Cow::Owned(source.into_owned()),
        }),
        (None, ..) => Err(Rejected::key(
            "consent.layer",
            "one of the six layers",
            inner.get("layer"),
        )),
        (_, None, _) => Err(Rejected::key(
            "consent.verdict",
            "\"deny\" or \"allow\"",
            inner.get("verdict"),
        )),
        _ => Err(Rejected::key(
            "consent.source",
            "a string of at most 256 bytes",
            inner.get("source"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<String, String> {
        let mut members = Vec::new();
        let object = json::scan(line.as_bytes(), 32, &mut members).map_err(|e| Rejected::from(e).message)?;
        Event::parse(&object)
            .map(|event| format!("{event:?}"))
            .map_err(|e| e.message)
    }

    #[test]
    fn the_smallest_event_has_a_tool_and_a_name() {
        let mut members = Vec::new();
        let line = br#"{"tool":"kedro","event":"CLI command"}"#;
        let event = Event::parse(&json::scan(line, 32, &mut members).unwrap()).unwrap();
        assert_eq!(
            (event.tool, &*event.event, event.properties),
            ("kedro", "CLI command", "{}")
        );
        assert_eq!(event.ack, Ack::Queued);
    }

    #[test]
    fn messages_name_the_key_the_shape_and_the_limit_but_never_the_value() {
        for (line, begin) in [
            (r#"{"event":"e"}"#, "tool: missing; expected a string like"),
            (
                r#"{"tool":"SECRET","event":"e"}"#,
                "tool: expected a string like [a-z0-9][a-z0-9._-]{0,63}, found a string of 6 bytes",
            ),
            (
                r#"{"tool":7,"event":"e"}"#,
                "tool: expected a string like [a-z0-9][a-z0-9._-]{0,63}, found a number",
            ),
            (
                r#"{"tool":"t","event":""}"#,
                "event: expected a string of 1 to 128 bytes",
            ),
            (r#"{"tool":"t","event":"SECRET\u0007"}"#, "event: expected"),
            (
                r#"{"tool":"t","event":"e","properties":["SECRET"]}"#,
                "properties: expected an object, found an array",
            ),
            (
                r#"{"tool":"t","event":"e","id":"SECRET"}"#,
                "id: expected a UUID, found a string of 6 bytes",
            ),
            (
                r#"{"tool":"t","event":"e","time":"SECRET"}"#,
                "time: expected an RFC 3339 string or integer",
            ),
            (r#"{"tool":"t","event":"e","time":1.5}"#, "time: expected"),
            (r#"{"tool":"t","event":"e","ack":"SECRET"}"#, "ack: expected"),
            (
                r#"{"tool":"t","event":"e","consent":{"layer":"SECRET","verdict":"deny"}}"#,
                "consent.layer: expected",
            ),
            (
                r#"{"tool":"t","event":"e","consent":{"layer":"project","verdict":"SECRET"}}"#,
                "consent.verdict: expected",
            ),
            (
                r#"{"tool":"t","event":"e","consent":{"layer":"project","verdict":"deny","source":4}}"#,
                "consent.source: expected",
            ),
        ] {
            let message = parsed(line).unwrap_err();
            assert!(message.starts_with(begin), "{line}: {message}");
            assert!(!message.contains("SECRET"), "{message}");
        }
        let long = format!(r#"{{"tool":"t","event":"e","version":"{}"}}"#, "9".repeat(65));
        assert_eq!(
            parsed(&long).unwrap_err(),
            "version: expected a string of at most 64 bytes, found a string of 65 bytes"
        );
    }

    #[test]
    fn unknown_keys_are_ignored() {
        parsed(r#"{"tool":"t","event":"e","flavour":{"any":[1,2]}}"#).unwrap();
    }
}
