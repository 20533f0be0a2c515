//! `[events]`: which events a tool may send, and what stands in them.

use toml::de::DeValue;

use super::property::{Pattern, Table};
use super::reader::{At, Reader};
use super::spec;

/// Events of one manifest (I6).
const MAX_EVENTS: usize = 1024;

/// The events that may pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Events {
    /// Every one, with the value rules alone.
    #[default]
    Any,
    /// These alone.
    Listed {
        /// By their names, sorted.
        exact: Vec<(Box<str>, Event)>,
        /// By names with a `*`, the longest first.
        wild: Vec<(Pattern, Event)>,
    },
}

/// A listed event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// One line about it.
    pub about: Option<Box<str>>,
    /// What stands in it.
    pub properties: Properties,
}

/// The properties of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Properties {
    /// Every one, with the value rules alone.
    Any,
    /// These alone.
    Listed(Table),
}

impl Default for Properties {
    fn default() -> Self {
        Self::Listed(Table::default())
    }
}

/// What an event's name is to the manifest.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'e> {
    /// Listed to the letter.
    Exact(&'e Event),
    /// Listed with a `*`.
    Wild(&'e Event),
    /// Every event passes.
    Any,
    /// It may not pass.
    Unlisted,
}

impl Events {
    /// What the manifest says of `name`.
    pub(crate) fn find(&self, name: &str) -> Found<'_> {
        let Self::Listed { exact, wild } = self else {
            return Found::Any;
        };
        if let Ok(at) = exact.binary_search_by(|(known, _)| (**known).cmp(name))
            && let Some((_, event)) = exact.get(at)
        {
            return Found::Exact(event);
        }
        let fits = wild.iter().find(|(pattern, _)| pattern.part(name).is_some());
        fits.map_or(Found::Unlisted, |(_, event)| Found::Wild(event))
    }

    /// All that are listed, as the manifest writes their names.
    pub fn iter(&self) -> impl Iterator<Item = (String, &Event)> {
        let (exact, wild): (&[_], &[_]) = match self {
            Self::Any => (&[], &[]),
            Self::Listed { exact, wild } => (exact, wild),
        };
        let exact = exact.iter().map(|(name, event)| (name.to_string(), event));
        exact.chain(wild.iter().map(|(name, event)| (name.written(), event)))
    }
}

/// Reads `events`.
pub(super) fn parse<'d>(reader: &mut Reader<'_, 'd>, at: At<'_, 'd>) -> Option<Events> {
    if at.value.as_str() == Some("any") {
        return Some(Events::Any);
    }
    let table = reader.table(at, "\"any\", or a table for each event: [events.NAME]")?;
    if table.len() > MAX_EVENTS {
        reader.say(at.line, format!("events: a manifest lists at most {MAX_EVENTS}"));
        return None;
    }
    let (mut exact, mut wild) = (Vec::new(), Vec::new());
    for entry in reader.entries("events", table) {
        let name_is_good = (1..=telemetry_protocol::limits::MAX_EVENT_NAME).contains(&entry.name.len())
            && !entry.name.chars().any(char::is_control);
        if !name_is_good {
            let message = "events: a name has 1 to 128 bytes and no control characters".to_owned();
            reader.say(entry.line, message);
            continue;
        }
        if entry.name.matches('*').count() > 1 {
            reader.say(entry.line, format!("{}: a name holds at most one *", entry.path));
        }
        let at = entry.at();
        let Some(event) = event(reader, at) else { continue };
        match Pattern::of(entry.name) {
            Some(pattern) => wild.push((pattern, event)),
            None => exact.push((entry.name.into(), event)),
        }
    }
    exact.sort_by(|a: &(Box<str>, _), b| a.0.cmp(&b.0));
    wild.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.before.len() + pattern.after.len()));
    Some(Events::Listed { exact, wild })
}

fn event<'d>(reader: &mut Reader<'_, 'd>, at: At<'_, 'd>) -> Option<Event> {
    let table = reader.table(at, "a table: about = \"…\", properties.NAME = \"…\"")?;
    let mut event = Event::default();
    for entry in reader.entries(at.path, table) {
        let below = entry.at();
        match entry.name {
            "about" => event.about = reader.string(below).map(Into::into),
            "properties" if matches!(entry.value, DeValue::String(word) if word == "any") => {
                event.properties = Properties::Any;
            }
            "properties" => {
                let Some(listed) = reader.table(below, "\"any\" or a table of properties") else {
                    continue;
                };
                event.properties = Properties::Listed(spec::table(reader, below.path, listed, 1));
            }
            other => reader.unknown(at.path, other, entry.line, &["about", "properties"]),
        }
    }
    Some(event)
}
