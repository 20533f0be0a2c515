//! The log of consent: one change of a decision a line, as the state directory keeps it and as people are shown it. The
//! daemon writes it, and the command line where no daemon does; neither here does I/O.

use serde_json::{Map, Value, json};

use crate::consent::Verdict;

/// One change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// When it was seen, RFC 3339.
    pub at: String,
    /// Of which tool; `None`: of all.
    pub tool: Option<String>,
    /// What holds since then; `None` where nothing was decided and something was erased all the same.
    pub verdict: Option<Verdict>,
    /// The layer that decides, or `notice`.
    pub by: String,
    /// Where that stands, or stood.
    pub source: String,
    /// How it came about: `command`, `file`, `found` (changed while no daemon ran), `notice`, `manifest`, `project`,
    /// `forget`.
    pub how: String,
    /// Events that were erased for it.
    pub purged: u64,
    /// Bodies that were erased from the sent log for it.
    pub sent_bodies: u64,
}

/// Letters of a source that are kept (I6): a path has at most four times as many.
const MAX_SOURCE: usize = 1024;

impl Change {
    /// As a line of the log, without its newline.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.json();
        if let Some(line) = line.as_object_mut() {
            for key in ["purged", "sent_bodies"] {
                if line.get(key) == Some(&Value::from(0)) {
                    line.remove(key);
                }
            }
        }
        line.to_string()
    }

    /// As people and scripts are shown it.
    #[must_use]
    pub fn json(&self) -> Value {
        let source: String = self.source.chars().take(MAX_SOURCE).collect();
        json!({
            "at": self.at, "tool": self.tool, "verdict": self.verdict.map(Verdict::as_str), "by": self.by,
            "source": source, "how": self.how, "purged": self.purged, "sent_bodies": self.sent_bodies,
        })
    }

    /// Reads what [`Change::json`] made.
    #[must_use]
    pub fn of(object: &Map<String, Value>) -> Self {
        let word = |key: &str| {
            object
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let number = |key: &str| object.get(key).and_then(Value::as_u64).unwrap_or(0);
        Self {
            at: word("at"),
            tool: object.get("tool").and_then(Value::as_str).map(ToOwned::to_owned),
            verdict: match word("verdict").as_str() {
                "allow" => Some(Verdict::Allow),
                "deny" => Some(Verdict::Deny),
                _ => None,
            },
            by: word("by"),
            source: word("source"),
            how: word("how"),
            purged: number("purged"),
            sent_bodies: number("sent_bodies"),
        }
    }
}

/// What a purge erased for a change that was written before, as a line without its newline.
#[must_use]
pub fn erased(at: &str, tool: &str, purged: u64, sent_bodies: u64) -> String {
    json!({ "at": at, "tool": tool, "erased": purged, "sent_bodies": sent_bodies }).to_string()
}

/// The changes in the text of a log, oldest first, each with what was erased for it. A line that cannot be read is
/// passed over: a power cut may have left half of one.
#[must_use]
pub fn read(text: &str) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for line in text.lines() {
        let Ok(Value::Object(object)) = serde_json::from_str(line) else {
            continue;
        };
        let Some(purged) = object.get("erased").and_then(Value::as_u64) else {
            changes.push(Change::of(&object));
            continue;
        };
        let erased = Change::of(&object);
        let caused = |change: &&mut Change| {
            change.verdict == Some(Verdict::Deny) && (change.tool.is_none() || change.tool == erased.tool)
        };
        match changes.iter_mut().rev().find(caused) {
            Some(change) => {
                change.purged += purged;
                change.sent_bodies += erased.sent_bodies;
            }
            None => changes.push(Change {
                purged,
                how: "found".to_owned(),
                ..erased
            }),
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(tool: Option<&str>, verdict: Verdict) -> Change {
        Change {
            at: "2026-11-22T00:00:00.000Z".into(),
            tool: tool.map(Into::into),
            verdict: Some(verdict),
            by: "user".into(),
            source: "/h/consent.toml".into(),
            how: "command".into(),
            ..Change::default()
        }
    }

    #[test]
    fn what_was_erased_is_told_with_the_denial_that_it_was_erased_for() {
        let (denied, allowed) = (
            change(Some("t"), Verdict::Deny),
            change(Some("t"), Verdict::Allow),
        );
        let text = [
            erased("x", "t", 1, 0),
            denied.line(),
            allowed.line(),
            "half a li".to_owned(),
            erased("x", "t", 7, 2),
            change(None, Verdict::Deny).line(),
            erased("x", "other", 5, 0),
            erased("x", "t", 1, 1),
        ]
        .join("\n");
        let read = read(&text);
        let purged: Vec<(u64, u64)> = read.iter().map(|c| (c.purged, c.sent_bodies)).collect();
        assert_eq!(purged, [(1, 0), (7, 2), (0, 0), (6, 1)]);
        assert_eq!((read[0].verdict, read[0].how.as_str()), (None, "found"));
        assert_eq!(read[2], allowed);
    }

    #[test]
    fn a_source_is_kept_to_a_bound() {
        let mut long = change(None, Verdict::Deny);
        long.source = "é".repeat(5000);
        assert!(long.line().len() < 3000);
    }
}
