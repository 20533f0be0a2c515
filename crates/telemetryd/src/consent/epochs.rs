//! Consent epochs: a number for each tool that grows with every withdrawal, and with the first allow after
//! one, kept across restarts: a later `allow` releases nothing that was written before it, and a purge that
//! comes late erases nothing that was written after it (I3).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use telemetry_policy::gather::{Found, Look as _};
use telemetry_policy::{Policy, Reach};

use super::Eyes;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Epoch {
    epoch: u64,
    reach: Kept,
}

/// [`Reach`], as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    Nobody,
    Claims,
    Everybody,
}

impl From<Reach> for Kept {
    fn from(reach: Reach) -> Self {
        match reach {
            Reach::Nobody => Self::Nobody,
            Reach::Claims => Self::Claims,
            Reach::Everybody => Self::Everybody,
        }
    }
}

/// The epochs of all tools of one person that ever had rows.
#[derive(Clone, Debug, Default)]
pub struct Epochs {
    tools: BTreeMap<String, Epoch>,
    /// Tools that have rows and no epoch yet.
    new: BTreeSet<String>,
    dirty: bool,
}

impl Epochs {
    /// Reads what the last daemon kept. What cannot be read counts as nothing kept: rows carry their
    /// epoch themselves, and one that is newer than ours was never withdrawn.
    #[must_use]
    pub fn read(file: &Path) -> Self {
        let tools = match Eyes.look(file) {
            Found::File(text) => serde_json::from_str(&text).unwrap_or_default(),
            _ => BTreeMap::new(),
        };
        Self {
            tools,
            ..Self::default()
        }
    }

    /// Tools that have rows: their withdrawals start epochs, from the next settling on.
    pub fn know(&mut self, tools: &BTreeSet<String>) {
        let new = tools.iter().filter(|tool| !self.tools.contains_key(*tool));
        self.new.extend(new.cloned());
    }

    /// Whether the withdrawals of `tool` start epochs.
    #[must_use]
    pub fn knows(&self, tool: &str) -> bool {
        self.tools.contains_key(tool)
    }

    /// Tools whose withdrawals start epochs.
    #[must_use]
    pub fn tools(&self) -> BTreeSet<String> {
        self.tools.keys().cloned().collect()
    }

    /// Starts a new epoch of `tool`, if it is known: what was taken before is not sent.
    pub fn begin(&mut self, tool: &str) {
        if let Some(known) = self.tools.get_mut(tool) {
            known.epoch += 1;
            self.dirty = true;
        }
    }

    /// Starts a new epoch for each known tool that reaches fewer than before, or somebody after nobody. Returns
    /// whether one reaches fewer.
    pub fn settle(&mut self, policy: &Policy) -> bool {
        let mut fewer = false;
        for (tool, known) in &mut self.tools {
            let reach = Kept::from(policy.tool_with_rows(tool).reach());
            if known.reach != reach {
                fewer |= reach < known.reach;
                known.epoch += u64::from(reach < known.reach || known.reach == Kept::Nobody);
                known.reach = reach;
                self.dirty = true;
            }
        }
        for tool in std::mem::take(&mut self.new) {
            let reach = Kept::from(policy.tool_with_rows(&tool).reach());
            self.tools.insert(tool, Epoch { epoch: 1, reach });
            self.dirty = true;
        }
        fewer
    }

    /// Whether something changed that was not kept.
    #[must_use]
    pub fn dirty(&self) -> bool {
        self.dirty
    }

    /// The epoch of each tool.
    #[must_use]
    pub fn current(&self) -> BTreeMap<String, u64> {
        self.tools
            .iter()
            .map(|(tool, epoch)| (tool.clone(), epoch.epoch))
            .collect()
    }

    /// Keeps them, if anything changed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&mut self, file: &Path) -> std::io::Result<()> {
        if self.dirty {
            let text = serde_json::to_vec(&self.tools).map_err(std::io::Error::other)?;
            crate::files::replace(file, &text)?;
            self.dirty = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry_policy::UserConsent;
    use telemetry_policy::policy::Parts;

    #[test]
    fn each_withdrawal_starts_an_epoch_and_a_restart_forgets_none() {
        let home = tempfile::tempdir().unwrap();
        let known = BTreeSet::from(["t".to_owned()]);
        let policy = |word: &str| {
            let user = UserConsent::parse("c", &format!("[tools]\nt = {word}"));
            Policy::new(Parts {
                user,
                ..Parts::default()
            })
        };
        let file = home.path().join("epochs.json");
        let mut epochs = Epochs::read(&file);
        epochs.know(&known);
        for (word, epoch) in [
            ("true", 1),
            ("true", 1),
            ("false", 2),
            ("false", 2),
            ("true", 3),
            ("false", 4),
        ] {
            epochs.settle(&policy(word));
            assert_eq!(epochs.current()["t"], epoch);
        }
        epochs.save(&file).unwrap();
        assert_eq!(Epochs::read(&file).current()["t"], 4);
    }
}
