//! What a key takes, and how a found value becomes a typed one or is refused with what is allowed.

use std::time::Duration;

use telemetry_protocol::limits::is_tool_name;

use super::file::Found;
use super::suggest::nearest;
use super::{units, url};

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
    /// `true` or `false`.
    Flag,
    /// One of the words `now`; those of `later` are refused as not supported yet.
    Word {
        now: &'static [&'static str],
        later: &'static [&'static str],
    },
    /// The name of a destination.
    Name,
    /// Log levels: `info`, or `info,telemetryd=debug`.
    Log,
    /// A destination's URL.
    Url,
    /// The value of a request header.
    Header,
    /// A secret, with `basic` of the form `user:password`.
    Secret { basic: bool },
    /// The absolute path of a file.
    Path,
    /// The name of an environment variable.
    Variable,
}

/// A value of the right type and within its bounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parsed {
    /// `None` is the word for "not at all".
    Duration(Option<Duration>),
    /// A size or a count.
    Number(u64),
    Flag(bool),
    Word(&'static str),
    Text(String),
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

    /// Reads a found value.
    ///
    /// # Errors
    /// What is allowed instead.
    pub(super) fn parse(self, found: &Found) -> Result<Parsed, Refusal> {
        match self {
            Self::Duration { least, most, or } => parse_duration(found, least, most, or),
            Self::Size { least, most } => {
                let read = match &found.value {
                    toml::Value::Integer(bytes) => u64::try_from(*bytes).ok(),
                    toml::Value::String(text) => units::size(text),
                    _ => None,
                };
                read.filter(|bytes| (least..=most).contains(bytes))
                    .map(Parsed::Number)
                    .ok_or_else(|| {
                        let (least, most) = (units::size_text(least), units::size_text(most));
                        Refusal::allowed(format!("a size from {least} to {most}, written like \"64KiB\""))
                    })
            }
            Self::Count { least, most } => found
                .value
                .as_integer()
                .and_then(|count| u64::try_from(count).ok())
                .filter(|count| (least..=most).contains(count))
                .map(Parsed::Number)
                .ok_or_else(|| Refusal::allowed(format!("a whole number from {least} to {most}"))),
            Self::Flag => found
                .value
                .as_bool()
                .map(Parsed::Flag)
                .ok_or_else(|| Refusal::allowed("true or false")),
            Self::Word { now, later } => parse_word(found, now, later),
            Self::Name => text(found, is_tool_name)
                .ok_or_else(|| Refusal::allowed("the name of a destination, [a-z0-9][a-z0-9._-]{0,63}")),
            Self::Log => parse_log(found),
            Self::Url => match found.text() {
                Some(text) => url::parse(text).map(|_| Parsed::Text(text.to_owned())),
                None => Err(Refusal::allowed("a URL, \"https://…\"")),
            },
            Self::Header => text(found, |text| {
                text.len() <= 4096
                    && text.trim() == text
                    && text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t'))
            })
            .ok_or_else(|| Refusal::allowed("a string of printable ASCII, at most 4096 bytes")),
            Self::Secret { basic } => text(found, |text| {
                !text.is_empty()
                    && text.len() <= 16 * 1024
                    && match basic {
                        true => text.contains(':') && !text.chars().any(char::is_control),
                        // It stands in a request header as it is.
                        false => text.bytes().all(|b| b.is_ascii_graphic()),
                    }
            })
            .ok_or_else(|| match basic {
                true => Refusal::allowed("a string \"user:password\" without control characters"),
                false => Refusal::allowed("a string of visible ASCII that is not empty"),
            }),
            Self::Path => text(found, |text| text.starts_with('/') && !text.contains('\0'))
                .ok_or_else(|| Refusal::allowed("the absolute path of a file, \"/…\"")),
            Self::Variable => text(found, |text| {
                let start = |b: u8| b.is_ascii_alphabetic() || b == b'_';
                text.bytes().next().is_some_and(start) && text.bytes().all(|b| start(b) || b.is_ascii_digit())
            })
            .ok_or_else(|| Refusal::allowed("the name of an environment variable, [A-Za-z_][A-Za-z0-9_]*")),
        }
    }
}

fn text(found: &Found, good: impl Fn(&str) -> bool) -> Option<Parsed> {
    found
        .text()
        .filter(|text| good(text))
        .map(|text| Parsed::Text(text.to_owned()))
}

fn parse_duration(
    found: &Found,
    least: Duration,
    most: Duration,
    or: Option<&'static str>,
) -> Result<Parsed, Refusal> {
    let read = found.value.as_str();
    if or.is_some() && read == or {
        return Ok(Parsed::Duration(None));
    }
    if let Some(duration) = read
        .and_then(units::duration)
        .filter(|d| (least..=most).contains(d))
    {
        return Ok(Parsed::Duration(Some(duration)));
    }
    let (least, most) = (units::duration_text(least), units::duration_text(most));
    let word = or.map(|word| format!(", or \"{word}\"")).unwrap_or_default();
    let refusal = Refusal::allowed(format!(
        "a duration from {least} to {most}, written like \"5s\"{word}"
    ));
    Err(match &found.value {
        toml::Value::Integer(number) => {
            refusal.hint(format!("a duration needs a unit: \"{number}s\" is seconds"))
        }
        _ => refusal,
    })
}

fn parse_word(
    found: &Found,
    now: &'static [&'static str],
    later: &'static [&'static str],
) -> Result<Parsed, Refusal> {
    let read = found.text();
    if let Some(word) = now.iter().find(|word| Some(**word) == read) {
        return Ok(Parsed::Word(word));
    }
    let allowed = now
        .iter()
        .map(|word| format!("\"{word}\""))
        .collect::<Vec<_>>()
        .join(", ");
    let allowed = if now.len() > 1 {
        format!("one of {allowed}")
    } else {
        allowed
    };
    let mut refusal = Refusal::allowed(allowed);
    if let Some(word) = later.iter().find(|word| Some(**word) == read) {
        refusal.message = Some(format!("\"{word}\" is not supported by this version yet"));
    } else if let Some(word) = read.and_then(|read| nearest(read, now.iter().copied())) {
        refusal = refusal.hint(format!("did you mean \"{word}\"?"));
    }
    Err(refusal)
}

/// Each item is a level, or a target and its level. A target alone is refused, although the log library
/// would take it (for "everything of it"): it is nearly always a misspelt level.
fn parse_log(found: &Found) -> Result<Parsed, Refusal> {
    let refusal = || {
        let levels = LEVELS.join(", ");
        Refusal::allowed(format!(
            "a level ({levels}) and targets with theirs, like \"info,telemetryd=debug\""
        ))
    };
    let read = found
        .text()
        .filter(|text| !text.is_empty() && text.len() <= 1024)
        .ok_or_else(refusal)?;
    for item in read.split(',').map(str::trim) {
        let (target, level) = item.split_once('=').unwrap_or(("x", item));
        let named = !target.is_empty()
            && target
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-'));
        if !named || !LEVELS.contains(&level) {
            return Err(match nearest(level, LEVELS) {
                Some(level) if named => refusal().hint(format!("did you mean \"{level}\"?")),
                _ => refusal(),
            });
        }
    }
    Ok(Parsed::Text(read.to_owned()))
}
