//! A destination that a manifest brings itself: https, with a public write key at most. Everything else (proxies,
//! certificates, private credentials, http) is the admin's or the user's to say, in the config.

use toml::de::{DeTable, DeValue};

use super::reader::{At, Reader, to_json};

/// A destination from a manifest. Its values are checked by the daemon like those of `[destinations.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inline {
    /// Where it goes.
    pub url: String,
    /// Its keys, for the config's own check.
    pub keys: serde_json::Map<String, serde_json::Value>,
    /// Where it stands in its manifest.
    pub line: u32,
}

/// The name of the destination that the manifest of `tool` brings. No table of the config can have it.
#[must_use]
pub fn name_of(tool: &str) -> String {
    format!("tool:{tool}")
}

/// What a manifest may say of its destination.
const KEYS: &[&str] = &[
    "url",
    "encoding",
    "form",
    "auth",
    "compression",
    "timeout",
    "batch",
    "retry",
    "confirm",
];
/// What the config may say and a manifest may not.
const NOT_HERE: &[&str] = &["headers", "proxy", "tls", "allow_insecure"];
/// Keys that are meant to be public: whoever has the tool has them.
const PUBLIC: &[&str] = &["segment_write_key", "heap_app_id", "posthog_key"];

pub(super) fn parse<'d>(reader: &mut Reader<'_, 'd>, at: At<'_, 'd>, table: &DeTable<'d>) -> Option<Inline> {
    let before = reader.mistakes.len();
    let mut url = None;
    let mut keys = serde_json::Map::new();
    for entry in reader.entries(at.path, table) {
        match entry.name {
            "url" => {
                url = reader.string(entry.at());
                if url.as_ref().is_some_and(|url| !is_https(url)) {
                    let message = format!(
                        "{}: a manifest sends by https:// alone, without a name or password in the address",
                        entry.path
                    );
                    reader.say(entry.line, message);
                }
            }
            "auth" => auth(reader, entry.at()),
            name if NOT_HERE.contains(&name) => {
                let message = format!("{}: is for the config alone ([destinations.NAME])", entry.path);
                reader.say(entry.line, message);
            }
            name if KEYS.contains(&name) => {}
            other => reader.unknown(at.path, other, entry.line, KEYS),
        }
        match to_json(entry.value) {
            Some(value) => drop(keys.insert(entry.name.to_owned(), value)),
            None => reader.expected(entry.at(), "a string, a number, a boolean or a table"),
        }
    }
    if table.get("url").is_none() {
        reader.say(at.line, format!("{}: has no url", at.path));
    }
    let url = url.filter(|_| reader.mistakes.len() == before)?;
    let line = at.line;
    Some(Inline { url, keys, line })
}

fn is_https(url: &str) -> bool {
    let rest = url
        .get(..8)
        .filter(|scheme| scheme.eq_ignore_ascii_case("https://"));
    let authority = url.get(8..).unwrap_or_default().split(['/', '?', '#']).next();
    rest.is_some() && authority.is_some_and(|host| !host.is_empty() && !host.contains('@'))
}

fn auth<'d>(reader: &mut Reader<'_, 'd>, at: At<'_, 'd>) {
    let Some(table) = reader.table(at, "a table with one public key: { segment_write_key = \"…\" }") else {
        return;
    };
    for entry in reader.entries(at.path, table) {
        if !PUBLIC.contains(&entry.name) {
            let public = PUBLIC.join(", ");
            let message = format!(
                "{}: a manifest holds public write keys alone ({public})",
                entry.path
            );
            reader.say(entry.line, message);
        } else if !matches!(entry.value, DeValue::String(_)) {
            reader.expected(entry.at(), "a string");
        }
    }
}
