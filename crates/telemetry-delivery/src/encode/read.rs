//! A stored event taken apart: its members as they stand there, borrowed, nothing below them parsed.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a stored payload that every event may have, each as raw JSON. Null says what absence says.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Parts<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_version: Option<&'a RawValue>,
    #[serde(borrow)]
    anonymous_id: Option<&'a RawValue>,
    #[serde(borrow)]
    project_id: Option<&'a RawValue>,
    #[serde(borrow)]
    properties: Option<&'a RawValue>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
}

impl<'a> Parts<'a> {
    /// Of a payload. One that is no JSON object (what is stored always is) has no parts.
    pub(super) fn of(payload: &'a [u8]) -> Self {
        serde_json::from_slice(payload).unwrap_or_default()
    }

    /// The event's name.
    pub(super) fn event(&self) -> Option<&'a str> {
        self.event.map(RawValue::get)
    }

    /// When it happened, as the client said it.
    pub(super) fn time(&self) -> Option<&'a str> {
        self.time.map(RawValue::get)
    }

    /// The tool's version.
    pub(super) fn tool_version(&self) -> Option<&'a str> {
        self.tool_version.map(RawValue::get)
    }

    /// The pseudonym of the user.
    pub(super) fn anonymous_id(&self) -> Option<&'a str> {
        self.anonymous_id.map(RawValue::get)
    }

    /// The pseudonym of the project.
    pub(super) fn project_id(&self) -> Option<&'a str> {
        self.project_id.map(RawValue::get)
    }

    /// The properties, an object.
    pub(super) fn properties(&self) -> &'a str {
        self.properties.map_or("{}", RawValue::get)
    }

    /// What is known of the machine and the process, an object.
    pub(super) fn context(&self) -> Option<&'a str> {
        self.context.map(RawValue::get)
    }
}

/// The members of a raw object in their order; none if it is something else.
pub(super) fn members(raw: &str) -> Vec<(Cow<'_, str>, &str)> {
    serde_json::from_str(raw).map_or_else(|_| Vec::new(), |Members(members)| members)
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// What is found in a raw object under a name that may hold dots: the member of that very name, else what is found
/// below the member of its beginning.
pub(super) fn find<'a>(raw: &'a str, name: &str) -> Option<&'a str> {
    let members = members(raw);
    if let Some((_, value)) = members.iter().find(|(own, _)| own == name) {
        return Some(value);
    }
    name.match_indices('.').find_map(|(dot, _)| {
        let (_, inner) = members.iter().find(|(own, _)| *own == name[..dot])?;
        find(inner, &name[dot + 1..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_their_digits_and_their_names() {
        let found = members(r#"{"b":1.10,"a\n\"":{"x": [1 ,2]},"c":123456789012345678901234567890}"#);
        let shown: Vec<(&str, &str)> = found.iter().map(|(name, raw)| (&**name, *raw)).collect();
        assert_eq!(
            shown,
            [
                ("b", "1.10"),
                ("a\n\"", r#"{"x": [1 ,2]}"#),
                ("c", "123456789012345678901234567890")
            ]
        );
        assert!(members("[1]").is_empty());
    }

    #[test]
    fn a_name_with_dots_is_looked_up_whole_before_it_is_taken_apart() {
        let raw = r#"{"a":{"b.c":1,"b":{"d":2}},"a.b":{"x":3},"a.x.y":4}"#;
        assert_eq!(find(raw, "a.b.c"), Some("1"));
        assert_eq!(find(raw, "a.b.d"), Some("2"));
        assert_eq!(find(raw, "a.b.x"), Some("3"));
        assert_eq!(find(raw, "a.x.y"), Some("4"));
        assert_eq!(find(raw, "a.q"), None);
        assert_eq!(find(raw, "a.b.d.e"), None);
    }

    #[test]
    fn null_is_no_part() {
        let parts = Parts::of(br#"{"event":"e","properties":null,"context":null,"more":1}"#);
        assert_eq!(
            (parts.event(), parts.properties(), parts.context()),
            (Some("\"e\""), "{}", None)
        );
        assert!(Parts::of(b"[]").event().is_none());
    }
}
