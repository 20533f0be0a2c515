//! One file of `policy.d`: what an admin forbids for everybody (CONSENT.md, layer 1). A policy can only
//! narrow. Whatever is wrong with it denies every tool, with the line (I3).

use telemetry_protocol::consent::{Fact, Layer, Verdict};
use telemetry_protocol::limits::is_tool_name;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::endpoint::Endpoint;
use crate::nearest::nearest;
use crate::toml_lines::{Document, kind};

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The file.
    pub source: String,
    /// The line in it, from 1.
    pub line: u32,
}

/// A key of the config that nothing below the machine's own files may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// Its dotted path, or a section: all keys below it.
    pub key: String,
    /// Where that stands.
    pub at: At,
}

/// What one file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyFile {
    source: String,
    /// Every tool is off: `telemetry = "off"`, or a reason why the file cannot be obeyed.
    pub(crate) everything: Vec<Fact>,
    deny: Vec<(String, u32)>,
    allow_only: Option<(Vec<String>, u32)>,
    destinations: Option<(Vec<Endpoint>, u32)>,
    pub(crate) installed: Option<At>,
    pub(crate) on_demand_off: Option<At>,
    pub(crate) locked: Vec<Locked>,
}

const KEYS: &[&str] = &[
    "telemetry",
    "tools",
    "destinations",
    "manifests",
    "on_demand",
    "locked",
];

impl PolicyFile {
    /// The file is there and cannot be obeyed.
    #[must_use]
    pub fn unreadable(source: &str, reason: &str) -> Self {
        let mut file = Self {
            source: source.to_owned(),
            ..Self::default()
        };
        file.off(None, &format!("cannot be read: {reason}"));
        file
    }

    /// Reads the file's text. Whatever is wrong with it denies every tool and names the line.
    #[must_use]
    pub fn parse(source: &str, text: &str) -> Self {
        let mut file = Self {
            source: source.to_owned(),
            ..Self::default()
        };
        let document = match Document::parse(text) {
            Ok(document) => document,
            Err(mistake) => {
                file.off(Some(mistake.line), &mistake.message);
                return file;
            }
        };
        for (key, value) in document.table.get_ref() {
            let line = document.line(key);
            let word = value.get_ref().as_str();
            let at = || At {
                source: source.to_owned(),
                line,
            };
            match (key.get_ref().as_ref(), word, value.get_ref()) {
                ("telemetry", Some("off"), _) => file.off(Some(line), "telemetry = \"off\""),
                ("manifests", Some("installed"), _) => file.installed = Some(at()),
                ("on_demand", Some("off"), _) => file.on_demand_off = Some(at()),
                ("telemetry" | "on_demand", _, found) => file.wrong(line, key.get_ref(), "\"off\"", found),
                ("manifests", _, found) => file.wrong(line, "manifests", "\"installed\"", found),
                ("tools", _, DeValue::Table(table)) => file.tools(&document, table),
                ("destinations", _, DeValue::Table(table)) => file.destinations(&document, table),
                (name @ ("tools" | "destinations"), _, found) => file.wrong(line, name, "a table", found),
                ("locked", _, found) => {
                    for (key, line) in file.words(&document, "locked", line, found) {
                        let at = At {
                            source: source.to_owned(),
                            line,
                        };
                        file.locked.push(Locked { key, at });
                    }
                }
                (unknown, ..) => file.unknown(line, "", unknown, KEYS),
            }
        }
        file
    }

    fn tools(&mut self, document: &Document<'_>, table: &DeTable<'_>) {
        for (key, value) in table {
            let line = document.line(key);
            let name = key.get_ref().as_ref();
            if !matches!(name, "deny" | "allow_only") {
                self.unknown(line, "tools.", name, &["deny", "allow_only"]);
                continue;
            }
            let words = self.words(document, &format!("tools.{name}"), line, value.get_ref());
            for (word, line) in &words {
                if !is_tool_name(word) {
                    self.off(Some(*line), &format!("tools.{name}: names no tool"));
                }
            }
            if name == "deny" {
                self.deny = words;
            } else {
                if words.is_empty() {
                    self.off(Some(line), "tools.allow_only: no tool is allowed");
                }
                self.allow_only = Some((words.into_iter().map(|(word, _)| word).collect(), line));
            }
        }
    }

    fn destinations(&mut self, document: &Document<'_>, table: &DeTable<'_>) {
        for (key, value) in table {
            let line = document.line(key);
            if key.get_ref() != "allow" {
                self.unknown(line, "destinations.", key.get_ref(), &["allow"]);
                continue;
            }
            let mut allowed = Vec::new();
            for (word, line) in self.words(document, "destinations.allow", line, value.get_ref()) {
                match Endpoint::parse(&word) {
                    Some(endpoint) => allowed.push(endpoint),
                    None => self.off(
                        Some(line),
                        "destinations.allow: expected an address like https://host:port/path",
                    ),
                }
            }
            self.destinations = Some((allowed, line));
        }
    }

    /// A list of strings, each with its line.
    fn words(
        &mut self,
        document: &Document<'_>,
        key: &str,
        line: u32,
        found: &DeValue<'_>,
    ) -> Vec<(String, u32)> {
        let DeValue::Array(list) = found else {
            self.wrong(line, key, "a list of strings", found);
            return Vec::new();
        };
        let mut words = Vec::new();
        for item in list {
            let item: &Spanned<DeValue<'_>> = item;
            match item.get_ref().as_str() {
                Some(word) => words.push((word.to_owned(), document.line(item))),
                None => self.wrong(document.line(item), key, "a list of strings", item.get_ref()),
            }
        }
        words
    }

    /// What this file says against `tool`.
    pub(crate) fn denial(&self, tool: &str) -> Option<Fact> {
        if let Some((_, line)) = self.deny.iter().find(|(name, _)| name == tool) {
            return Some(self.fact(Some(*line), &format!("tools.deny names {tool}")));
        }
        let (allowed, line) = self.allow_only.as_ref()?;
        // Of nothing at all is said that everything is off.
        let missing = !allowed.is_empty() && !allowed.iter().any(|name| name == tool);
        missing.then(|| self.fact(Some(*line), &format!("tools.allow_only does not name {tool}")))
    }

    /// What this file says against sending to `url`.
    pub(crate) fn destination_denial(&self, url: &str) -> Option<Fact> {
        let (allowed, line) = self.destinations.as_ref()?;
        let endpoint = Endpoint::parse(url);
        let covered = endpoint
            .as_ref()
            .is_some_and(|endpoint| allowed.iter().any(|allowed| allowed.covers(endpoint)));
        // The address may hold what is nobody's business, in its path or query: the origin is enough.
        let shown = endpoint.map_or_else(|| "the destination's address".to_owned(), |e| e.origin());
        (!covered).then(|| self.fact(Some(*line), &format!("destinations.allow does not cover {shown}")))
    }

    fn fact(&self, line: Option<u32>, detail: &str) -> Fact {
        Fact {
            layer: Layer::Machine,
            verdict: Some(Verdict::Deny),
            source: self.source.clone(),
            line,
            detail: detail.to_owned(),
        }
    }

    fn off(&mut self, line: Option<u32>, detail: &str) {
        let fact = self.fact(line, detail);
        self.everything.push(fact);
    }

    fn wrong(&mut self, line: u32, key: &str, expected: &str, found: &DeValue<'_>) {
        let found = match found.as_str() {
            Some(_) => "another string",
            None => kind(found),
        };
        self.off(Some(line), &format!("{key}: expected {expected}, found {found}"));
    }

    fn unknown(&mut self, line: u32, section: &str, key: &str, known: &[&str]) {
        let hint = nearest(key, known).map_or_else(String::new, |n| format!("; did you mean {n}?"));
        self.off(Some(line), &format!("{section}{key}: unknown key{hint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str) -> PolicyFile {
        PolicyFile::parse("p.toml", text)
    }

    #[test]
    fn a_policy_denies_tools_by_name_and_all_that_it_does_not_name() {
        let policy = says("[tools]\ndeny = [\n  \"dlt\",\n]\nallow_only = [\"kedro\", \"dlt\"]\n");
        assert!(policy.everything.is_empty());
        assert_eq!(policy.denial("dlt").unwrap().line, Some(3));
        assert_eq!(policy.denial("kedro"), None);
        assert_eq!(policy.denial("evidently").unwrap().line, Some(5));
    }

    #[test]
    fn everything_that_is_wrong_denies_with_its_line() {
        for (text, line) in [
            ("telemetry = \"off\"", 1),
            ("telemetry = \"on\"", 1),
            ("telemetry = false", 1),
            ("\nTelemetry = \"off\"", 2),
            ("manifests = \"all\"", 1),
            ("on_demand = false", 1),
            ("tools = [\"kedro\"]", 1),
            ("[tools]\ndeny = \"kedro\"", 2),
            ("[tools]\ndeny = [\"Kedro\"]", 2),
            ("[tools]\ndeny = [3]", 2),
            ("[tools]\nallow_only = []", 2),
            ("[tools]\nkedro = false", 2),
            ("[destinations]\nallow = [\"ours.example\"]", 2),
            ("[destinations]\ndeny = []", 2),
            ("locked = \"queue\"", 1),
            ("unknown = 1", 1),
            ("x = [1,\n", 1),
        ] {
            let facts = says(text).everything;
            assert_eq!(
                facts.first().and_then(|f| f.line),
                Some(line),
                "{text}: {facts:?}"
            );
        }
        assert!(says("").everything.is_empty());
        assert_eq!(PolicyFile::unreadable("p", "is a directory").everything.len(), 1);
    }

    #[test]
    fn an_address_is_covered_by_whole_segments_of_the_same_origin() {
        let policy = says("[destinations]\nallow = [\"https://t.example/in\"]\n");
        assert_eq!(policy.destination_denial("https://t.example/in/v1"), None);
        let denied = policy
            .destination_denial("https://t.example/inner?key=secret")
            .unwrap();
        assert_eq!(denied.line, Some(2));
        assert!(!denied.detail.contains("secret"), "{}", denied.detail);
        assert!(
            says("[destinations]\nallow = []")
                .destination_denial("https://a/")
                .is_some()
        );
        assert_eq!(says("").destination_denial("http://anything"), None);
    }

    #[test]
    fn locks_and_words_keep_their_lines() {
        let policy =
            says("manifests = \"installed\"\non_demand = \"off\"\nlocked = [\"queue\",\n\"limits.rate\"]\n");
        assert_eq!(policy.installed.unwrap().line, 1);
        assert_eq!(policy.on_demand_off.unwrap().line, 2);
        let locked: Vec<(&str, u32)> = policy
            .locked
            .iter()
            .map(|l| (l.key.as_str(), l.at.line))
            .collect();
        assert_eq!(locked, [("queue", 3), ("limits.rate", 4)]);
    }
}
