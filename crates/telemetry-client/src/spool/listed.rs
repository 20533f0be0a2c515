//! Which properties of an event may wait on the disk: listed numbers, booleans, values of an `enum`, and command lines
//! that this client has masked. Nothing of it is text of the user's (I4).

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};
use telemetry_policy::manifest::Manifest;
use telemetry_policy::manifest::events::{Events, Properties};
use telemetry_policy::manifest::property::{Kind, Listed, Property, Rule, Table};

/// The properties that may wait; `None` where the event may not: only one that the manifest lists by its whole name has
/// a name that is nobody's. `masked` are the keys whose value this client has masked.
pub(crate) fn listed(
    manifest: &Manifest,
    event: &str,
    properties: &Map<String, Value>,
    masked: &BTreeSet<String>,
) -> Option<Map<String, Value>> {
    let Events::Listed { exact, .. } = &manifest.terms.events else {
        return None;
    };
    let (_, rules) = exact.iter().find(|(name, _)| **name == *event)?;
    let Properties::Listed(table) = &rules.properties else {
        // Any key may hold anything: the event waits without its properties.
        return Some(Map::new());
    };
    let mut kept = Map::new();
    for (key, value) in properties {
        if let Some((name, property)) = find(table, key)
            && let Some(value) = waiting(property, value, masked.contains(key))
        {
            put(&mut kept, name, value);
        }
    }
    Some(kept)
}

/// How a key is listed, and under which name it may be kept: a word that stands for a `*` is the user's unless the
/// manifest says which words are public.
fn find<'t>(table: &'t Table, key: &str) -> Option<(String, &'t Property)> {
    match table.find(key)? {
        Listed::Exact(name, property) => Some((name.to_owned(), property)),
        Listed::Wild(_, wild) => {
            let part = wild.name.part(key)?;
            let keys = wild.keys.as_ref()?;
            let public = keys.prefix.iter().any(|prefix| part.starts_with(&**prefix));
            let word = if public { part } else { keys.otherwise.as_deref()? };
            Some((
                format!("{}{word}{}", wild.name.before, wild.name.after),
                &wild.property,
            ))
        }
    }
}

/// The value as it may wait.
fn waiting(property: &Property, value: &Value, masked: bool) -> Option<Value> {
    if property.drop {
        return None;
    }
    match (&property.kind, value) {
        (Kind::Boolean, Value::Bool(_)) | (Kind::Number, Value::Number(_)) => Some(value.clone()),
        (Kind::Integer, Value::Number(number)) => (!number.is_f64()).then(|| value.clone()),
        (Kind::String(text), Value::String(word)) => match text.rule {
            Rule::Hash => None,
            Rule::MaskCommand => masked.then(|| value.clone()),
            Rule::None if text.only.is_empty() => None,
            Rule::None => {
                let known = text.only.iter().find(|known| ***known == **word);
                known.or(text.otherwise.as_ref()).map(|word| Value::from(&**word))
            }
        },
        _ => None,
    }
}

/// Of several keys that became one, numbers are added up, and of anything else the last counts.
fn put(kept: &mut Map<String, Value>, name: String, value: Value) {
    let sum = match (kept.get(&name), &value) {
        (Some(Value::Number(before)), Value::Number(more)) => add(before, more),
        _ => None,
    };
    kept.insert(name, sum.unwrap_or(value));
}

fn add(one: &Number, other: &Number) -> Option<Value> {
    match (one.as_i64(), other.as_i64()) {
        (Some(one), Some(other)) => one.checked_add(other).map(Value::from),
        _ => Some(Value::from(one.as_f64()? + other.as_f64()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MANIFEST: &str = "name = \"t\"\n[events.\"CLI command\"]\nproperties.n = \"integer\"\nproperties.x = \"number\"\n\
        properties.ok = \"boolean\"\nproperties.kind = { type = \"string\", enum = [\"a\", \"b\"], else = \"other\" }\n\
        properties.only = { type = \"string\", enum = [\"a\"] }\nproperties.command = { type = \"string\", mask = \"command\" }\n\
        properties.free = \"string\"\nproperties.key = { type = \"string\", hash = true }\n\
        properties.gone = { type = \"integer\", drop = true }\nproperties.list = { type = \"array\", items = \"integer\" }\n\
        properties.\"count.*\" = { type = \"integer\", keys = { prefix = [\"kedro.\"], else = \"custom\" } }\n\
        properties.\"open.*\" = \"integer\"\n[events.any]\nproperties = \"any\"\n[events.\"wild *\"]\nproperties.n = \"integer\"\n";

    fn kept(event: &str, properties: &Value) -> Option<Value> {
        let manifest = Manifest::parse(MANIFEST).unwrap();
        let masked = BTreeSet::from(["command".to_owned()]);
        listed(&manifest, event, properties.as_object().unwrap(), &masked).map(Value::Object)
    }

    #[test]
    fn numbers_booleans_enum_values_and_masked_commands_wait_and_nothing_else() {
        let said = json!({"n": 3, "x": 1.5, "ok": true, "kind": "b", "only": "a", "command": "t run *****",
            "free": "secret", "key": "secret", "gone": 1, "list": [1], "unlisted": 7});
        let left = json!({"n": 3, "x": 1.5, "ok": true, "kind": "b", "only": "a", "command": "t run *****"});
        assert_eq!(kept("CLI command", &said), Some(left));
    }

    #[test]
    fn values_of_another_type_and_words_that_are_not_public_do_not_wait() {
        let said = json!({"n": 1.5, "x": "1", "ok": 1, "kind": "secret", "only": "secret", "free": null});
        assert_eq!(kept("CLI command", &said), Some(json!({"kind": "other"})));
    }

    #[test]
    fn a_key_that_is_the_users_is_counted_under_a_public_word_or_left_out() {
        let said = json!({"count.kedro.X": 1, "count.secret": 2, "count.other": 3, "open.secret": 4});
        assert_eq!(
            kept("CLI command", &said),
            Some(json!({"count.kedro.X": 1, "count.custom": 5}))
        );
    }

    #[test]
    fn an_event_waits_only_under_a_name_that_is_listed_whole() {
        assert_eq!(kept("wild secret", &json!({"n": 1})), None);
        assert_eq!(kept("unlisted", &json!({})), None);
        assert_eq!(kept("any", &json!({"n": 1})), Some(json!({})));
        let any = Manifest::parse("name = \"t\"\nevents = \"any\"\n").unwrap();
        assert_eq!(listed(&any, "ran", &Map::new(), &BTreeSet::new()), None);
    }

    #[test]
    fn a_command_line_that_was_not_masked_here_does_not_wait() {
        let manifest = Manifest::parse(MANIFEST).unwrap();
        let said = json!({"command": "t run /home/alice"});
        let kept = listed(
            &manifest,
            "CLI command",
            said.as_object().unwrap(),
            &BTreeSet::new(),
        );
        assert_eq!(kept, Some(Map::new()));
    }
}
