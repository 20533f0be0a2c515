//! What was found, before anybody judged it: the keys of one file, of the environment or of the flags,
//! each with its place, and how one such layer goes over another.
//!
//! It is a tree and not a derived struct because a derived one stops at the first thing that is wrong,
//! and because each key has to remember where it stood.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::default::matches;
use super::origin::Origin;
use super::problem::{Problem, Problems};

/// A value and where it stood.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// The value.
    pub(super) value: toml::Value,
    /// The text it was read from, where that was no TOML document: for a key that takes a string,
    /// `12345` in an environment variable is one.
    pub(super) raw: Option<String>,
    /// Where.
    pub(super) origin: Origin,
}

impl Found {
    /// The value as a string.
    pub(super) fn text(&self) -> Option<&str> {
        self.value.as_str().or(self.raw.as_deref())
    }
}

/// A value or a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Leaf(Found),
    Table(Table),
}

impl Node {
    /// The node as one value.
    pub(super) fn whole(&self) -> Found {
        match self {
            Self::Leaf(found) => found.clone(),
            Self::Table(table) => {
                let entries = table.entries.iter();
                let entries = entries.map(|(name, node)| (name.clone(), node.whole().value));
                Found {
                    value: toml::Value::Table(entries.collect()),
                    raw: None,
                    origin: table.origin.clone(),
                }
            }
        }
    }
}

/// A table and where it stood.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) origin: Origin,
    pub(super) entries: BTreeMap<String, Node>,
}

/// A layer: what one file, the environment or the flags say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct File {
    pub(super) root: Table,
}

/// Tables that are one decision: a layer that says anything in them replaces what was said below.
/// (A token of one layer with the user name of another would be neither's.)
const WHOLE: &[&str] = &["destinations.*.auth"];

/// Syntax errors that are said of one file: what follows is mostly made by those before it.
const MAX_SYNTAX_ERRORS: usize = 20;

impl File {
    /// A layer that says nothing.
    pub(super) fn empty() -> Self {
        Self {
            root: Table::new(Origin::Default),
        }
    }

    /// A layer with one value.
    pub(super) fn single(path: &[String], node: Node, origin: &Origin) -> Self {
        let node = path.iter().rev().fold(node, |node, name| {
            let entries = BTreeMap::from([(name.clone(), node)]);
            Node::Table(Table {
                origin: origin.clone(),
                entries,
            })
        });
        match node {
            Node::Table(root) => Self { root },
            Node::Leaf(_) => Self::empty(),
        }
    }

    /// Reads a file's text. Syntax errors become problems; what could be read beside them is kept, so that
    /// it is checked in the same run.
    pub(super) fn parse(path: &Path, text: &str, problems: &mut Problems) -> Self {
        let path: Arc<Path> = Arc::from(path);
        let lines = Lines::of(text);
        let place = |offset: usize| Origin::File {
            path: Arc::clone(&path),
            line: lines.at(offset),
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors.into_iter().take(MAX_SYNTAX_ERRORS) {
            let place = place(error.span().map_or(0, |span| span.start));
            let message: Vec<&str> = error.message().lines().map(str::trim).collect();
            problems.add(Problem::new(
                &place,
                format!("not valid TOML: {}", message.join(", ")),
            ));
        }
        let origin = Origin::File {
            path: Arc::clone(&path),
            line: 0,
        };
        Self {
            root: Table {
                origin,
                entries: entries(table.get_ref(), &place),
            },
        }
    }

    /// The node at `path`.
    pub(super) fn node<S: AsRef<str>>(&self, path: &[S]) -> Option<&Node> {
        let (last, tables) = path.split_last()?;
        let mut table = &self.root;
        for name in tables {
            match table.entries.get(name.as_ref())? {
                Node::Table(below) => table = below,
                Node::Leaf(_) => return None,
            }
        }
        table.entries.get(last.as_ref())
    }

    /// The value at `path`.
    pub(super) fn found<S: AsRef<str>>(&self, path: &[S]) -> Option<&Found> {
        match self.node(path)? {
            Node::Leaf(found) => Some(found),
            Node::Table(_) => None,
        }
    }

    /// What stands at `path`, a table as one value.
    pub(super) fn whole<S: AsRef<str>>(&self, path: &[S]) -> Option<Found> {
        self.node(path).map(Node::whole)
    }

    /// The table at `path`.
    pub(super) fn table<S: AsRef<str>>(&self, path: &[S]) -> Option<&Table> {
        match self.node(path)? {
            Node::Table(table) => Some(table),
            Node::Leaf(_) => None,
        }
    }

    /// Lays `upper` over this layer, key by key; a table that is one decision is replaced whole.
    pub(super) fn over(&mut self, upper: Self) {
        merge(&mut self.root, upper.root, &mut Vec::new(), true);
    }

    /// Joins another part of the same layer.
    pub(super) fn join(&mut self, part: Self) {
        merge(&mut self.root, part.root, &mut Vec::new(), false);
    }
}

impl Table {
    pub(super) fn new(origin: Origin) -> Self {
        Self {
            origin,
            entries: BTreeMap::new(),
        }
    }
}

fn merge(lower: &mut Table, upper: Table, path: &mut Vec<String>, layers: bool) {
    for (name, node) in upper.entries {
        // The names of request headers do not tell upper case from lower.
        if matches("destinations.*.headers", path) {
            lower
                .entries
                .retain(|other, _| *other == name || !other.eq_ignore_ascii_case(&name));
        }
        path.push(name.clone());
        let whole = layers && WHOLE.iter().any(|pattern| matches(pattern, path));
        match (lower.entries.get_mut(&name), node) {
            (Some(Node::Table(below)), Node::Table(above)) if !whole => merge(below, above, path, layers),
            (_, node) => {
                lower.entries.insert(name, node);
            }
        }
        path.pop();
    }
}

fn entries(table: &DeTable<'_>, place: &dyn Fn(usize) -> Origin) -> BTreeMap<String, Node> {
    let entry = |(key, value): (
        &toml::Spanned<std::borrow::Cow<'_, str>>,
        &toml::Spanned<DeValue<'_>>,
    )| {
        let node = node(value.get_ref(), &|| place(key.span().start), place);
        (key.get_ref().to_string(), node)
    };
    table.iter().map(entry).collect()
}

fn node(value: &DeValue<'_>, here: &dyn Fn() -> Origin, place: &dyn Fn(usize) -> Origin) -> Node {
    match value {
        DeValue::Table(table) => Node::Table(Table {
            origin: here(),
            entries: entries(table, place),
        }),
        other => Node::Leaf(Found {
            value: plain(other),
            raw: None,
            origin: here(),
        }),
    }
}

/// One value from an environment variable: TOML if it is, else the text itself.
pub(super) fn lenient(text: &str, origin: &Origin) -> Node {
    match DeValue::parse(text) {
        Ok(value) => match node(value.get_ref(), &|| origin.clone(), &|_| origin.clone()) {
            Node::Leaf(found) => Node::Leaf(Found {
                raw: Some(text.to_owned()),
                ..found
            }),
            table @ Node::Table(_) => table,
        },
        Err(_) => Node::Leaf(string(text, origin)),
    }
}

/// A string from a place that knows no TOML.
pub(super) fn string(text: &str, origin: &Origin) -> Found {
    Found {
        value: toml::Value::String(text.to_owned()),
        raw: Some(text.to_owned()),
        origin: origin.clone(),
    }
}

/// A default, which `default.rs` writes as TOML.
pub(super) fn preset(text: &str) -> Found {
    let value = DeValue::parse(text).map_or(toml::Value::String(text.to_owned()), |value| {
        plain(value.get_ref())
    });
    Found {
        value,
        raw: None,
        origin: Origin::Default,
    }
}

fn plain(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        // No key takes a number near the ends of 64 bits: what is past them stays out of every range.
        DeValue::Integer(number) => toml::Value::Integer(
            i64::from_str_radix(number.as_str(), number.radix()).unwrap_or_else(|_| {
                if number.as_str().starts_with('-') {
                    i64::MIN
                } else {
                    i64::MAX
                }
            }),
        ),
        DeValue::Float(number) => toml::Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => toml::Value::Boolean(*flag),
        // Beside a syntax error stands what was read of a date: one that cannot be written again is no date.
        DeValue::Datetime(time) => match time.to_string().parse::<toml::value::Datetime>() {
            Ok(time) => toml::Value::Datetime(time),
            Err(_) => toml::Value::String(time.to_string()),
        },
        DeValue::Array(items) => toml::Value::Array(items.iter().map(|item| plain(item.get_ref())).collect()),
        DeValue::Table(table) => toml::Value::Table(
            table
                .iter()
                .map(|(key, value)| (key.get_ref().to_string(), plain(value.get_ref())))
                .collect(),
        ),
    }
}

/// What kind of thing a node is, for "found a string".
pub(super) fn kind(node: &Node) -> &'static str {
    match node {
        Node::Table(_)
        | Node::Leaf(Found {
            value: toml::Value::Table(_),
            ..
        }) => "a table",
        Node::Leaf(Found {
            value: toml::Value::Array(_),
            ..
        }) => "an array",
        Node::Leaf(Found {
            value: toml::Value::String(_),
            ..
        }) => "a string",
        Node::Leaf(Found {
            value: toml::Value::Boolean(_),
            ..
        }) => "a boolean",
        Node::Leaf(Found {
            value: toml::Value::Datetime(_),
            ..
        }) => "a date",
        Node::Leaf(_) => "a number",
    }
}

/// Where each line of a text begins.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(
            text.bytes()
                .enumerate()
                .filter(|(_, byte)| *byte == b'\n')
                .map(|(at, _)| at)
                .collect(),
        )
    }

    /// The line, from 1, of a byte.
    fn at(&self, offset: usize) -> u32 {
        let before = self.0.partition_point(|newline| *newline < offset);
        u32::try_from(before + 1).unwrap_or(u32::MAX)
    }
}
