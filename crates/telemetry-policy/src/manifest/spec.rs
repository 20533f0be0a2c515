//! Reading `properties`: from the manifest's words to [`super::property`].

use toml::de::{DeTable, DeValue};

use super::property::{Keys, Kind, MAX, Pattern, Property, Rule, Table, Text, Wild};
use super::reader::{At, Reader};

/// The largest `max`.
const MAX_MAX: u64 = 65_536;
/// Items of an array whose `max_items` nobody gave.
const MAX_ITEMS: usize = 100;
/// Objects in arrays in objects, at most so deep.
const MAX_DEPTH: usize = 8;

const SPEC: &str =
    "a type (\"string\", \"integer\", \"number\", \"boolean\", \"array\", \"object\") or a table with one";
const KEYS: &[&str] = &[
    "type",
    "about",
    "max",
    "enum",
    "else",
    "hash",
    "mask",
    "drop",
    "items",
    "max_items",
    "properties",
    "keys",
];
/// The types, and the keys that each has beside `type`, `about` and `drop`.
const TYPES: &[(&str, &[&str])] = &[
    ("string", &["max", "enum", "else", "hash", "mask"]),
    ("integer", &[]),
    ("number", &[]),
    ("boolean", &[]),
    ("array", &["items", "max_items"]),
    ("object", &["properties"]),
];

/// The properties of an event, or the keys of an object.
pub(super) fn table<'d>(reader: &mut Reader<'_, 'd>, path: &str, found: &DeTable<'d>, depth: usize) -> Table {
    let mut table = Table::default();
    for entry in reader.entries(path, found) {
        let at = entry.at();
        if entry.name.is_empty() || entry.name.chars().any(char::is_control) {
            reader.say(
                at.line,
                format!("{path}: a name is empty or holds control characters"),
            );
            continue;
        }
        let stars = entry.name.matches('*').count();
        if stars > 1 {
            reader.say(at.line, format!("{}: a name holds at most one *", at.path));
        }
        let Some((property, keys)) = property(reader, at, depth) else {
            continue;
        };
        if keys.is_some() && stars == 0 {
            let message = format!(
                "{}.keys: says which words may stand for a *, and there is none",
                at.path
            );
            reader.say(at.line, message);
        }
        match Pattern::of(entry.name) {
            Some(name) => table.wild.push(Wild { name, keys, property }),
            None => table.exact.push((entry.name.into(), property)),
        }
    }
    table.exact.sort_by(|a, b| a.0.cmp(&b.0));
    table
        .wild
        .sort_by_key(|wild| std::cmp::Reverse(wild.name.letters()));
    check_folds(reader, path, found, &table);
    table
}

/// What `else` makes must be a name that nothing else makes: an object has each name once.
fn check_folds<'d>(reader: &mut Reader<'_, 'd>, path: &str, found: &DeTable<'d>, table: &Table) {
    let folds = |wild: &Wild| {
        let otherwise = wild.keys.as_ref()?.otherwise.as_ref()?;
        Some(format!("{}{otherwise}{}", wild.name.before, wild.name.after))
    };
    for (nth, wild) in table.wild.iter().enumerate() {
        let (Some(keys), Some(name)) = (&wild.keys, folds(wild)) else {
            continue;
        };
        let otherwise = keys.otherwise.as_deref().unwrap_or_default();
        let what = if keys.prefix.iter().any(|prefix| otherwise.starts_with(&**prefix)) {
            "begins with a word of \"prefix\"".to_owned()
        } else if table.exact.iter().any(|(known, _)| **known == name) {
            format!("makes {name:?}, which is listed already")
        } else if table
            .wild
            .iter()
            .enumerate()
            .any(|(other, wild)| other != nth && wild.name.part(&name).is_some())
        {
            format!("makes {name:?}, which another pattern fits")
        } else {
            continue;
        };
        let written = wild.name.written();
        let line = found.iter().find(|(key, _)| *key.get_ref() == written);
        let line = line.map_or(1, |(key, _)| reader.document.line(key));
        reader.say(
            line,
            format!("{}.keys.else: {what}", super::reader::below(path, &written)),
        );
    }
}

fn property<'d>(
    reader: &mut Reader<'_, 'd>,
    at: At<'_, 'd>,
    depth: usize,
) -> Option<(Property, Option<Keys>)> {
    if depth > MAX_DEPTH {
        reader.say(
            at.line,
            format!("{}: nested deeper than {MAX_DEPTH} levels", at.path),
        );
        return None;
    }
    if at.value.as_str().is_some() {
        let kind = kind(reader, at, at, None, depth)?;
        let (drop, about) = (false, None);
        return Some((Property { kind, drop, about }, None));
    }
    let spec = reader.table(at, SPEC)?;
    let entries = reader.entries(at.path, spec);
    let Some(word) = entries.iter().find(|entry| entry.name == "type") else {
        // `properties.a.b = "string"` makes a table of `a`.
        let hint = match entries.first() {
            Some(entry) if !KEYS.contains(&entry.name) => {
                "; a name with a dot in it stands in quotes: properties.\"a.b\""
            }
            _ => "",
        };
        reader.say(at.line, format!("{}: has no type{hint}", at.path));
        return None;
    };
    let word = word.at();
    let kind = kind(reader, word, at, Some(spec), depth)?;
    let mut property = Property {
        kind,
        drop: false,
        about: None,
    };
    let mut keys = None;
    for entry in &entries {
        let at = entry.at();
        match entry.name {
            "about" => property.about = reader.string(at).map(Into::into),
            "drop" => property.drop = reader.boolean(at).unwrap_or_default(),
            "keys" => keys = self::keys(reader, at),
            _ => {}
        }
    }
    Some((property, keys))
}

/// The type and what belongs to it.
fn kind<'d>(
    reader: &mut Reader<'_, 'd>,
    word: At<'_, 'd>,
    at: At<'_, 'd>,
    spec: Option<&DeTable<'d>>,
    depth: usize,
) -> Option<Kind> {
    let words: Vec<(&str, &(&str, &[&str]))> = TYPES.iter().map(|entry| (entry.0, entry)).collect();
    let (name, own) = *reader.word(word, &words)?;
    let entries = spec.map_or_else(Vec::new, |spec| reader.entries(at.path, spec));
    for entry in &entries {
        let general = matches!(entry.name, "type" | "about" | "drop" | "keys");
        if !general && !own.contains(&entry.name) {
            if KEYS.contains(&entry.name) {
                let message = format!("{}: a property of type {name:?} has no such key", entry.path);
                reader.say(entry.line, message);
            } else {
                reader.unknown(at.path, entry.name, entry.line, KEYS);
            }
        }
    }
    let find = |name: &str| {
        let entry = entries.iter().find(|entry| entry.name == name)?;
        Some(At {
            path: entry.path.as_str(),
            line: entry.line,
            value: entry.value,
        })
    };
    Some(match name {
        "integer" => Kind::Integer,
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        "array" => {
            let items = match find("items") {
                Some(at) => property(reader, at, depth + 1)?.0,
                None => Property {
                    kind: Kind::String(Text::default()),
                    drop: false,
                    about: None,
                },
            };
            let max_items = find("max_items").and_then(|at| reader.number(at, 0..=10_000));
            Kind::Array {
                items: Box::new(items),
                max_items: max_items
                    .and_then(|n| usize::try_from(n).ok())
                    .unwrap_or(MAX_ITEMS),
            }
        }
        "object" => {
            let Some(listed) = find("properties") else {
                let message = format!("{}: an object lists its keys: properties = {{ … }}", at.path);
                reader.say(at.line, message);
                return None;
            };
            let found = reader.table(listed, "a table of properties")?;
            Kind::Object(table(reader, listed.path, found, depth + 1))
        }
        _ => Kind::String(text(reader, &find)),
    })
}

fn text<'p, 'd: 'p>(reader: &mut Reader<'_, 'd>, find: &dyn Fn(&str) -> Option<At<'p, 'd>>) -> Text {
    let mut text = Text::default();
    if let Some(max) = find("max").and_then(|at| reader.number(at, 0..=MAX_MAX)) {
        text.max = usize::try_from(max).unwrap_or(MAX);
    }
    if let Some(at) = find("enum") {
        text.only = reader.strings(at, "an array of words").unwrap_or_default();
        if text.only.is_empty() && matches!(at.value, DeValue::Array(_)) {
            reader.say(at.line, format!("{}: lists no word", at.path));
        }
    }
    if let Some(at) = find("else") {
        text.otherwise = reader.string(at).map(Into::into);
        if find("enum").is_none() {
            let message = format!(
                "{}: stands for what \"enum\" does not list, and there is none",
                at.path
            );
            reader.say(at.line, message);
        }
    }
    if let Some(at) = find("hash")
        && reader.boolean(at) == Some(true)
    {
        text.rule = Rule::Hash;
    }
    if let Some(at) = find("mask")
        && reader.word(at, &[("command", ())]).is_some()
    {
        if text.rule == Rule::Hash {
            reader.say(at.line, format!("{}: what is hashed is not masked", at.path));
        }
        text.rule = Rule::MaskCommand;
    }
    text
}

fn keys<'d>(reader: &mut Reader<'_, 'd>, at: At<'_, 'd>) -> Option<Keys> {
    let table = reader.table(at, "a table with \"prefix\" and \"else\"")?;
    let (path, mut prefix, mut otherwise) = (at.path, Vec::new(), None);
    for entry in reader.entries(at.path, table) {
        let at = entry.at();
        match entry.name {
            "prefix" => prefix = reader.strings(at, "an array of words").unwrap_or_default(),
            "else" => otherwise = reader.string(at).map(Into::into),
            other => reader.unknown(path, other, entry.line, &["prefix", "else"]),
        }
    }
    if prefix.is_empty() && otherwise.is_none() {
        reader.say(
            at.line,
            format!("{}: has neither \"prefix\" nor \"else\"", at.path),
        );
    }
    Some(Keys { prefix, otherwise })
}
