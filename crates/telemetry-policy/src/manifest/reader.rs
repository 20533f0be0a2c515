//! Reading a manifest's TOML: what was expected, what was found, and on which line. Never the value itself.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::nearest::nearest;
use crate::toml_lines::{Document, Mistake, kind};

/// A value, the dotted path that leads to it, and its line.
#[derive(Clone, Copy)]
pub(super) struct At<'p, 'd> {
    pub(super) path: &'p str,
    pub(super) line: u32,
    pub(super) value: &'p DeValue<'d>,
}

/// Gathers mistakes.
pub(super) struct Reader<'r, 'd> {
    pub(super) document: &'r Document<'d>,
    pub(super) mistakes: Vec<Mistake>,
}

/// A path and one more name, in quotes where it is no bare key.
pub(super) fn below(path: &str, name: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let dot = if path.is_empty() { "" } else { "." };
    if !name.is_empty() && name.bytes().all(bare) {
        format!("{path}{dot}{name}")
    } else {
        format!("{path}{dot}{name:?}")
    }
}

impl<'d> Reader<'_, 'd> {
    /// A mistake at this line.
    pub(super) fn say(&mut self, line: u32, message: String) {
        self.mistakes.push(Mistake { line, message });
    }

    /// Something else was expected here.
    pub(super) fn expected(&mut self, at: At<'_, '_>, expected: &str) {
        let message = format!("{}: expected {expected}, found {}", at.path, kind(at.value));
        self.say(at.line, message);
    }

    /// A key that is not known here, with the nearest that is.
    pub(super) fn unknown(&mut self, path: &str, name: &str, line: u32, known: &[&str]) {
        let hint = nearest(name, known).map_or_else(String::new, |near| format!("; did you mean {near}?"));
        self.say(line, format!("{}: unknown key{hint}", below(path, name)));
    }

    pub(super) fn string(&mut self, at: At<'_, '_>) -> Option<String> {
        let found = at.value.as_str().map(ToOwned::to_owned);
        if found.is_none() {
            self.expected(at, "a string");
        }
        found
    }

    pub(super) fn boolean(&mut self, at: At<'_, '_>) -> Option<bool> {
        let found = match at.value {
            DeValue::Boolean(found) => Some(*found),
            _ => None,
        };
        if found.is_none() {
            self.expected(at, "true or false");
        }
        found
    }

    /// A whole number in `range`.
    pub(super) fn number(&mut self, at: At<'_, '_>, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let found = match at.value {
            DeValue::Integer(found) => u64::from_str_radix(found.as_str(), found.radix()).ok(),
            _ => None,
        };
        let found = found.filter(|n| range.contains(n));
        if found.is_none() {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            self.expected(at, &expected);
        }
        found
    }

    /// The strings of an array, none of them empty.
    pub(super) fn strings(&mut self, at: At<'_, '_>, expected: &str) -> Option<Vec<Box<str>>> {
        let found = at.value.as_array().and_then(|items| {
            let one = |item: &Spanned<DeValue<'_>>| {
                let text = item.get_ref().as_str().filter(|text| !text.is_empty())?;
                Some(text.into())
            };
            items.iter().map(one).collect()
        });
        if found.is_none() {
            self.expected(at, expected);
        }
        found
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&mut self, at: At<'_, '_>, words: &[(&str, T)]) -> Option<T> {
        let found = at.value.as_str();
        let known = words.iter().find(|(word, _)| Some(*word) == found);
        if known.is_none() {
            let all: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            let near =
                found.and_then(|found| nearest(found, &words.iter().map(|(w, _)| *w).collect::<Vec<_>>()));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            let message = format!(
                "{}: expected {}, found {}{hint}",
                at.path,
                all.join(" or "),
                if found.is_some() {
                    "another word"
                } else {
                    kind(at.value)
                }
            );
            self.say(at.line, message);
        }
        known.map(|(_, value)| *value)
    }

    /// A table.
    pub(super) fn table<'t>(&mut self, at: At<'t, 'd>, expected: &str) -> Option<&'t DeTable<'d>> {
        let found = at.value.as_table();
        if found.is_none() {
            self.expected(at, expected);
        }
        found
    }

    /// The entries of a table, each with its path and line.
    pub(super) fn entries<'t>(&self, path: &str, table: &'t DeTable<'d>) -> Vec<Entry<'t, 'd>> {
        let entry =
            |(key, value): (&'t Spanned<std::borrow::Cow<'d, str>>, &'t Spanned<DeValue<'d>>)| Entry {
                name: key.get_ref(),
                path: below(path, key.get_ref()),
                line: self.document.line(key),
                value: value.get_ref(),
            };
        table.iter().map(entry).collect()
    }
}

/// An entry of a table.
pub(super) struct Entry<'t, 'd> {
    pub(super) name: &'t str,
    pub(super) path: String,
    pub(super) line: u32,
    pub(super) value: &'t DeValue<'d>,
}

impl<'d> Entry<'_, 'd> {
    pub(super) fn at(&self) -> At<'_, 'd> {
        At {
            path: &self.path,
            line: self.line,
            value: self.value,
        }
    }
}

/// A TOML value as JSON; `None` for dates, and for numbers that JSON has not.
pub(super) fn to_json(value: &DeValue<'_>) -> Option<serde_json::Value> {
    Some(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok()?.into(),
        DeValue::Float(number) => {
            serde_json::Number::from_f64(number.as_str().parse().ok()?).map(serde_json::Value::Number)?
        }
        DeValue::Boolean(word) => (*word).into(),
        DeValue::Datetime(_) => return None,
        DeValue::Array(items) => items
            .iter()
            .map(|item| to_json(item.get_ref()))
            .collect::<Option<Vec<_>>>()?
            .into(),
        DeValue::Table(table) => table
            .iter()
            .map(|(key, value)| Some((key.get_ref().clone().into_owned(), to_json(value.get_ref())?)))
            .collect::<Option<serde_json::Map<_, _>>>()?
            .into(),
    })
}
