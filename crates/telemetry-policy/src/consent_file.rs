//! `consent.toml`: the user's own word (CONSENT.md, layer 3). What cannot be read denies.

use std::collections::BTreeMap;

use telemetry_protocol::consent::{Fact, Layer, Verdict};
use telemetry_protocol::limits::is_tool_name;
use toml::de::DeValue;

use crate::toml_lines::{Document, kind};

/// What a `consent.toml` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserConsent {
    source: String,
    /// Denies everything: `telemetry = false`, or a reason why the file cannot be obeyed.
    everything: Option<Fact>,
    tools: BTreeMap<String, Fact>,
    /// There is a file.
    exists: bool,
}

impl UserConsent {
    /// There is no file: the user has said nothing.
    #[must_use]
    pub fn absent(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            ..Self::default()
        }
    }

    /// The file is there and cannot be read: that denies.
    #[must_use]
    pub fn unreadable(source: &str, reason: &str) -> Self {
        let mut consent = Self::absent(source);
        consent.deny(None, &format!("cannot be read: {reason}"));
        consent
    }

    /// Reads the file's text. Whatever is wrong with it becomes a denial that names the line.
    #[must_use]
    pub fn parse(source: &str, text: &str) -> Self {
        let mut consent = Self::absent(source);
        consent.exists = true;
        let document = match Document::parse(text) {
            Ok(document) => document,
            Err(mistake) => {
                consent.deny(Some(mistake.line), &mistake.message);
                return consent;
            }
        };
        for (key, value) in document.table.get_ref() {
            let line = document.line(key);
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("telemetry", DeValue::Boolean(false)) => consent.deny(Some(line), "telemetry = false"),
                // Only lifts a `false`: it is no consent of its own.
                ("telemetry", DeValue::Boolean(true)) => {}
                ("tools", DeValue::Table(tools)) => {
                    for (tool, value) in tools {
                        let line = document.line(tool);
                        let name = tool.get_ref().as_ref();
                        match value.get_ref() {
                            DeValue::Boolean(allowed) if is_tool_name(name) => {
                                let verdict = if *allowed { Verdict::Allow } else { Verdict::Deny };
                                let fact = consent.fact(verdict, Some(line), &format!("{name} = {allowed}"));
                                consent.tools.insert(name.to_owned(), fact);
                            }
                            DeValue::Boolean(_) => {
                                consent.deny(Some(line), "a key under [tools] is no tool's name")
                            }
                            other => consent.deny(
                                Some(line),
                                &format!("tools.{name}: expected true or false, found {}", kind(other)),
                            ),
                        }
                    }
                }
                ("telemetry" | "tools", other) => {
                    let what = format!("{}: wrong type, found {}", key.get_ref(), kind(other));
                    consent.deny(Some(line), &what);
                }
                (unknown, _) => consent.deny(Some(line), &format!("{unknown}: unknown key")),
            }
        }
        consent
    }

    /// What the user said about `tool`: at least one fact, so that the explanation can say where it looked.
    #[must_use]
    pub fn facts(&self, tool: &str) -> Vec<Fact> {
        let mut facts: Vec<Fact> = self
            .everything
            .iter()
            .chain(self.tools.get(tool))
            .cloned()
            .collect();
        if facts.is_empty() {
            facts.push(Fact {
                layer: Layer::User,
                verdict: None,
                source: self.source.clone(),
                line: None,
                detail: match self.exists {
                    true => format!("says nothing about {tool}"),
                    false => "does not exist".to_owned(),
                },
            });
        }
        facts
    }

    /// Another person's word joins (`sudo`): what either denies is denied, and only the first one's allow counts.
    pub fn narrow(&mut self, other: &Self) {
        if self.everything.is_none() {
            self.everything.clone_from(&other.everything);
        }
        for (tool, fact) in &other.tools {
            if fact.verdict == Some(Verdict::Deny) {
                self.tools.insert(tool.clone(), fact.clone());
            }
        }
    }

    /// Denies every tool, if it does.
    #[must_use]
    pub fn denies_everything(&self) -> Option<&Fact> {
        self.everything.as_ref()
    }

    /// Tools that the user named.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.tools.keys().map(String::as_str)
    }

    fn fact(&self, verdict: Verdict, line: Option<u32>, detail: &str) -> Fact {
        Fact {
            layer: Layer::User,
            verdict: Some(verdict),
            source: self.source.clone(),
            line,
            detail: detail.to_owned(),
        }
    }

    fn deny(&mut self, line: Option<u32>, detail: &str) {
        if self.everything.is_none() {
            self.everything = Some(self.fact(Verdict::Deny, line, detail));
        }
    }
}

/// The file's text after a change of mind, comments kept. `tool` absent: `telemetry`; `word` absent: forgotten.
///
/// # Errors
/// When the text is not TOML: nobody's file is overwritten because it has a mistake in it.
pub fn edited(text: &str, tool: Option<&str>, word: Option<bool>) -> Result<String, String> {
    let mut document: toml_edit::DocumentMut = text
        .parse()
        .map_err(|e: toml_edit::TomlError| format!("not TOML: {}", e.message()))?;
    match (tool, word) {
        (None, Some(word)) => document["telemetry"] = toml_edit::value(word),
        (None, None) => {
            document.remove("telemetry");
        }
        (Some(tool), word) => {
            let tools = document
                .entry("tools")
                .or_insert_with(toml_edit::table)
                .as_table_like_mut()
                .ok_or_else(|| "tools: not a table".to_owned())?;
            match word {
                Some(word) => {
                    tools.insert(tool, toml_edit::value(word));
                }
                None => {
                    tools.remove(tool);
                }
            }
        }
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(text: &str, tool: &str) -> Vec<Option<Verdict>> {
        UserConsent::parse("c", text)
            .facts(tool)
            .into_iter()
            .map(|fact| fact.verdict)
            .collect()
    }

    #[test]
    fn the_users_word_is_read_per_tool_and_for_all() {
        let text = "telemetry = true\n[tools]\nkedro = false\ndlt = true\n";
        assert_eq!(verdicts(text, "kedro"), [Some(Verdict::Deny)]);
        assert_eq!(verdicts(text, "dlt"), [Some(Verdict::Allow)]);
        assert_eq!(verdicts(text, "other"), [None]);
        assert_eq!(
            verdicts("telemetry = false\n[tools]\nk = true", "k"),
            [Some(Verdict::Deny), Some(Verdict::Allow)]
        );
    }

    #[test]
    fn what_cannot_be_read_denies_and_names_the_line() {
        for (text, line) in [
            ("telemetry = \"false\"", 1),
            ("telemetry = 0", 1),
            ("\nTelemetry = true", 2),
            ("tools = 3", 1),
            ("[tools]\nkedro = \"yes\"", 2),
            ("[tools]\nKedro = true", 2),
            ("tele metry", 1),
            ("x = [1,\n", 1),
        ] {
            let fact = UserConsent::parse("c", text).denies_everything().cloned();
            let fact = fact.unwrap_or_else(|| panic!("{text} must deny"));
            assert_eq!(fact.line, Some(line), "{text}: {}", fact.detail);
        }
        assert!(
            UserConsent::unreadable("c", "is a directory")
                .denies_everything()
                .is_some()
        );
        assert!(UserConsent::parse("c", "").denies_everything().is_none());
    }

    #[test]
    fn a_change_of_mind_keeps_the_rest_of_the_file() {
        let text = edited("# mine\n[tools]\ndlt = true # yes\n", Some("kedro"), Some(false)).unwrap();
        assert!(text.contains("# mine") && text.contains("# yes") && text.contains("kedro = false"));
        let text = edited(&text, None, Some(false)).unwrap();
        assert!(
            UserConsent::parse("c", &text).denies_everything().is_some(),
            "{text}"
        );
        let text = edited(&edited(&text, None, None).unwrap(), Some("kedro"), None).unwrap();
        assert_eq!(verdicts(&text, "kedro"), [None]);
        assert!(edited("oops [", None, Some(false)).is_err());
    }
}
