//! One event on its way: consent first (I3), then context, then the line, within the client's deadline (I10). Where nobody
//! takes it, what may wait on the disk does.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use telemetry_protocol::consent::Layer;
use telemetry_protocol::limits::{MAX_EVENT_BYTES, MAX_EVENT_NAME, MAX_KEY, MAX_VERSION};
use uuid::Uuid;

use crate::client::{Client, Masked};
use crate::context::LIBRARY;
use crate::seen::{Seen, Way};
use crate::spool::{self, Spool};
use crate::{Context, Surroundings, clock, start};

/// What became of an event. Nobody has to look at it: none of it is the user's concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The daemon has it, and judges it.
    Handed,
    /// Nobody took it in time; what may wait on the disk waits there for the next daemon (docs/spool.md).
    Kept,
    /// Consent was denied: nothing was written, and nothing was said of the event.
    Declined,
    /// Nobody took it in time, and it may not wait or nothing can be written.
    Lost,
    /// It is no event: its name or its size is none, or the manifest is none ([`Client::problems`]).
    Unfit,
}

/// An event that is being put together.
#[derive(Clone, Debug)]
pub struct Event<'c> {
    client: &'c Client,
    name: String,
    properties: Map<String, Value>,
    masked: BTreeSet<String>,
}

impl<'c> Event<'c> {
    pub(crate) fn new(client: &'c Client, name: &str) -> Self {
        Self {
            client,
            name: name.to_owned(),
            properties: Map::new(),
            masked: BTreeSet::new(),
        }
    }

    /// A property. Of one that is said twice the last counts; a number that JSON cannot say is null.
    #[must_use]
    pub fn prop(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.masked.remove(key);
        self.properties.insert(key.to_owned(), value.into());
        self
    }

    /// A command line, masked by [`Client::mask`]: the only text of its kind that may wait on the disk.
    #[must_use]
    pub fn command(mut self, key: &str, line: &Masked) -> Self {
        self.masked.insert(key.to_owned());
        self.properties.insert(key.to_owned(), line.as_str().into());
        self
    }

    /// Hands the event to the daemon, if consent says nothing against it.
    pub fn send(self) -> Sent {
        let client = self.client;
        let length = self.name.len();
        let named = (1..=MAX_EVENT_NAME).contains(&length) && !self.name.chars().any(char::is_control);
        if !client.problems.is_empty() || !named {
            return Sent::Unfit;
        }
        let surroundings = &*client.seen_from();
        // The cheapest no: no file is read.
        if surroundings.variables.denies_everything().is_some() {
            return Sent::Declined;
        }
        let context = Context::of_this_process(&surroundings.variables);
        let seen = Seen::look(client, surroundings, &context);
        if let Some(denied) = seen.denied {
            if denied == Layer::Project {
                seen.pass_on(client, surroundings);
            }
            return Sent::Declined;
        }
        let (id, mut line) = self.line(&seen, &context);
        let text = written(&line);
        if text.len() > MAX_EVENT_BYTES {
            return Sent::Unfit;
        }
        let spool = seen.waits.as_ref().and(surroundings.user.as_ref());
        let spool = spool.map(|user| Spool::of(&user.state));
        let way = match &spool {
            Some(spool) if spool.wedged() => Way::Wedged,
            _ => {
                let until = clock::after(client.deadline);
                let way = seen.say(surroundings, &text, until);
                if let (Way::Wedged, Some(spool)) = (way, &spool) {
                    spool.note_wedged();
                }
                way
            }
        };
        if matches!(way, Way::Handed) {
            return Sent::Handed;
        }
        if matches!(way, Way::Forbidden) {
            return Sent::Lost;
        }
        let kept = spool.is_some_and(|spool| self.keep(&seen, &spool, id, &mut line));
        if matches!(way, Way::Nobody) && seen.waits.is_some() {
            start_one(surroundings, &seen);
        }
        match (kept, way) {
            (true, _) => Sent::Kept,
            (false, Way::Unanswered) => Sent::Handed,
            (false, _) => Sent::Lost,
        }
    }

    /// The event's line, and its id.
    fn line(&self, seen: &Seen<'_>, context: &Context) -> (Uuid, Map<String, Value>) {
        let client = self.client;
        let id = clock::new_id();
        let mut line = Map::new();
        let mut add = |key: &str, value: Value| line.insert(key.to_owned(), value);
        add("tool", client.name.as_str().into());
        add("event", self.name.as_str().into());
        add("id", id.to_string().into());
        add("time", clock::wall_ms().into());
        add("properties", Value::Object(self.properties.clone()));
        add("context", context.value(LIBRARY, None));
        let project = client.project.as_ref().or(seen.projects.first());
        for (key, value, most) in [
            ("version", client.version.as_ref(), MAX_VERSION),
            ("project", project, MAX_KEY),
            ("user", client.user.as_ref(), MAX_KEY),
        ] {
            if let Some(value) = value {
                add(key, cut(value, most).into());
            }
        }
        if let Some(fact) = &seen.allowed {
            let (layer, source) = (fact.layer.as_str(), cut(&fact.source, MAX_KEY));
            add(
                "consent",
                json!({"layer": layer, "verdict": "allow", "source": source}),
            );
        }
        add("ack", "none".into());
        (id, line)
    }

    /// Leaves what may wait in the spool.
    fn keep(&self, seen: &Seen<'_>, spool: &Spool, id: Uuid, line: &mut Map<String, Value>) -> bool {
        let listed = seen
            .waits
            .as_ref()
            .and_then(|manifest| spool::listed(manifest, &self.name, &self.properties, &self.masked));
        let Some(listed) = listed else { return false };
        for key in ["project", "user", "ack"] {
            line.remove(key);
        }
        line.insert("properties".to_owned(), Value::Object(listed));
        let text = written(line);
        text.len() <= MAX_EVENT_BYTES
            && spool
                .append(&self.client.name, id, text.as_bytes(), seen.register)
                .is_ok()
    }
}

/// A daemon for whoever has none.
pub(crate) fn start_one(surroundings: &Surroundings, seen: &Seen<'_>) {
    if !seen.no_start {
        start::start(surroundings);
    }
}

/// A line, its end included.
pub(crate) fn written(line: &Map<String, Value>) -> String {
    let mut text = Value::Object(line.clone()).to_string();
    text.push('\n');
    text
}

/// At most so many bytes of a text, whole letters of it.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}
