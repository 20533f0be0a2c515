//! Consent epochs: a number for each tool that grows with every withdrawal, and with the first allow after
//! one, kept across restarts: a later `allow` releases nothing that was written before it, and a purge that
//! comes late erases nothing that was written after it (I3).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use telemetry_policy::{Policy, Reach};

/// The file in the state directory.
const FILE: &str = "consent-epochs.json";

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

/// The epochs of all tools that ever had rows.
#[derive(Clone, Debug, Default)]
pub struct Epochs {
    tools: BTreeMap<String, Epoch>,
    dirty: bool,
}

impl Epochs {
    /// Reads what the last daemon kept. What cannot be read counts as nothing kept: rows carry their
    /// epoch themselves, and one that is newer than ours was never withdrawn.
    #[must_use]
    pub fn read(state: &Path) -> Self {
        let tools = std::fs::read(state.join(FILE))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { tools, dirty: false }
    }

    /// Starts a new epoch for each of `known` that reaches fewer than before, or somebody after nobody.
    pub fn settle(&mut self, known: &BTreeSet<String>, policy: &Policy) {
        for tool in known {
            let reach = Kept::from(policy.tool_with_rows(tool).reach());
            match self.tools.get_mut(tool) {
                None => {
                    self.tools.insert(tool.clone(), Epoch { epoch: 1, reach });
                    self.dirty = true;
                }
                Some(known) if known.reach != reach => {
                    known.epoch += u64::from(reach < known.reach || known.reach == Kept::Nobody);
                    known.reach = reach;
                    self.dirty = true;
                }
                Some(_) => {}
            }
        }
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
    pub fn save(&mut self, state: &Path) -> std::io::Result<()> {
        if self.dirty {
            let text = serde_json::to_vec(&self.tools).map_err(std::io::Error::other)?;
            crate::files::replace(&state.join(FILE), &text)?;
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
        let mut epochs = Epochs::read(home.path());
        for (word, epoch) in [
            ("true", 1),
            ("true", 1),
            ("false", 2),
            ("false", 2),
            ("true", 3),
            ("false", 4),
        ] {
            epochs.settle(&known, &policy(word));
            assert_eq!(epochs.current()["t"], epoch);
        }
        epochs.save(home.path()).unwrap();
        assert_eq!(Epochs::read(home.path()).current()["t"], 4);
    }
}
