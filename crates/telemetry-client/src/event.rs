//! One event on its way: consent first (I3), then context, then the line, within the client's deadline (I10).

use std::time::Instant;

use serde_json::{Map, Value, json};
use telemetry_policy::Origin;
use telemetry_protocol::consent::{Fact, Layer, Verdict};
use telemetry_protocol::limits::{MAX_EVENT_BYTES, MAX_EVENT_NAME, MAX_KEY, MAX_VERSION};
use telemetry_protocol::place::SYSTEM_SOCKET;

use crate::client::Client;
use crate::context::LIBRARY;
use crate::{Connection, Context, Gathered, Question, RealFiles, Surroundings, TalkError, clock, connect};

/// What became of an event. Nobody has to look at it: none of it is the user's concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The daemon has it, and judges it.
    Handed,
    /// Consent was denied: nothing was connected to and nothing was written.
    Declined,
    /// Nobody took it in time, or nobody is there.
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
}

impl<'c> Event<'c> {
    pub(crate) fn new(client: &'c Client, name: &str) -> Self {
        Self {
            client,
            name: name.to_owned(),
            properties: Map::new(),
        }
    }

    /// A property. Of one that is said twice the last counts; a number that JSON cannot say is null.
    #[must_use]
    pub fn prop(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.properties.insert(key.to_owned(), value.into());
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
        let seen = Seen::look(client, surroundings);
        if let Some(denied) = seen.denied {
            if denied == Layer::Project {
                seen.pass_on(client, surroundings);
            }
            return Sent::Declined;
        }
        let line = self.line(&seen, &Context::of_this_process(&surroundings.variables));
        if line.len() > MAX_EVENT_BYTES {
            return Sent::Unfit;
        }
        let until = clock::after(client.deadline);
        let handed = connect::connect(&surroundings.sockets.candidates(), until)
            .is_ok_and(|connection| seen.say(connection, &line, until).is_ok());
        if handed { Sent::Handed } else { Sent::Lost }
    }

    /// The event's line, its end included.
    fn line(self, seen: &Seen<'_>, context: &Context) -> String {
        let client = self.client;
        let mut line = Map::new();
        let mut add = |key: &str, value: Value| line.insert(key.to_owned(), value);
        add("tool", client.name.as_str().into());
        add("event", self.name.into());
        add("id", clock::new_id().to_string().into());
        add("time", clock::wall_ms().into());
        add("properties", self.properties.into());
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
        let mut line = Value::Object(line).to_string();
        line.push('\n');
        line
    }
}

/// What this process sees of consent and of manifests at one moment.
struct Seen<'c> {
    /// The first layer that denies.
    denied: Option<Layer>,
    /// What the events of this project call it.
    projects: Vec<String>,
    /// An allow that the daemon cannot see for itself.
    allowed: Option<Fact>,
    /// The manifest that the daemon does not have yet.
    register: Option<&'c str>,
}

impl<'c> Seen<'c> {
    fn look(client: &'c Client, surroundings: &Surroundings) -> Self {
        let own = client.manifest.as_slice();
        let gathered = Gathered::with(surroundings, own, &RealFiles);
        let question = Question {
            tool: &client.name,
            project: client.project_dir.as_deref(),
            invocation: client.said,
        };
        let facts = gathered.facts(&question, &RealFiles);
        let denials = facts.iter().filter(|fact| fact.verdict == Some(Verdict::Deny));
        let denied = denials.map(|fact| fact.layer).min();
        let allowed = facts
            .into_iter()
            .filter(|fact| fact.verdict == Some(Verdict::Allow) && fact.layer > Layer::User)
            .min_by_key(|fact| fact.layer);
        let known = gathered.policy().manifest(&client.name);
        let own = client.manifest.as_ref().filter(|own| own.may_register().is_ok());
        let register = own.filter(|own| {
            known.is_none_or(|known| {
                known.origin == Origin::Registered
                    && (known.source == "registered" || known.manifest.text != own.text)
            })
        });
        Self {
            denied,
            projects: gathered.project_names(&question, &RealFiles),
            allowed,
            register: register.map(|own| own.text.as_str()),
        }
    }

    /// The denial of a project erases what is queued of it: that is said to a daemon that is there, and not waited for.
    fn pass_on(&self, client: &Client, surroundings: &Surroundings) {
        let until = clock::after(client.deadline);
        let Ok(mut connection) = connect::connect(&surroundings.sockets.candidates(), until) else {
            return;
        };
        for project in client.project.iter().chain(&self.projects) {
            let request =
                json!({ "op": "consent", "action": "deny", "tool": client.name, "project": project });
            if connection.send(format!("{request}\n").as_bytes(), until).is_err() {
                return;
            }
        }
    }

    /// The line, behind the manifest that the daemon has to know to judge it. Once on a machine: the daemon keeps it
    /// where every later process finds it.
    fn say(&self, mut connection: Connection, line: &str, until: Instant) -> Result<(), TalkError> {
        let machine_wide = connection.path() == std::path::Path::new(SYSTEM_SOCKET);
        if let Some(manifest) = self.register.filter(|_| !machine_wide) {
            let request = format!("{}\n", json!({"op": "register", "manifest": manifest}));
            if request.len() <= MAX_EVENT_BYTES {
                connection.send(request.as_bytes(), until)?;
                // Whatever it says, the event is its to judge.
                connection.line(until)?;
            }
        }
        connection.send(line.as_bytes(), until)
    }
}

/// At most so many bytes of a text, whole letters of it.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}
