//! A TOML table read key by key: what was asked for is known, the rest is an unknown key with a suggestion.
//! All problems are gathered, each with its line.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::Problem;
use super::units;

/// What was found wrong so far, and the text to find lines in.
pub(super) struct Findings<'t> {
    text: &'t str,
    pub(super) problems: Vec<Problem>,
}

impl<'t> Findings<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            problems: Vec::new(),
        }
    }

    /// Notes a problem at that byte of the text.
    pub(super) fn add(&mut self, at: usize, message: impl fmt::Display) {
        let line = 1 + memchr::memchr_iter(b'\n', &self.text.as_bytes()[..at.min(self.text.len())]).count();
        self.problems.push(Problem {
            line,
            message: message.to_string(),
        });
    }
}

/// One table, and which of its keys were asked for.
pub(super) struct Keys<'d, 'i> {
    table: &'d DeTable<'i>,
    /// Where the table begins.
    pub(super) at: usize,
    asked: Vec<&'static str>,
}

impl<'d, 'i> Keys<'d, 'i> {
    pub(super) fn new(table: &'d DeTable<'i>, at: usize) -> Self {
        Self {
            table,
            at,
            asked: Vec::new(),
        }
    }

    /// The value of that key, as it is.
    pub(super) fn raw(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'i>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// The value of that key made into something, or a problem that says what is wanted.
    pub(super) fn get<T>(
        &mut self,
        findings: &mut Findings<'_>,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&'d DeValue<'i>) -> Option<T>,
    ) -> Option<T> {
        let value = self.raw(key)?;
        let made = read(value.get_ref());
        if made.is_none() {
            findings.add(value.span().start, format_args!("`{key}` must be {wanted}"));
        }
        made
    }

    pub(super) fn string(&mut self, findings: &mut Findings<'_>, key: &'static str) -> Option<String> {
        self.get(findings, key, "a string", |value| {
            value.as_str().map(str::to_owned)
        })
    }

    pub(super) fn boolean(&mut self, findings: &mut Findings<'_>, key: &'static str) -> Option<bool> {
        self.get(findings, key, "true or false", DeValue::as_bool)
    }

    /// A whole number of at least 1.
    pub(super) fn count(&mut self, findings: &mut Findings<'_>, key: &'static str) -> Option<u64> {
        self.get(findings, key, "a whole number, 1 or more", |value| {
            whole(value).filter(|&number| number > 0)
        })
    }

    pub(super) fn duration(&mut self, findings: &mut Findings<'_>, key: &'static str) -> Option<Duration> {
        let wanted = "a duration such as \"250ms\", \"5s\" or \"2min\"";
        self.get(findings, key, wanted, |value| units::duration(value.as_str()?))
    }

    /// Bytes: a whole number, or a string with a unit.
    pub(super) fn size(&mut self, findings: &mut Findings<'_>, key: &'static str) -> Option<u64> {
        let wanted = "a number of bytes, or a size such as \"64KiB\"";
        self.get(findings, key, wanted, |value| {
            whole(value).or_else(|| units::size(value.as_str()?))
        })
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        findings: &mut Findings<'_>,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let value = self.raw(key)?;
        let found = value.get_ref().as_str();
        if let Some((_, meant)) = words.iter().find(|(word, _)| Some(*word) == found) {
            return Some(*meant);
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let hint = hint(found.and_then(|word| units::suggestion(word, &names)));
        findings.add(
            value.span().start,
            format_args!("`{key}` must be one of {}{hint}", names.join(", ")),
        );
        None
    }

    /// Says of every key that nobody asked for that it is unknown `here`.
    pub(super) fn finish(self, findings: &mut Findings<'_>, here: &str) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !self.asked.contains(&name) {
                let hint = hint(units::suggestion(name, &self.asked));
                findings.add(
                    key.span().start,
                    format_args!("unknown key `{name}` {here}{hint}"),
                );
            }
        }
    }
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion
        .map(|word| format!("; did you mean `{word}`?"))
        .unwrap_or_default()
}

/// A whole number that is not negative.
pub(super) fn whole(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// The JSON value that a scalar of a script stands for.
pub(super) fn json(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::from(text.as_ref())),
        DeValue::Boolean(truth) => Some(Value::from(*truth)),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(Value::from),
        DeValue::Float(number) => number.as_str().parse::<f64>().ok().map(Value::from),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
