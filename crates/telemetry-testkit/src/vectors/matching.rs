//! Expected against found, with patterns and what they remember.

use std::collections::BTreeMap;

use serde_json::Value;
use telemetry_protocol::time::parse_rfc3339;

/// What `<… as NAME>` remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered(BTreeMap<String, Value>);

impl Remembered {
    /// Whether `found` matches. What it remembers of a value that does not match is undone.
    ///
    /// # Errors
    /// Where it does not, what was wanted there, and what was found.
    pub(super) fn matches(&mut self, wanted: &Value, found: &Value) -> Result<(), String> {
        let before = self.0.clone();
        let matched = self.compare("", wanted, Some(found));
        if matched.is_err() {
            self.0 = before;
        }
        matched
    }

    /// A value to send, with what was remembered put in.
    ///
    /// # Errors
    /// When something was never remembered.
    pub(super) fn put_in(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => match pattern(text).and_then(|inner| inner.strip_prefix("same ")) {
                Some(name) => self.recall(name)?.clone(),
                None => value.clone(),
            },
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| self.put_in(item))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(object) => {
                let put = |(key, value): (&String, &Value)| Ok((key.clone(), self.put_in(value)?));
                Value::Object(object.iter().map(put).collect::<Result<_, String>>()?)
            }
            _ => value.clone(),
        })
    }

    fn recall(&self, name: &str) -> Result<&Value, String> {
        self.0
            .get(name)
            .ok_or_else(|| format!("nothing was remembered as {name:?}"))
    }

    fn compare(&mut self, place: &str, wanted: &Value, found: Option<&Value>) -> Result<(), String> {
        if let Some(inner) = wanted.as_str().and_then(pattern) {
            return self.pattern(place, inner, found);
        }
        let Some(found) = found else {
            return differs(place, wanted, None);
        };
        match (wanted, found) {
            (Value::Object(wanted), Value::Object(found)) => wanted
                .iter()
                .try_for_each(|(key, value)| self.compare(&format!("{place}.{key}"), value, found.get(key))),
            (Value::Array(items), Value::Array(others)) if items.len() == others.len() => items
                .iter()
                .zip(others)
                .enumerate()
                .try_for_each(|(index, (item, other))| {
                    self.compare(&format!("{place}[{index}]"), item, Some(other))
                }),
            _ if wanted == found => Ok(()),
            _ => differs(place, wanted, Some(found)),
        }
    }

    fn pattern(&mut self, place: &str, inner: &str, found: Option<&Value>) -> Result<(), String> {
        let (kind, name) = match inner.rsplit_once(" as ") {
            Some((kind, name)) => (kind, Some(name)),
            None => (inner, None),
        };
        let text = found.and_then(Value::as_str);
        let matched = match kind {
            "absent" => found.is_none(),
            "any" => found.is_some(),
            "string" => text.is_some(),
            "int" => found.is_some_and(|value| value.is_i64() || value.is_u64()),
            "number" => found.is_some_and(Value::is_number),
            "bool" => found.is_some_and(Value::is_boolean),
            "object" => found.is_some_and(Value::is_object),
            "array" => found.is_some_and(Value::is_array),
            "null" => found.is_some_and(Value::is_null),
            "uuid" => text.is_some_and(|text| text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()),
            "time" => text.is_some_and(|text| parse_rfc3339(text).is_some()),
            _ => {
                if let Some(part) = kind.strip_prefix("contains ") {
                    text.is_some_and(|text| text.contains(part))
                } else if let Some(part) = kind.strip_prefix("lacks ") {
                    text.is_some_and(|text| !text.contains(part))
                } else if let Some(list) = kind.strip_prefix("one of ") {
                    text.is_some_and(|text| list.split(", ").any(|one| one == text))
                } else if let Some(name) = kind.strip_prefix("same ") {
                    found == Some(self.recall(name)?)
                } else {
                    return Err(format!("{place}: <{kind}> is no pattern"));
                }
            }
        };
        if !matched {
            return differs(place, &Value::from(format!("<{inner}>")), found);
        }
        if let (Some(name), Some(found)) = (name, found) {
            self.0.insert(name.to_owned(), found.clone());
        }
        Ok(())
    }
}

/// What is between the angle brackets.
fn pattern(text: &str) -> Option<&str> {
    text.strip_prefix('<')?.strip_suffix('>')
}

fn differs(place: &str, wanted: &Value, found: Option<&Value>) -> Result<(), String> {
    let place = if place.is_empty() { "the line" } else { place };
    match found {
        Some(found) => Err(format!("{place}: wanted {wanted}, found {found}")),
        None => Err(format!("{place}: wanted {wanted}, found nothing")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(wanted: &Value, found: &Value) -> Result<(), String> {
        Remembered::default().matches(wanted, found)
    }

    #[test]
    fn an_object_may_have_more_and_an_array_may_not() {
        assert!(matches(&json!({"ok": true}), &json!({"ok": true, "id": 7})).is_ok());
        assert!(matches(&json!({"a": [1, 2]}), &json!({"a": [1, 2]})).is_ok());
        assert!(matches(&json!({"a": [1]}), &json!({"a": [1, 2]})).is_err());
        let wrong = matches(
            &json!({"a": {"b": [1, {"c": 3}]}}),
            &json!({"a": {"b": [1, {"c": 4}]}}),
        );
        assert_eq!(wrong, Err(".a.b[1].c: wanted 3, found 4".to_owned()));
        assert_eq!(
            matches(&json!({"a": 1}), &json!({})),
            Err(".a: wanted 1, found nothing".to_owned())
        );
    }

    #[test]
    fn patterns_match_their_kind_and_nothing_else() {
        let uuid = "0198a6c2-7a41-7c3e-9f61-6a2c0d6b3a10";
        for (pattern, good, bad) in [
            ("<any>", vec![json!(1), json!(null)], vec![]),
            ("<string>", vec![json!("")], vec![json!(1)]),
            (
                "<int>",
                vec![json!(-1), json!(u64::MAX)],
                vec![json!(1.5), json!("1")],
            ),
            ("<number>", vec![json!(1.5)], vec![json!("1")]),
            ("<bool>", vec![json!(false)], vec![json!(0)]),
            ("<object>", vec![json!({})], vec![json!([])]),
            ("<array>", vec![json!([])], vec![json!({})]),
            ("<null>", vec![json!(null)], vec![json!(0)]),
            (
                "<uuid>",
                vec![json!(uuid)],
                vec![json!(uuid.replace('-', "")), json!("x")],
            ),
            (
                "<time>",
                vec![json!("2026-11-21T10:00:00.000Z")],
                vec![json!("yesterday"), json!(0)],
            ),
            (
                "<contains the limit>",
                vec![json!("over the limit")],
                vec![json!("fine")],
            ),
            (
                "<lacks secret>",
                vec![json!("fine")],
                vec![json!("a secret"), json!(1)],
            ),
            (
                "<one of queued, duplicate>",
                vec![json!("queued")],
                vec![json!("synced")],
            ),
        ] {
            for value in good {
                assert_eq!(
                    matches(&json!({"k": pattern}), &json!({"k": value})),
                    Ok(()),
                    "{pattern} {value}"
                );
            }
            for value in bad {
                assert!(
                    matches(&json!({"k": pattern}), &json!({"k": value})).is_err(),
                    "{pattern} {value}"
                );
            }
            assert!(
                matches(&json!({"k": pattern}), &json!({})).is_err(),
                "{pattern} matches what is not there"
            );
        }
        assert!(matches(&json!({"k": "<absent>"}), &json!({})).is_ok());
        assert!(matches(&json!({"k": "<absent>"}), &json!({"k": null})).is_err());
        assert!(matches(&json!({"k": "<strnig>"}), &json!({"k": ""})).is_err());
    }

    #[test]
    fn what_was_remembered_is_compared_and_put_in() {
        let mut remembered = Remembered::default();
        remembered
            .matches(&json!({"id": "<string as first>"}), &json!({"id": "a"}))
            .expect("a string");
        assert_eq!(
            remembered.matches(&json!({"id": "<same first>"}), &json!({"id": "a"})),
            Ok(())
        );
        assert!(
            remembered
                .matches(&json!({"id": "<same first>"}), &json!({"id": "b"}))
                .is_err()
        );
        assert_eq!(
            remembered.put_in(&json!({"ids": ["<same first>"]})),
            Ok(json!({"ids": ["a"]}))
        );
        assert!(remembered.put_in(&json!("<same second>")).is_err());
    }
}
