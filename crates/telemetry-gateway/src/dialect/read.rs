//! Reading what a body holds: objects whose members are found by their keys, and lists of such.

use std::borrow::Cow;

use serde_json::value::RawValue;
use telemetry_protocol::json::{self, Member};
use telemetry_protocol::limits::MAX_DEPTH_CEILING;
use telemetry_protocol::time::parse_rfc3339;

use super::{Wrong, expected};

/// An object, scanned: what parsers disagree on is refused. How deep a line may be is the door's to say.
#[derive(Debug)]
pub struct Body<'a> {
    text: &'a str,
    members: Vec<Member>,
    place: Cow<'a, str>,
}

impl<'a> Body<'a> {
    /// Scans a body.
    ///
    /// # Errors
    /// When it is not one object.
    pub fn scan(text: &'a [u8]) -> Result<Self, Wrong> {
        let mut members = Vec::new();
        let scanned = json::scan(text, MAX_DEPTH_CEILING, &mut members).map(|_| ());
        match (scanned, str::from_utf8(text)) {
            (Ok(()), Ok(text)) => Ok(Self {
                text,
                members,
                place: Cow::Borrowed(""),
            }),
            (Err(error), _) => Err(Wrong(format!("the body is {error}"))),
            (_, Err(_)) => Err(Wrong("the body is not UTF-8".to_owned())),
        }
    }

    /// The same object, standing somewhere.
    #[must_use]
    pub fn at(self, place: String) -> Self {
        Self {
            place: place.into(),
            ..self
        }
    }

    /// Where it stands; empty: it is the body.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// All of it.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.text
    }

    /// Keys, unescaped, and raw values, in order.
    pub fn members(&self) -> impl Iterator<Item = (Cow<'a, str>, &'a str)> + '_ {
        self.members.iter().map(|member| {
            let (key, text) = (member.key.clone(), self.text);
            let quoted = &text[key.start - 1..key.end + 1];
            let key = match member.escaped {
                true => json::string(quoted).unwrap_or_default(),
                false => Cow::Borrowed(&text[key]),
            };
            (key, &text[member.value.clone()])
        })
    }

    /// The raw value of a key; null is none.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        let found = self.members().find(|(found, _)| found == key);
        found.map(|(_, raw)| raw).filter(|raw| *raw != "null")
    }

    /// What is wrong about a key.
    #[must_use]
    pub fn wrong(&self, key: &str, what: &str) -> Wrong {
        expected(&self.place, key, what, self.get(key))
    }

    /// The raw string of a key.
    ///
    /// # Errors
    /// When it is something else.
    pub fn string(&self, key: &str) -> Result<Option<&'a str>, Wrong> {
        self.like(key, "a string", |raw| raw.starts_with('"'))
    }

    /// The raw string of a key that has to be there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn needed(&self, key: &str) -> Result<&'a str, Wrong> {
        self.string(key)?.ok_or_else(|| self.wrong(key, "a string"))
    }

    /// The raw object of a key.
    ///
    /// # Errors
    /// When it is something else.
    pub fn object(&self, key: &str) -> Result<Option<&'a str>, Wrong> {
        self.like(key, "an object", |raw| raw.starts_with('{'))
    }

    /// The object of a key, where it is one.
    #[must_use]
    pub fn inner(&self, key: &str) -> Option<Body<'a>> {
        Body::scan(self.get(key)?.as_bytes()).ok()
    }

    /// The raw time of a key: RFC 3339, or milliseconds since the epoch.
    ///
    /// # Errors
    /// When it is something else.
    pub fn time(&self, key: &str) -> Result<Option<&'a str>, Wrong> {
        self.like(
            key,
            "an RFC 3339 time, or milliseconds",
            |raw| match json::string(raw) {
                Some(text) => parse_rfc3339(&text).is_some(),
                None => raw.parse::<i64>().is_ok(),
            },
        )
    }

    /// The words of a key: a string, or a number as it is written.
    #[must_use]
    pub fn words(&self, key: &str) -> Option<Cow<'a, str>> {
        let raw = self.get(key)?;
        match raw.as_bytes().first() {
            Some(b'"') => json::string(raw),
            Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(raw)),
            _ => None,
        }
    }

    /// The objects of a list.
    ///
    /// # Errors
    /// When it is none, or holds something else.
    pub fn list(&self, key: &str) -> Result<Vec<Body<'a>>, Wrong> {
        let raw = self.get(key).filter(|raw| raw.starts_with('['));
        let raw = raw.ok_or_else(|| self.wrong(key, "an array"))?;
        objects(raw, key)
    }

    fn like(&self, key: &str, what: &str, fits: impl FnOnce(&str) -> bool) -> Result<Option<&'a str>, Wrong> {
        match self.get(key) {
            Some(raw) if !fits(raw) => Err(self.wrong(key, what)),
            found => Ok(found),
        }
    }
}

/// The objects of an array that is called `name`.
pub(super) fn objects<'a>(raw: &'a str, name: &str) -> Result<Vec<Body<'a>>, Wrong> {
    let items: Vec<&RawValue> =
        serde_json::from_str(raw).map_err(|_| Wrong(format!("{name}: expected an array of objects")))?;
    let item = |(at, item): (usize, &&'a RawValue)| {
        let place = format!("{name}[{at}]");
        match Body::scan(item.get().as_bytes()) {
            Ok(body) => Ok(body.at(place)),
            Err(_) => Err(expected("", &place, "an object", Some(item.get()))),
        }
    };
    items.iter().enumerate().map(item).collect()
}
