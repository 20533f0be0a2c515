//! The dialects: a body in, event lines out. One file each, pure functions; what is wrong is named by its key, never
//! by its value.
//!
//! A vendor's event id becomes the event's, its anonymous id `user`, its context `context`, its timestamp `time`.
//! Raw values are copied as they came, so that no number is rounded.

pub mod any;
pub mod evidently;
pub mod heap;
pub mod jitsu;
pub mod lines;
mod read;
pub mod segment;

use telemetry_protocol::json;

pub use self::read::Body;

/// What is wrong with a body: the key, the shape, never the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

/// One event of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where in the body it stood, like `batch[3]`; empty where the body is the event.
    pub place: String,
    /// The event line.
    pub line: Vec<u8>,
}

/// Writes one event line.
#[derive(Debug)]
struct Writer {
    out: Vec<u8>,
}

impl Writer {
    fn new(tool: &str) -> Self {
        let mut writer = Self {
            out: Vec::with_capacity(256),
        };
        writer.out.push(b'{');
        writer.text("tool", tool);
        writer
    }

    /// A raw value, as it came.
    fn raw(&mut self, key: &str, raw: &str) {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        self.out
            .extend_from_slice(serde_json::Value::from(key).to_string().as_bytes());
        self.out.push(b':');
        self.out.extend_from_slice(raw.as_bytes());
    }

    /// A raw value where there is one; null is none.
    fn maybe(&mut self, key: &str, raw: Option<&str>) {
        if let Some(raw) = raw.filter(|raw| *raw != "null") {
            self.raw(key, raw);
        }
    }

    fn text(&mut self, key: &str, text: &str) {
        self.raw(key, &serde_json::Value::from(text).to_string());
    }

    fn done(mut self, place: String) -> Line {
        self.out.push(b'}');
        Line {
            place,
            line: self.out,
        }
    }
}

/// An object of these raw members.
fn object<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::from("{");
    for (key, raw) in members {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&serde_json::Value::from(key).to_string());
        out.push(':');
        out.push_str(raw);
    }
    out.push('}');
    out
}

/// The facts of a context under the names that they have here; what the sender calls by them already stays.
#[derive(Debug, Default)]
struct Facts(Vec<(&'static str, String)>);

impl Facts {
    /// A fact, as raw JSON.
    fn add(&mut self, name: &'static str, raw: String) {
        self.0.push((name, raw));
    }

    /// Python's version: `3.11.7`, or all of `sys.version`, of which the first word counts.
    fn python(&mut self, version: &str, implementation: Option<&str>) {
        let Some(version) = version.split_ascii_whitespace().next() else {
            return;
        };
        let mut runtime = serde_json::json!({ "name": "python", "version": version });
        if let Some(implementation) = implementation {
            runtime["implementation"] = implementation.into();
        }
        self.add("runtime", runtime.to_string());
    }

    /// The context with these facts among it; `None` where nothing is known.
    fn within(self, context: Option<&Body<'_>>) -> Option<String> {
        let mut known: Vec<(String, &str)> = Vec::new();
        for (name, raw) in &self.0 {
            if context.is_none_or(|context| context.get(name).is_none()) {
                known.push(((*name).to_owned(), raw));
            }
        }
        let theirs = context.into_iter().flat_map(Body::members);
        let is_new = |key: &str| !known.iter().any(|(name, _)| name == key);
        let theirs: Vec<_> = theirs.filter(|(key, _)| is_new(key)).collect();
        known.extend(theirs.into_iter().map(|(key, raw)| (key.into_owned(), raw)));
        (!known.is_empty()).then(|| object(known.iter().map(|(key, raw)| (key.as_str(), *raw))))
    }
}

/// What a value should have been and is.
fn expected(place: &str, key: &str, what: &str, raw: Option<&str>) -> Wrong {
    let dot = if place.is_empty() { "" } else { "." };
    Wrong(match raw {
        None => format!("{place}{dot}{key}: missing; expected {what}"),
        Some(raw) => format!("{place}{dot}{key}: expected {what}, found {}", json::kind_of(raw)),
    })
}
