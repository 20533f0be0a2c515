//! What one uid said, and what follows from it: its word, the notices it was shown, its epochs (I3, I13).
//!
//! A user's daemon has one person, whose word is in `consent.toml`. A machine-wide one has many, and keeps
//! what each said over the socket in its own state directory: it never looks into a home.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use telemetry_policy::policy::{Override, Parts};
use telemetry_policy::{Machine, Policy, Registered, UserConsent, Variables, gather, own_files};
use telemetry_protocol::consent::Fact;
use tracing::warn;

use super::epochs::Epochs;
use super::stamp::Stamp;
use super::{Eyes, NAMES};
use crate::config::{Mode, Places};

/// Where one person's files are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// The word.
    pub(super) consent: PathBuf,
    /// Markers of notices that were shown.
    pub(super) noticed: PathBuf,
    /// The epochs.
    pub(super) epochs: PathBuf,
}

impl Files {
    pub(super) fn of(places: &Places, uid: u32) -> Self {
        match places.mode {
            Mode::User => Self {
                consent: places.consent.join("consent.toml"),
                noticed: places.state.join("noticed"),
                epochs: places.state.join("consent-epochs.json"),
            },
            Mode::System => {
                let directory = places.state.join("consent");
                Self {
                    consent: directory.join(format!("{uid}.toml")),
                    noticed: places.state.join("noticed").join(uid.to_string()),
                    epochs: directory.join(format!("{uid}-epochs.json")),
                }
            }
        }
    }
}

/// What a policy is made of and all people share.
#[derive(Clone, Debug, Default)]
pub(super) struct Common {
    pub(super) machine: Machine,
    pub(super) manifests: Arc<BTreeMap<String, Registered>>,
    pub(super) overrides: BTreeMap<String, Override>,
    pub(super) default_destination: String,
    pub(super) refuse_unregistered: bool,
    pub(super) addresses: Arc<BTreeMap<String, String>>,
    /// The daemon's own environment.
    pub(super) variables: Arc<Variables>,
    /// The home of the one person whom a user's daemon has.
    pub(super) home: Option<PathBuf>,
}

/// One person.
#[derive(Debug)]
pub(super) struct Person {
    files: Files,
    stamp: Stamp,
    user: UserConsent,
    answers: BTreeMap<String, Vec<Fact>>,
    noticed: BTreeSet<String>,
    epochs: Epochs,
    /// What holds for this person.
    pub(super) policy: Arc<Policy>,
    /// When somebody asked last, in askings.
    pub(super) asked: u64,
    /// The last look found something withdrawn.
    pub(super) withdrew: bool,
}

impl Person {
    /// Reads what this person said. `known`: tools with rows, beside those that the epochs remember. Epochs that
    /// begin with this reading (withdrawn while nobody looked) are kept at once.
    pub(super) fn meet(files: Files, common: &Common, known: &BTreeSet<String>) -> Self {
        let mut person = Self {
            stamp: Stamp::of(&files.consent),
            user: gather::word(&files.consent, &Eyes),
            answers: answers(common),
            noticed: noticed(&files.noticed),
            epochs: Epochs::read(&files.epochs),
            policy: Arc::new(Policy::new(Parts::default())),
            asked: 0,
            withdrew: false,
            files,
        };
        person.epochs.know(known);
        person.resolve(common);
        person
    }

    /// Whether the word is still the one that was read.
    pub(super) fn is_current(&self, stamp: Stamp) -> bool {
        self.stamp == stamp
    }

    /// Whether anything is only in memory.
    pub(super) fn unsaved(&self) -> bool {
        self.epochs.dirty()
    }

    /// Reads the word again, and makes the policy anew.
    pub(super) fn renew(&mut self, common: &Common) {
        self.stamp = Stamp::of(&self.files.consent);
        self.user = gather::word(&self.files.consent, &Eyes);
        self.answers = answers(common);
        self.noticed = noticed(&self.files.noticed);
        self.resolve(common);
    }

    /// A tool of this person has rows now.
    pub(super) fn know(&mut self, tool: &str, common: &Common) {
        if !self.epochs.knows(tool) {
            self.epochs.know(&BTreeSet::from([tool.to_owned()]));
            self.resolve(common);
        }
    }

    fn resolve(&mut self, common: &Common) {
        let policy = Policy::new(self.parts(common));
        self.withdrew = self.epochs.settle(&policy);
        // The policy carries the epochs: it is made again where they have changed.
        let policy = match self.epochs.dirty() {
            true => Policy::new(self.parts(common)),
            false => policy,
        };
        self.policy = Arc::new(policy);
        if let Err(error) = self.epochs.save(&self.files.epochs) {
            warn!(%error, "cannot keep the consent epochs; they hold until the daemon ends");
        }
    }

    fn parts(&self, common: &Common) -> Parts {
        Parts {
            machine: common.machine.clone(),
            variables: Arc::clone(&common.variables),
            user: self.user.clone(),
            answers: self.answers.clone(),
            addresses: Arc::clone(&common.addresses),
            manifests: Arc::clone(&common.manifests),
            overrides: common.overrides.clone(),
            default_destination: common.default_destination.clone(),
            refuse_unregistered: common.refuse_unregistered,
            noticed: self.noticed.clone(),
            epochs: self.epochs.current(),
        }
    }

    /// The notice of `tool` was shown.
    ///
    /// # Errors
    /// When the marker cannot be written.
    pub(super) fn notice_shown(&mut self, tool: &str, common: &Common) -> Result<(), String> {
        if !self.noticed.contains(tool) && self.noticed.len() >= NAMES {
            return Err(format!(
                "notices of {NAMES} tools are remembered, and that is all"
            ));
        }
        let marker = self.files.noticed.join(tool);
        crate::files::replace(&marker, b"").map_err(|e| format!("cannot write {}: {e}", marker.display()))?;
        self.noticed.insert(tool.to_owned());
        self.resolve(common);
        Ok(())
    }
}

/// Changes the word in `path` (atomically), the rest of the file kept.
///
/// # Errors
/// When the file cannot be read as TOML or written; it is then as it was.
pub(super) fn edit(path: &Path, tool: Option<&str>, word: Option<bool>) -> Result<(), String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(format!("cannot read {}: {e}", path.display())),
    };
    let edited = telemetry_policy::consent_file::edited(&text, tool, word)
        .map_err(|e| format!("{}: {e}", path.display()))?;
    crate::files::replace(path, edited.as_bytes())
        .map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// The fact that turns everything off for this person, where it is its own word.
pub(super) fn everything_off(policy: &Policy) -> Option<Fact> {
    policy.parts().user.denies_everything().cloned()
}

/// What the person answered in the tools' own files.
fn answers(common: &Common) -> BTreeMap<String, Vec<Fact>> {
    let home = common.home.as_deref();
    home.map_or_else(BTreeMap::new, |home| {
        own_files::answers(&common.manifests, home, &Eyes)
    })
}

fn noticed(directory: &Path) -> BTreeSet<String> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}
