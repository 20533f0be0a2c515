//! A tool's own command tree: which words of a command line are its author's, and so are public.
//!
//! `{ "run": { "--pipeline": 1, "--async": 0, "--starter": {"values": ["pandas"]}, "--env": null } }`: an object is a
//! command, unless it has a list of `values`; an option's number is how many words it takes, `null` (in TOML, which has
//! none, `"unknown"`) is an option of unknown arity. Only keys that begin with `-` are options, the others with such
//! values are names of positional arguments, which say nothing about a word.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// What follows an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takes {
    /// So many words, none of them public; 0 is a flag.
    Words(u8),
    /// One word; these are public.
    OneOf(Vec<String>),
    /// Nobody said: the next word is taken for its value.
    Unknown,
}

impl Takes {
    /// How many of the next words are values.
    #[must_use]
    pub fn count(&self) -> u8 {
        match self {
            Takes::Words(count) => *count,
            Takes::OneOf(_) | Takes::Unknown => 1,
        }
    }

    /// The public value that this word is, as the vocabulary has it.
    #[must_use]
    pub fn public(&self, word: &str) -> Option<&str> {
        match self {
            Takes::OneOf(values) => values.iter().map(String::as_str).find(|value| *value == word),
            Takes::Words(_) | Takes::Unknown => None,
        }
    }
}

/// One word's meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Command(Vocabulary),
    Option(Takes),
}

/// The commands and options of one level, and through its commands of all below. Read from JSON or TOML.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vocabulary {
    words: BTreeMap<String, Word>,
}

impl Vocabulary {
    /// The command of this name on this level, as the vocabulary spells it, and what is below.
    #[must_use]
    pub fn command(&self, word: &str) -> Option<(&str, &Vocabulary)> {
        match self.words.get_key_value(word)? {
            (name, Word::Command(below)) => Some((name, below)),
            _ => None,
        }
    }

    /// The option of this name on this level, as the vocabulary spells it, and what follows it.
    #[must_use]
    pub fn option(&self, word: &str) -> Option<(&str, &Takes)> {
        match self.words.get_key_value(word)? {
            (name, Word::Option(takes)) => Some((name, takes)),
            _ => None,
        }
    }

    /// Adds a command and what is below it. A word that begins with `-` is never one.
    #[must_use]
    pub fn with_command(mut self, name: &str, below: Vocabulary) -> Self {
        if !name.starts_with('-') {
            self.words.insert(name.to_owned(), Word::Command(below));
        }
        self
    }

    /// Adds an option of this level. A word that does not begin with `-` is none.
    #[must_use]
    pub fn with_option(mut self, name: &str, takes: Takes) -> Self {
        if name.starts_with('-') {
            self.words.insert(name.to_owned(), Word::Option(takes));
        }
        self
    }

    /// Whether no word is public.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

/// The value of a key, before its key says what it is.
enum Value {
    Takes(Takes),
    List(Vec<String>),
    Values(Vec<String>),
    Level(Vocabulary),
}

impl Value {
    /// What a word means that has this value, or `None` for the name of a positional argument.
    fn of(self, key: &str) -> Option<Word> {
        match (key.starts_with('-'), self) {
            (true, Value::Takes(takes)) => Some(Word::Option(takes)),
            // `{}` under an option promises nothing about its value.
            (true, Value::Level(_)) => Some(Word::Option(Takes::Unknown)),
            (true, Value::List(values) | Value::Values(values)) => Some(Word::Option(Takes::OneOf(values))),
            (false, Value::Level(below)) => Some(Word::Command(below)),
            (false, _) => None,
        }
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a command's object, {\"values\": […]}, the number of words an option takes, or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Takes(Takes::Unknown))
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Takes(Takes::Unknown))
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Value, E> {
        match word {
            "unknown" => Ok(Value::Takes(Takes::Unknown)),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
        }
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Value, E> {
        u8::try_from(count)
            .map(|count| Value::Takes(Takes::Words(count)))
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(count), &"0 to 255 words"))
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Value, E> {
        u64::try_from(count)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(count), &"0 to 255 words"))
            .and_then(|count| self.visit_u64(count))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut level = Vocabulary::default();
        let mut values = None;
        while let Some(key) = map.next_key::<String>()? {
            match map.next_value::<Value>()? {
                // A command may be called so; a list makes it public values.
                Value::List(list) if key == "values" => values = Some(list),
                Value::List(_) => {
                    return Err(A::Error::custom(format!(
                        "a list stands under \"values\", not under {key:?}"
                    )));
                }
                value => {
                    if let Some(word) = value.of(&key) {
                        level.words.insert(key, word);
                    }
                }
            }
        }
        Ok(values.map_or(Value::Level(level), Value::Values))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    /// # Errors
    ///
    /// Anything but an object of commands and options.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Level(level) => Ok(level),
            Value::Takes(_) | Value::List(_) | Value::Values(_) => Err(D::Error::custom(
                "a vocabulary is an object of the tool's commands and options",
            )),
        }
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Word::Command(below) => below.serialize(serializer),
            Word::Option(Takes::Words(count)) => serializer.serialize_u8(*count),
            Word::Option(Takes::OneOf(values)) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("values", values)?;
                map.end()
            }
            Word::Option(Takes::Unknown) => serializer.serialize_str("unknown"),
        }
    }
}

impl Serialize for Vocabulary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.words)
    }
}
