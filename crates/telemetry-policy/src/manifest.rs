//! A manifest: the contract that a user can read and the daemon enforces (TOOLS.md). What it does not list does
//! not reach the disk (I4).
//!
//! Read in one go, every mistake with its line; what comes out is already in the shape that events are held
//! against: [`events`] and [`property`].

pub mod destination;
pub mod events;
pub mod property;
mod reader;
mod spec;
pub mod terms;

use std::sync::Arc;

use telemetry_protocol::consent::ToolDefault;
use telemetry_protocol::limits::is_tool_name;
use telemetry_protocol::map::{Mapping, Written};
use telemetry_protocol::mask::Vocabulary;
use telemetry_protocol::reason::ErrorCode;
use toml::de::DeValue;

use self::destination::Inline;
use self::events::Events;
use self::reader::{At, Reader, to_json};
use self::terms::{Ci, Facts, Identity, Privacy, Sample};
use crate::opt_out::{self, OptOuts};
use crate::toml_lines::Document;
pub use crate::toml_lines::Mistake;

/// Where a manifest came from; the first place that has one wins, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// `/etc/telemetryd/tools.d`.
    Admin,
    /// `/usr/share/telemetryd/tools.d`.
    Package,
    /// The user's `tools.d`.
    User,
    /// Brought by the tool itself.
    Registered,
}

impl Origin {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Package => "package",
            Self::User => "user",
            Self::Registered => "registered",
        }
    }
}

/// Whether something must be shown to the user before anything is collected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notice {
    /// Nothing needs to be shown.
    #[default]
    None,
    /// Declined until the client says that it was shown.
    Required,
    /// The tool shows its own.
    ByTool,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The tool.
    pub name: String,
    /// One line about what is collected.
    pub about: Option<String>,
    /// Where to read more.
    pub homepage: Option<String>,
    /// On unless denied, or off until allowed (the default).
    pub consent: ToolDefault,
    /// The name of a destination in the config; `None`: `defaults.destination`.
    pub destination: Option<String>,
    /// A destination that the manifest brings itself; [`Manifest::destination`] is then its name.
    pub inline: Option<Inline>,
    /// What must be shown first.
    pub notice: Notice,
    /// What it says.
    pub notice_text: Option<String>,
    /// Variables and files of the tool's own that count as an answer.
    pub opt_outs: OptOuts,
    /// Who answers for what is collected.
    pub privacy: Privacy,
    /// How the vendor's dashboards know what leaves.
    pub map: Option<Arc<Mapping>>,
    /// What is enforced on each event. Shared: it is read once and asked for every event.
    pub terms: Arc<Terms>,
    /// As it was written: what a person agreed to is kept as this text (see [`widens`](crate::widens())).
    pub text: String,
}

/// The part of a manifest that every event is held against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The events that may pass, and what stands in them.
    pub events: Events,
    /// Who the events are about.
    pub identity: Identity,
    /// What may be known of the machine and the process.
    pub context: Facts,
    /// What happens in continuous integration.
    pub ci: Ci,
    /// The share that is kept.
    pub sample: Sample,
    /// Events of one user and one day (UTC).
    pub max_per_day: Option<u64>,
    /// The tool's own commands: what `mask = "command"` may leave in clear.
    pub vocabulary: Option<Vocabulary>,
}

/// Keys of a manifest.
const KEYS: &[&str] = &[
    "name",
    "about",
    "homepage",
    "consent",
    "destination",
    "events",
    "notice",
    "notice_required",
    "opt_out_env",
    "project_files",
    "user_files",
    "identity",
    "context",
    "ci",
    "sample",
    "max_per_day",
    "privacy",
    "map",
    "vocabulary",
];

impl Manifest {
    /// Reads a manifest's text.
    ///
    /// # Errors
    /// Every mistake with its line: unknown keys (with a suggestion), wrong types, missing names.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let document = Document::parse(text).map_err(|mistake| vec![mistake])?;
        let mut reader = Reader {
            document: &document,
            mistakes: Vec::new(),
        };
        let mut manifest = Self {
            name: String::new(),
            about: None,
            homepage: None,
            consent: ToolDefault::OptIn,
            destination: None,
            inline: None,
            notice: Notice::None,
            notice_text: None,
            opt_outs: OptOuts::default(),
            privacy: Privacy::default(),
            map: None,
            terms: Arc::default(),
            text: text.to_owned(),
        };
        let mut terms = Terms::default();
        let table = document.table.get_ref();
        for entry in reader.entries("", table) {
            manifest.take(&mut reader, &mut terms, entry.name, entry.at());
        }
        for key in ["name", "events"] {
            if table.get(key).is_none() {
                let expected = match key {
                    "events" => "; expected \"any\" or [events.NAME]",
                    _ => "",
                };
                reader.say(1, format!("{key}: missing{expected}"));
            }
        }
        if manifest.inline.is_some() {
            manifest.destination = Some(destination::name_of(&manifest.name));
        }
        if !reader.mistakes.is_empty() {
            reader.mistakes.sort_by_key(|mistake| mistake.line);
            return Err(reader.mistakes);
        }
        manifest.terms = Arc::new(terms);
        Ok(manifest)
    }

    /// One key.
    fn take<'d>(&mut self, reader: &mut Reader<'_, 'd>, terms: &mut Terms, key: &str, at: At<'_, 'd>) {
        match key {
            "name" => match at.value.as_str() {
                Some(name) if is_tool_name(name) => self.name = name.to_owned(),
                _ => reader.expected(at, "a string like [a-z0-9][a-z0-9._-]{0,63}"),
            },
            "about" => self.about = reader.string(at),
            "homepage" => self.homepage = reader.string(at),
            "consent" => {
                let words = [("opt-in", ToolDefault::OptIn), ("opt-out", ToolDefault::OptOut)];
                self.consent = reader.word(at, &words).unwrap_or(ToolDefault::OptIn);
            }
            "destination" => match at.value {
                DeValue::String(name) if !name.is_empty() => self.destination = Some(name.to_string()),
                DeValue::Table(table) => self.inline = destination::parse(reader, at, table),
                _ => reader.expected(
                    at,
                    "the name of a destination in the config, or a table with its url",
                ),
            },
            "events" => terms.events = events::parse(reader, at).unwrap_or_default(),
            "notice" => match at.value.as_str() {
                Some("tool") => self.notice = Notice::ByTool,
                _ => self.notice_text = reader.string(at),
            },
            "notice_required" => match at.value {
                DeValue::Boolean(true) => self.notice = Notice::Required,
                DeValue::Boolean(false) => {}
                DeValue::String(word) if word == "tool" => self.notice = Notice::ByTool,
                _ => reader.expected(at, "true, false or \"tool\""),
            },
            "opt_out_env" | "project_files" | "user_files" => opt_out::parse(
                reader.document,
                key,
                at.line,
                at.value,
                &mut self.opt_outs,
                &mut reader.mistakes,
            ),
            "identity" => terms.identity = terms::identity(reader, at),
            "context" => terms.context = terms::facts(reader, at),
            "ci" => terms.ci = terms::ci(reader, at),
            "sample" => terms.sample = terms::sample(reader, at),
            "max_per_day" => terms.max_per_day = reader.number(at, 1..=u64::from(u32::MAX)),
            "privacy" => self.privacy = terms::privacy(reader, at),
            "map" => self.map = map(reader, at).map(Arc::new),
            "vocabulary" => {
                let found = to_json(at.value).filter(serde_json::Value::is_object);
                match found.map(serde_json::from_value) {
                    Some(Ok(vocabulary)) => terms.vocabulary = Some(vocabulary),
                    Some(Err(error)) => reader.say(at.line, format!("vocabulary: {error}")),
                    None => reader.expected(at, "the tool's command tree, a table"),
                }
            }
            unknown => reader.unknown("", unknown, at.line, KEYS),
        }
    }

    /// What a tool may bring by itself: it may not be on by default without telling its user.
    ///
    /// # Errors
    /// A sentence that says what it lacks.
    pub fn may_register(&self) -> Result<(), (ErrorCode, String)> {
        if self.consent == ToolDefault::OptOut && self.notice == Notice::None {
            return Err((
                ErrorCode::NotAllowed,
                "consent: a manifest that a tool brings itself is opt-in, or has notice_required = true or \"tool\""
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// Reads `[map]`.
fn map<'d>(reader: &mut Reader<'_, 'd>, at: At<'_, 'd>) -> Option<Mapping> {
    let table = reader.table(at, "a table: \"properties.is_ci_env\" = \"context.ci\"")?;
    let entries = reader.entries("map", table);
    let mut pairs = Vec::with_capacity(entries.len());
    for entry in &entries {
        let constant = |value: &DeValue<'_>| {
            let table = value.as_table().filter(|table| table.len() == 1)?;
            to_json(table.get("value")?.get_ref())
        };
        match (entry.value.as_str(), constant(entry.value)) {
            (Some(path), _) => pairs.push((entry.name, Written::Path(path))),
            (None, Some(value)) => pairs.push((entry.name, Written::Constant(value))),
            (None, None) => {
                // `properties.x = "…"` without quotes makes a table of `properties`.
                reader.expected(
                    entry.at(),
                    "a source, or { value = … }; a target with dots stands in quotes",
                );
            }
        }
    }
    match Mapping::new(pairs) {
        Ok(mapping) => Some(mapping),
        Err(errors) => {
            for error in errors {
                let line = entries.iter().find(|entry| entry.name == error.target);
                reader.say(line.map_or(at.line, |entry| entry.line), error.to_string());
            }
            None
        }
    }
}

#[cfg(test)]
mod tests;
