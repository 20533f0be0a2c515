//! What one property may be: its type, its bounds, its rule. Made once from the manifest, in a shape that an
//! event's bytes are held against without making values of them (I4).

use toml::de::{DeTable, DeValue};

use super::reader::{At, Reader};

/// Characters of a string whose `max` nobody gave.
const MAX: usize = 256;
/// The largest `max`.
const MAX_MAX: u64 = 65_536;
/// Items of an array whose `max_items` nobody gave.
const MAX_ITEMS: usize = 100;
/// Objects in arrays in objects, at most so deep.
const MAX_DEPTH: usize = 8;

/// A listed property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its type.
    pub kind: Kind,
    /// It is known, and never kept.
    pub drop: bool,
    /// One line about it.
    pub about: Option<Box<str>>,
}

/// A property's type. Null is a value of every one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `string`.
    String(Text),
    /// `integer`: without fraction and exponent.
    Integer,
    /// `number`.
    Number,
    /// `boolean`.
    Boolean,
    /// `array`.
    Array {
        /// What each item is.
        items: Box<Property>,
        /// Those after so many are cut off.
        max_items: usize,
    },
    /// `object`, with the keys that it may have.
    Object(Table),
}

impl Kind {
    /// The word of the manifest.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array { .. } => "array",
            Self::Object(_) => "object",
        }
    }
}

/// What a string may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Characters; the rest is cut off.
    pub max: usize,
    /// `enum`: these values alone, which are public; empty: any.
    pub only: Vec<Box<str>>,
    /// `else`: what stands for every other value.
    pub otherwise: Option<Box<str>>,
    /// What is done to it.
    pub rule: Rule,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            max: MAX,
            only: Vec::new(),
            otherwise: None,
            rule: Rule::None,
        }
    }
}

/// What is done to a string before it is stored, beside the value rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// Nothing more.
    #[default]
    None,
    /// `hash = true`: only its keyed hash is kept.
    Hash,
    /// `mask = "command"`: a command line, whose values are masked.
    MaskCommand,
}

/// A property whose name has a `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wild {
    /// Its name.
    pub name: Pattern,
    /// Which words may stand for the `*`; `None`: any, by the value rules.
    pub keys: Option<Keys>,
    /// What it is.
    pub property: Property,
}

/// Which words may stand for a `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Those that begin with one of these.
    pub prefix: Vec<Box<str>>,
    /// What stands for every other; `None`: it is removed.
    pub otherwise: Option<Box<str>>,
}

/// A name with at most one `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What stands before the `*`.
    pub before: Box<str>,
    /// What stands after it.
    pub after: Box<str>,
}

impl Pattern {
    /// `None` where there is no `*`, or more than one.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let (before, after) = name.split_once('*')?;
        (!after.contains('*')).then(|| Self {
            before: before.into(),
            after: after.into(),
        })
    }

    /// What stands for the `*` in `name`.
    #[must_use]
    pub fn part<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(&*self.before)?.strip_suffix(&*self.after)
    }

    /// As the manifest writes it.
    #[must_use]
    pub fn written(&self) -> String {
        format!("{}*{}", self.before, self.after)
    }

    /// Letters that have to be there: of two that fit, the longer one counts.
    fn letters(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

/// The keys that an object may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// By their names, sorted.
    exact: Vec<(Box<str>, Property)>,
    /// By their patterns, the longest first.
    wild: Vec<Wild>,
}

/// How a key is listed.
#[derive(Clone, Copy, Debug)]
pub enum Listed<'t> {
    /// By its name.
    Exact(&'t str, &'t Property),
    /// By a pattern, the so manieth of its table.
    Wild(usize, &'t Wild),
}

impl Table {
    /// How `name` is listed, if it is.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Listed<'_>> {
        if let Ok(at) = self.exact.binary_search_by(|(known, _)| (**known).cmp(name)) {
            let (known, property) = self.exact.get(at)?;
            return Some(Listed::Exact(known, property));
        }
        let fits = |(_, wild): &(usize, &Wild)| wild.name.part(name).is_some();
        let (at, wild) = self.wild.iter().enumerate().find(fits)?;
        Some(Listed::Wild(at, wild))
    }

    /// All of them, as the manifest writes their names: those by name in order, then those by pattern.
    pub fn iter(&self) -> impl Iterator<Item = (String, &Property)> {
        let exact = self
            .exact
            .iter()
            .map(|(name, property)| (name.to_string(), property));
        exact.chain(self.wild.iter().map(|wild| (wild.name.written(), &wild.property)))
    }

    /// Those with a `*`.
    #[must_use]
    pub fn wild(&self) -> &[Wild] {
        &self.wild
    }

    /// Lists one more.
    pub(crate) fn list(&mut self, name: &str, property: Property) {
        self.exact.push((name.into(), property));
        self.exact.sort_by(|a, b| a.0.cmp(&b.0));
    }
}

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
