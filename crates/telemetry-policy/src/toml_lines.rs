//! TOML with line numbers: what a person needs to find a mistake.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A mistake, and the line it is on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct Mistake {
    /// Counted from 1.
    pub line: u32,
    /// What is wrong, never the value.
    pub message: String,
}

/// A parsed document that knows its lines.
pub(crate) struct Document<'a> {
    text: &'a str,
    pub(crate) table: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Mistake> {
        match DeTable::parse(text) {
            Ok(table) => Ok(Self { text, table }),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                Err(Mistake {
                    line: line_of(text, at),
                    message: format!("not TOML: {}", error.message()),
                })
            }
        }
    }

    pub(crate) fn line<T>(&self, spanned: &Spanned<T>) -> u32 {
        line_of(self.text, spanned.span().start)
    }
}

fn line_of(text: &str, at: usize) -> u32 {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    let newlines = before.iter().filter(|b| **b == b'\n').count();
    u32::try_from(newlines + 1).unwrap_or(u32::MAX)
}

/// What a value is, in words.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
