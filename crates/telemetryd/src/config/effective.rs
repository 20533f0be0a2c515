//! One key's effective value: what was set, else its default, noted with its origin on the way. So a key
//! that the program uses is a key that `--show-config` shows.

use std::time::Duration;

use super::default;
use super::file::{File, Found, preset};
use super::origin::{MASK, Origin, Origins};
use super::problem::Problems;
use super::value::{Parsed, Takes};
use super::{gateway, units, url};

/// All layers together, being read.
pub(super) struct Check<'a> {
    /// What was found, the upper layers over the lower.
    pub(super) file: &'a File,
    /// What was read so far.
    pub(super) origins: Origins,
    /// What was wrong so far.
    pub(super) problems: &'a mut Problems,
}

impl Check<'_> {
    /// The value that is set and good; a bad one was reported by the inspection.
    pub(super) fn found(&mut self, key: &[&str]) -> Option<Parsed> {
        let takes = default::find(key)?.takes;
        let found = self.file.whole(key)?;
        let parsed = takes.parse(&found).ok()?;
        self.origins
            .note(units::dotted(key), shown(takes, &found), found.origin.clone());
        Some(parsed)
    }

    /// The value or the default; `None` where there is neither.
    pub(super) fn read(&mut self, key: &[&str]) -> Option<Parsed> {
        if let Some(parsed) = self.found(key) {
            return Some(parsed);
        }
        let entry = default::find(key)?;
        let preset = preset(entry.default?);
        let parsed = entry.takes.parse(&preset).ok();
        self.origins
            .note(units::dotted(key), preset.value, Origin::Default);
        parsed
    }

    pub(super) fn maybe_duration(&mut self, key: &[&str]) -> Option<Duration> {
        match self.read(key) {
            Some(Parsed::Duration(duration)) => duration,
            _ => None,
        }
    }

    pub(super) fn duration(&mut self, key: &[&str]) -> Duration {
        self.maybe_duration(key).unwrap_or_default()
    }

    pub(super) fn number(&mut self, key: &[&str]) -> u64 {
        match self.read(key) {
            Some(Parsed::Number(number)) => number,
            _ => 0,
        }
    }

    pub(super) fn flag(&mut self, key: &[&str]) -> bool {
        self.read(key) == Some(Parsed::Flag(true))
    }

    pub(super) fn maybe_number(&mut self, key: &[&str]) -> Option<u64> {
        match self.read(key) {
            Some(Parsed::Number(number)) => Some(number),
            _ => None,
        }
    }

    pub(super) fn maybe_share(&mut self, key: &[&str]) -> Option<f64> {
        match self.read(key) {
            Some(Parsed::Share(share)) => Some(share),
            _ => None,
        }
    }

    pub(super) fn word(&mut self, key: &[&str]) -> &'static str {
        match self.read(key) {
            Some(Parsed::Word(word)) => word,
            _ => "",
        }
    }

    pub(super) fn text(&mut self, key: &[&str]) -> Option<String> {
        match self.read(key) {
            Some(Parsed::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A size whose default, not being set, is lowered to `most`.
    pub(super) fn number_up_to(&mut self, key: &[&str], most: u64) -> u64 {
        let number = self.number(key);
        if self.file.found(key).is_none() && number > most {
            self.lowered(key, units::size_text(most));
            return most;
        }
        number
    }

    /// A duration whose default, not being set, is lowered to `most`.
    pub(super) fn duration_up_to(&mut self, key: &[&str], most: Duration) -> Duration {
        let duration = self.duration(key);
        if self.file.found(key).is_none() && duration > most {
            self.lowered(key, units::duration_text(most));
            return most;
        }
        duration
    }

    /// Notes what a key is that was not set, where that is not its default.
    pub(super) fn lowered(&mut self, key: &[&str], to: String) {
        self.origins
            .note(units::dotted(key), toml::Value::String(to), Origin::Default);
    }
}

/// A value for `--show-config`.
fn shown(takes: Takes, found: &Found) -> toml::Value {
    match (takes, found.text()) {
        (takes, _) if takes.secret() => toml::Value::String(MASK.to_owned()),
        (Takes::Keys, _) => gateway::keys_shown(&found.value),
        (Takes::Url, Some(text)) => toml::Value::String(url::mask(text)),
        (Takes::Proxy, Some(text)) => toml::Value::String(url::proxy_mask(text)),
        // What was read as a string is shown as one: a token file's name in the environment may be `1`.
        (Takes::Path | Takes::Variable | Takes::Name | Takes::Log | Takes::Listen, Some(text)) => {
            toml::Value::String(text.to_owned())
        }
        _ => found.value.clone(),
    }
}

/// The path as the tree has it.
pub(super) fn owned(key: &[&str]) -> Vec<String> {
    key.iter().map(|name| (*name).to_owned()).collect()
}
