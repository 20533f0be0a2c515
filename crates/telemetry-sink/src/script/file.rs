//! A script from its TOML file. README.md of this crate lists the keys.

use std::fmt;

use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Findings, Keys, json, whole};
use super::{Action, Deduplicate, Echo, Reply, Script, Step, When};
use crate::received::Encoding;

/// One thing that is wrong with a script file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// 1 for the first line.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Everything that is wrong with a script file, in the order of its lines.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub struct ScriptError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index > 0 { "\n" } else { "" };
            write!(f, "{separator}line {}: {}", problem.line, problem.message)?;
        }
        Ok(())
    }
}

/// `action = "…"`, in the order of README.md.
const ACTIONS: [(&str, Kind); 14] = [
    ("accept", Kind::Accept),
    ("status", Kind::Status),
    ("too-large", Kind::TooLarge),
    ("refuse", Kind::Refuse),
    ("hang", Kind::Hang),
    ("reset", Kind::Reset),
    ("close", Kind::Close),
    ("half", Kind::Half),
    ("captive", Kind::Captive),
    ("slow", Kind::Slow),
    ("garbage", Kind::Garbage),
    ("echo", Kind::Echo),
    ("wrong-id", Kind::WrongId),
    ("oversized", Kind::Oversized),
];

#[derive(Clone, Copy)]
enum Kind {
    Accept,
    Status,
    TooLarge,
    Refuse,
    Hang,
    Reset,
    Close,
    Half,
    Captive,
    Slow,
    Garbage,
    Echo,
    WrongId,
    Oversized,
}

const PLACES: [(&str, Echo); 2] = [("body", Echo::Body), ("header", Echo::Header)];

/// What is written when a script only says `garbage`: the beginning of a TLS alert, and talk.
const GARBAGE: &[u8] = b"\x15\x03\x01\x00\x02\x02\x46this is no HTTP\r\n\r\n";
/// Bytes of a `half` answer by default: into the headers of any answer.
const HALF: u64 = 40;
/// Bytes of an `oversized` answer by default and at most. The daemon reads 64 KiB of an answer.
const OVERSIZED: u64 = 1 << 20;
const OVERSIZED_MAX: u64 = 1 << 30;

pub(super) fn read(text: &str) -> Result<Script, ScriptError> {
    let mut findings = Findings::new(text);
    let mut script = Script::new();
    match DeTable::parse(text) {
        Ok(table) => {
            let mut keys = Keys::new(table.get_ref(), 0);
            let once = [
                ("none", Deduplicate::None),
                ("batch", Deduplicate::Batch),
                ("events", Deduplicate::Events),
            ];
            script.deduplicate = keys.word(&mut findings, "deduplicate", &once).unwrap_or_default();
            let places = [("none", Echo::None), PLACES[0], PLACES[1]];
            script.echo = keys.word(&mut findings, "echo", &places).unwrap_or_default();
            let steps = keys.get(&mut findings, "step", "written as [[step]]", DeValue::as_array);
            for value in steps.into_iter().flat_map(|steps| steps.iter()) {
                script.steps.extend(step(&mut findings, value));
            }
            keys.finish(&mut findings, "in a script");
        }
        Err(error) => findings.add(error.span().map_or(0, |span| span.start), error.message()),
    }
    if findings.problems.is_empty() {
        return Ok(script);
    }
    findings.problems.sort_by_key(|problem| problem.line);
    Err(ScriptError {
        problems: findings.problems,
    })
}

fn step(findings: &mut Findings<'_>, value: &Spanned<DeValue<'_>>) -> Option<Step> {
    let at = value.span().start;
    let Some(table) = value.get_ref().as_table() else {
        findings.add(at, "a step is a table");
        return None;
    };
    let mut keys = Keys::new(table, at);
    let before = findings.problems.len();
    let Some(kind) = keys.word(findings, "action", &ACTIONS) else {
        if findings.problems.len() == before {
            findings.add(at, "a step needs an `action`");
        }
        return None;
    };
    let name = ACTIONS
        .iter()
        .find(|(_, own)| *own as u8 == kind as u8)
        .map_or("", |(name, _)| name);
    let mut when = when(findings, &mut keys);
    let action = action(findings, &mut keys, kind, &mut when);
    let step = Step {
        times: keys.count(findings, "times"),
        store: keys.boolean(findings, "store"),
        when,
        action,
    };
    if step.action.is_early() && step.when.reads_body() {
        findings.add(
            at,
            "a reset with `bytes` comes before the body is read: it cannot ask what is in it",
        );
    }
    keys.finish(findings, &format!("in a step with action = \"{name}\""));
    Some(step)
}

fn when(findings: &mut Findings<'_>, keys: &mut Keys<'_, '_>) -> When {
    let encodings = Encoding::ALL.map(|encoding| (encoding.name(), encoding));
    When {
        nth: keys.count(findings, "nth"),
        every: keys.count(findings, "every"),
        after: keys.duration(findings, "after"),
        until: keys.duration(findings, "until"),
        path: keys.string(findings, "path"),
        header: header(findings, keys),
        bytes_over: keys.size(findings, "bytes_over"),
        events_over: keys.get(findings, "events_over", "a whole number", whole),
        encoding: keys.word(findings, "encoding", &encodings),
        tool: keys.string(findings, "tool"),
        event: keys.string(findings, "event"),
        property: property(findings, keys),
    }
}

/// `header = { name = "x-team", equals = "data" }`
fn header(findings: &mut Findings<'_>, keys: &mut Keys<'_, '_>) -> Option<(String, String)> {
    let value = keys.raw("header")?;
    let Some(table) = value.get_ref().as_table() else {
        findings.add(
            value.span().start,
            "`header` must be { name = \"…\", equals = \"…\" }",
        );
        return None;
    };
    let mut keys = Keys::new(table, value.span().start);
    let name = keys.string(findings, "name");
    let equals = keys.string(findings, "equals");
    if name.is_none() || equals.is_none() {
        findings.add(value.span().start, "`header` needs `name` and `equals`");
    }
    keys.finish(findings, "in `header`");
    Some((name?.to_ascii_lowercase(), equals?))
}

/// `property = "name"`, or `property = { name = "…", equals = … }`
fn property(
    findings: &mut Findings<'_>,
    keys: &mut Keys<'_, '_>,
) -> Option<(String, Option<serde_json::Value>)> {
    let value = keys.raw("property")?;
    if let Some(name) = value.get_ref().as_str() {
        return Some((name.to_owned(), None));
    }
    let Some(table) = value.get_ref().as_table() else {
        findings.add(
            value.span().start,
            "`property` must be a name, or { name = \"…\", equals = … }",
        );
        return None;
    };
    let mut keys = Keys::new(table, value.span().start);
    let name = keys.string(findings, "name");
    let equals = keys.get(findings, "equals", "a string, a number, true or false", json);
    if name.is_none() {
        findings.add(value.span().start, "`property` needs a `name`");
    }
    keys.finish(findings, "in `property`");
    Some((name?, equals))
}

fn action(findings: &mut Findings<'_>, keys: &mut Keys<'_, '_>, kind: Kind, when: &mut When) -> Action {
    let at = keys.at;
    match kind {
        Kind::Accept => Action::Reply(Reply::default()),
        Kind::Status => Action::Reply(reply(findings, keys, None)),
        Kind::TooLarge => {
            let over = keys.size(findings, "over");
            if over.is_none() && keys.raw("over").is_none() {
                findings.add(at, "`too-large` needs `over`, the most bytes that are taken");
            }
            when.bytes_over = over.or(when.bytes_over);
            Action::Reply(Reply::status(413))
        }
        Kind::Refuse => {
            if !when.reads_events() {
                findings.add(
                    at,
                    "`refuse` needs `tool`, `event` or `property`: what it will not take",
                );
            }
            Action::Reply(reply(findings, keys, Some(400)))
        }
        Kind::Hang => Action::Hang {
            wait: keys.duration(findings, "for"),
            reply: reply(findings, keys, Some(200)),
        },
        Kind::Reset => Action::Reset {
            after: keys.size(findings, "bytes"),
        },
        Kind::Close => Action::Close,
        Kind::Half => Action::Half {
            bytes: keys.size(findings, "bytes").unwrap_or(HALF),
        },
        Kind::Captive => Action::Captive {
            location: keys.string(findings, "location"),
        },
        Kind::Slow => Action::Slow {
            bytes_per_second: keys.count(findings, "bytes_per_second").unwrap_or(1),
            reply: reply(findings, keys, Some(200)),
        },
        Kind::Garbage => Action::Garbage {
            bytes: keys
                .string(findings, "body")
                .map_or(GARBAGE.to_vec(), String::into_bytes),
        },
        Kind::Echo => Action::Echo(keys.word(findings, "in", &PLACES).unwrap_or(Echo::Body)),
        Kind::WrongId => Action::WrongId(keys.word(findings, "in", &PLACES).unwrap_or(Echo::Body)),
        Kind::Oversized => {
            let wanted = "a size up to \"1GiB\"";
            let bytes = keys.get(findings, "bytes", wanted, |value| {
                let bytes = whole(value).or_else(|| super::units::size(value.as_str()?));
                bytes.filter(|&bytes| bytes <= OVERSIZED_MAX)
            });
            Action::Oversized {
                bytes: bytes.unwrap_or(OVERSIZED),
            }
        }
    }
}

/// `status`, `headers`, `body` and `content_type`. A `status` is required where there is no default.
fn reply(findings: &mut Findings<'_>, keys: &mut Keys<'_, '_>, default: Option<u16>) -> Reply {
    let before = findings.problems.len();
    let status = keys.get(findings, "status", "a status from 200 to 599", |value| {
        whole(value)
            .and_then(|status| u16::try_from(status).ok())
            .filter(|status| (200..600).contains(status))
    });
    if status.is_none() && default.is_none() && findings.problems.len() == before {
        findings.add(keys.at, "`status` needs a `status`");
    }
    let mut reply = Reply::status(status.or(default).unwrap_or(200));
    reply.body = keys.string(findings, "body");
    reply.content_type = keys.string(findings, "content_type");
    let headers = keys.get(findings, "headers", "a table of strings", DeValue::as_table);
    for (name, value) in headers.into_iter().flat_map(|table| table.iter()) {
        let text = value.get_ref().as_str();
        let known = http::HeaderName::from_bytes(name.get_ref().as_bytes()).is_ok();
        match text.filter(|text| known && http::HeaderValue::from_str(text).is_ok()) {
            Some(text) => reply.headers.push((name.get_ref().to_string(), text.to_owned())),
            None => findings.add(
                name.span().start,
                format_args!("`{}` must be a header and its value a string", name.get_ref()),
            ),
        }
    }
    reply
}
