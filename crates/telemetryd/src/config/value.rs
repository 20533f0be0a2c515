//! What a key takes, and how a found value becomes a typed one or is refused with what is allowed.

use std::collections::BTreeMap;
use std::time::Duration;

use telemetry_protocol::limits::is_tool_name;

use super::file::Found;
use super::suggest::nearest;
use super::{gateway, units, url};

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes {
    /// A duration within bounds, or the word `or` for "not at all".
    Duration {
        least: Duration,
        most: Duration,
        or: Option<&'static str>,
    },
    /// A size within bounds, in bytes.
    Size { least: u64, most: u64 },
    /// A whole number within bounds.
    Count { least: u64, most: u64 },
    /// A share between 0 and 1.
    Share,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word { now: &'static [&'static str] },
    /// The name of a destination.
    Name,
    /// Log levels: `info`, or `info,telemetryd=debug`.
    Log,
    /// A destination's URL.
    Url,
    /// A proxy's URL, or a word.
    Proxy,
    /// The value of a request header.
    Header,
    /// A secret, with `basic` of the form `user:password`.
    Secret { basic: bool },
    /// The absolute path of a file.
    Path,
    /// The name of an environment variable.
    Variable,
    /// Where the gateway listens.
    Listen,
    /// The gateway's keys, a table.
    Keys,
    /// Hosts with their ports.
    Hosts,
}

/// A value of the right type and within its bounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parsed {
    /// `None` is the word for "not at all".
    Duration(Option<Duration>),
    /// A size or a count.
    Number(u64),
    Share(f64),
    Flag(bool),
    Word(&'static str),
    Text(String),
    Texts(Vec<String>),
    Keys(BTreeMap<String, telemetry_gateway::Key>),
}

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    /// Stands for "found …" where that is not the point; holds no secret.
    pub(super) message: Option<String>,
    /// What is allowed.
    pub(super) allowed: String,
    /// What a person can do.
    pub(super) hint: Option<String>,
}

impl Refusal {
    pub(super) fn allowed(allowed: impl Into<String>) -> Self {
        Self {
            message: None,
            allowed: allowed.into(),
            hint: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

impl Takes {
    /// Whether the value must never be shown.
    pub(super) fn secret(self) -> bool {
        // A header may carry a key of its vendor's (X-Api-Key, X-Honeycomb-Team), and nothing tells which do.
        matches!(self, Self::Secret { .. } | Self::Header)
    }

    /// What is allowed, in words.
    pub(super) fn allowed(self) -> String {
        match self {
            Self::Duration { least, most, or } => {
                let (least, most) = (units::duration_text(least), units::duration_text(most));
                let word = or.map(|word| format!(", or \"{word}\"")).unwrap_or_default();
                format!("a duration from {least} to {most}, written like \"5s\"{word}")
            }
            Self::Size { least, most } => {
                let (least, most) = (units::size_text(least), units::size_text(most));
                format!("a size from {least} to {most}, written like \"64KiB\"")
            }
            Self::Count { least, most } => format!("a whole number from {least} to {most}"),
            Self::Share => "a share from 0.0 to 1.0".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Word { now: [only] } => format!("\"{only}\""),
            Self::Word { now } => {
                let quoted: Vec<String> = now.iter().map(|word| format!("\"{word}\"")).collect();
                format!("one of {}", quoted.join(", "))
            }
            Self::Name => "the name of a destination, [a-z0-9][a-z0-9._-]{0,63}".to_owned(),
            Self::Log => {
                let levels = LEVELS.join(", ");
                format!("a level ({levels}) and targets with theirs, like \"info,telemetryd=debug\"")
            }
            Self::Url => "a whole URL, \"https://host/path\"".to_owned(),
            Self::Proxy => "\"from-environment\", \"none\", or a URL \"http://host:port\"".to_owned(),
            Self::Header => "a string of printable ASCII, at most 4096 bytes".to_owned(),
            Self::Secret { basic: true } => {
                "a string \"user:password\" without control characters".to_owned()
            }
            Self::Secret { basic: false } => "a string of visible ASCII that is not empty".to_owned(),
            Self::Path => "the absolute path of a file, \"/…\"".to_owned(),
            Self::Variable => "the name of an environment variable, [A-Za-z_][A-Za-z0-9_]*".to_owned(),
            Self::Listen => gateway::LISTEN.to_owned(),
            Self::Keys => gateway::KEYS.to_owned(),
            Self::Hosts => gateway::HOSTS.to_owned(),
        }
    }

    /// Reads a found value.
    ///
    /// # Errors
    /// What is allowed instead, with a hint where one can be guessed.
    pub(super) fn parse(self, found: &Found) -> Result<Parsed, Refusal> {
        let text = found.text();
        let owned = |text: &str| Parsed::Text(text.to_owned());
        let parsed = match self {
            Self::Duration { or: Some(word), .. } if text == Some(word) => Some(Parsed::Duration(None)),
            Self::Duration { least, most, .. } => found
                .value
                .as_str()
                .and_then(units::duration)
                .filter(|duration| (least..=most).contains(duration))
                .map(|duration| Parsed::Duration(Some(duration))),
            Self::Size { least, most } => match &found.value {
                toml::Value::Integer(bytes) => u64::try_from(*bytes).ok(),
                toml::Value::String(text) => units::size(text),
                _ => None,
            }
            .filter(|bytes| (least..=most).contains(bytes))
            .map(Parsed::Number),
            Self::Count { least, most } => found
                .value
                .as_integer()
                .and_then(|count| u64::try_from(count).ok())
                .filter(|count| (least..=most).contains(count))
                .map(Parsed::Number),
            Self::Share => match &found.value {
                toml::Value::Float(share) => Some(*share),
                toml::Value::Integer(0) => Some(0.0),
                toml::Value::Integer(1) => Some(1.0),
                _ => None,
            }
            .filter(|share| (0.0..=1.0).contains(share))
            .map(Parsed::Share),
            Self::Flag => found.value.as_bool().map(Parsed::Flag),
            Self::Word { now } => now
                .iter()
                .find(|word| Some(**word) == text)
                .map(|word| Parsed::Word(word)),
            Self::Url => match text {
                Some(text) => {
                    url::parse(text).map_err(|wrong| Refusal {
                        allowed: self.allowed(),
                        ..wrong
                    })?;
                    Some(owned(text))
                }
                None => None,
            },
            Self::Proxy => match text {
                Some(text) => {
                    url::proxy(text).map_err(|problem| Refusal {
                        message: Some(format!("{problem}, found {}", url::proxy_shown(text))),
                        ..Refusal::allowed(self.allowed())
                    })?;
                    Some(owned(text))
                }
                None => None,
            },
            Self::Name => text.filter(|text| is_tool_name(text)).map(owned),
            Self::Log => text.filter(|text| is_log(text)).map(owned),
            Self::Header => text.filter(|text| is_header_value(text)).map(owned),
            Self::Secret { basic } => text.filter(|text| is_secret(text, basic)).map(owned),
            Self::Path => text
                .filter(|text| text.starts_with('/') && !text.contains('\0'))
                .map(owned),
            Self::Variable => text.filter(|text| is_variable(text)).map(owned),
            Self::Listen => text.filter(|text| gateway::listen(text).is_some()).map(owned),
            Self::Keys => gateway::keys(&found.value).map(Parsed::Keys),
            Self::Hosts => gateway::hosts(&found.value).map(Parsed::Texts),
        };
        parsed.ok_or_else(|| self.refuse(found))
    }

    fn refuse(self, found: &Found) -> Refusal {
        let refusal = Refusal::allowed(self.allowed());
        let text = found.text();
        match (self, &found.value) {
            (Self::Duration { .. }, toml::Value::Integer(number)) => {
                refusal.hint(format!("a duration needs a unit: \"{number}s\" is seconds"))
            }
            (Self::Word { now }, _) => did_you_mean(refusal, text, now),
            (Self::Log, _) => {
                let wrong = text.and_then(|text| text.split(',').map(str::trim).find(|item| !is_log(item)));
                did_you_mean(refusal, wrong.and_then(|item| item.rsplit('=').next()), &LEVELS)
            }
            _ => refusal,
        }
    }
}

fn did_you_mean(refusal: Refusal, word: Option<&str>, words: &[&'static str]) -> Refusal {
    match word.and_then(|word| nearest(word, words.iter().copied())) {
        Some(near) => refusal.hint(format!("did you mean \"{near}\"?")),
        None => refusal,
    }
}

/// Each item is a level, or a target and its level. A target alone is refused, although the log library
/// would take it (for "everything of it"): it is nearly always a misspelt level.
fn is_log(text: &str) -> bool {
    text.len() <= 1024
        && text.split(',').map(str::trim).all(|item| {
            let (target, level) = item.split_once('=').unwrap_or(("any", item));
            let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-');
            !target.is_empty() && target.bytes().all(named) && LEVELS.contains(&level)
        })
}

/// RFC 9110 section 5.5, of it the part that every server reads alike.
fn is_header_value(text: &str) -> bool {
    text.len() <= 4096 && text.trim() == text && text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t'))
}

fn is_secret(text: &str, basic: bool) -> bool {
    let good = match basic {
        true => text.contains(':') && !text.chars().any(char::is_control),
        // It stands in a request header as it is.
        false => text.bytes().all(|b| b.is_ascii_graphic()),
    };
    good && !text.is_empty() && text.len() <= 16 * 1024
}

fn is_variable(text: &str) -> bool {
    let start = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    text.bytes().next().is_some_and(start) && text.bytes().all(|b| start(b) || b.is_ascii_digit())
}
