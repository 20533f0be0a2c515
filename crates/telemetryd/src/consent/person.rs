//! What one uid said, and what follows from it: its word, the notices it was shown, what it agreed to, its epochs, and
//! the log of all that (I3, I13).
//!
//! A user's daemon has one person, whose word is in `consent.toml`. A machine-wide one has many, and keeps
//! what each said over the socket in its own state directory: it never looks into a home.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use telemetry_policy::policy::{Override, Parts};
use telemetry_policy::scope::changes;
use telemetry_policy::{Agreed, Machine, Policy, Registered, UserConsent, Variables, gather, own_files};
use telemetry_protocol::consent::Fact;
use tracing::warn;

use super::changes::{Changes, How};
use super::epochs::Epochs;
use super::projects::Projects;
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
    /// The manifests that were agreed to.
    pub(super) agreed: PathBuf,
    /// The epochs.
    pub(super) epochs: PathBuf,
    /// What was decided last, so that a change shows.
    pub(super) seen: PathBuf,
    /// The log of changes.
    pub(super) log: PathBuf,
    /// The key by which rows know their project.
    pub(super) projects: PathBuf,
}

impl Files {
    pub(super) fn of(places: &Places, uid: u32) -> Self {
        match places.mode {
            Mode::User => Self {
                consent: places.consent.join("consent.toml"),
                noticed: places.state.join("noticed"),
                agreed: places.state.join("agreed"),
                epochs: places.state.join("consent-epochs.json"),
                seen: places.state.join("consent-seen.json"),
                log: places.state.join("consent-log.ndjson"),
                projects: places.state.join("projects.key"),
            },
            Mode::System => {
                let directory = places.state.join("consent");
                Self {
                    consent: directory.join(format!("{uid}.toml")),
                    noticed: places.state.join("noticed").join(uid.to_string()),
                    agreed: places.state.join("agreed").join(uid.to_string()),
                    epochs: directory.join(format!("{uid}-epochs.json")),
                    seen: directory.join(format!("{uid}-seen.json")),
                    log: directory.join(format!("{uid}-log.ndjson")),
                    projects: directory.join(format!("{uid}-projects.key")),
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
    /// When the last look was, by the wall clock.
    pub(super) at_ms: i64,
    /// How what the last look finds came about.
    pub(super) how: How,
}

/// One person.
#[derive(Debug)]
pub(super) struct Person {
    files: Files,
    stamp: Stamp,
    user: UserConsent,
    answers: BTreeMap<String, Vec<Fact>>,
    agreed: Agreed,
    epochs: Epochs,
    changes: Changes,
    projects: Projects,
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
            agreed: Agreed::read(&files.noticed, &files.agreed, &Eyes),
            epochs: Epochs::read(&files.epochs),
            changes: Changes::read(files.log.clone(), files.seen.clone()),
            projects: Projects::read(files.projects.clone()),
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

    /// Whether the word is still the one that was read: looked at in this call.
    pub(super) fn is_unchanged(&self) -> bool {
        self.is_current(Stamp::of(&self.files.consent))
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
        self.agreed = Agreed::read(&self.files.noticed, &self.files.agreed, &Eyes);
        self.resolve(common);
    }

    /// A tool of this person has rows now: what its manifest lets through is agreed to, where nothing was before.
    pub(super) fn know(&mut self, tool: &str, common: &Common) {
        let agrees = !self.agreed.manifests.contains_key(tool) && self.policy.manifest(tool).is_some();
        if agrees && let Err(error) = self.agree(tool) {
            warn!(%error, "cannot keep what was agreed to; a wider manifest asks nobody until the next start");
        }
        if !self.epochs.knows(tool) {
            self.epochs.know(&BTreeSet::from([tool.to_owned()]));
            self.resolve(common);
        }
    }

    /// This person agrees to what the manifest of `tool` lets through, where there is one.
    ///
    /// # Errors
    /// When that cannot be kept.
    pub(super) fn agree(&mut self, tool: &str) -> Result<(), String> {
        let Some(registered) = self.policy.manifest(tool) else {
            return Ok(());
        };
        let manifest = registered.manifest.clone();
        let known = self.agreed.manifests.get(tool);
        if known.is_some_and(|known| known.as_ref() == Some(&manifest)) {
            return Ok(());
        }
        if known.is_none() && self.agreed.manifests.len() >= NAMES {
            return Err(format!(
                "what was agreed to of {NAMES} tools is kept, and that is all"
            ));
        }
        let file = self.files.agreed.join(tool);
        crate::files::replace(&file, manifest.text.as_bytes())
            .map_err(|e| format!("cannot write {}: {e}", file.display()))?;
        self.agreed.manifests.insert(tool.to_owned(), Some(manifest));
        Ok(())
    }

    /// The log.
    pub(super) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The key by which rows know their project.
    pub(super) fn projects(&mut self) -> &mut Projects {
        &mut self.projects
    }

    /// Begins anew with `tool`, or with all that had rows.
    pub(super) fn forget(&mut self, tool: Option<&str>, common: &Common) {
        match tool {
            Some(tool) => self.epochs.begin(tool),
            None => {
                self.projects.forget();
                for tool in self.epochs.tools() {
                    self.epochs.begin(&tool);
                }
            }
        }
        self.resolve(common);
    }

    fn resolve(&mut self, common: &Common) {
        let mut policy = Policy::new(self.parts(common));
        let narrower = self.narrower(&policy);
        // Who shows its own notice asks nobody here; what was taken before does not go where nobody agreed to.
        let wider: Vec<String> = policy
            .tools()
            .filter(|(_, tool)| !tool.wider.is_empty() && !tool.notice_missing)
            .map(|(name, _)| name.to_owned())
            .collect();
        for tool in wider.iter().chain(&narrower) {
            self.epochs.begin(tool);
            self.policy = Arc::new(policy.clone());
            if let Err(error) = self.agree(tool) {
                warn!(%error, "cannot keep what was agreed to");
            }
        }
        if !wider.is_empty() || !narrower.is_empty() {
            policy = Policy::new(self.parts(common));
        }
        self.withdrew = self.epochs.settle(&policy) || !narrower.is_empty();
        let rows = self.epochs.tools();
        self.changes.look(&policy, &rows, common.how, common.at_ms);
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

    /// Tools with rows whose manifest lets less through than it did: what was taken under the wider one is withdrawn.
    fn narrower(&self, policy: &Policy) -> Vec<String> {
        let agreed = self.agreed.manifests.iter();
        let narrower = agreed.filter(|(name, agreed)| {
            let now = policy.manifest(name).map(|registered| &registered.manifest);
            let asks = policy.tool(name).is_some_and(|tool| tool.notice_missing);
            match (agreed, now) {
                (Some(agreed), Some(now)) if self.epochs.knows(name) && !asks => {
                    changes(agreed, now).iter().any(|change| change.narrower)
                }
                _ => false,
            }
        });
        narrower.map(|(name, _)| name.clone()).collect()
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
            agreed: self.agreed.clone(),
            epochs: self.epochs.current(),
        }
    }

    /// The notice of `tool` was shown, and with it what its manifest lets through.
    ///
    /// # Errors
    /// When the marker cannot be written.
    pub(super) fn notice_shown(&mut self, tool: &str, common: &Common) -> Result<(), String> {
        if !self.agreed.noticed.contains(tool) && self.agreed.noticed.len() >= NAMES {
            return Err(format!(
                "notices of {NAMES} tools are remembered, and that is all"
            ));
        }
        let marker = self.files.noticed.join(tool);
        let text = self.policy.manifest(tool).map_or("", |r| &r.manifest.text);
        crate::files::replace(&marker, text.as_bytes())
            .map_err(|e| format!("cannot write {}: {e}", marker.display()))?;
        self.agreed.noticed.insert(tool.to_owned());
        self.agree(tool)?;
        self.resolve(common);
        Ok(())
    }
}

/// Changes the word in `path` (atomically), the rest of the file kept.
///
/// # Errors
/// When the file cannot be read as TOML or written; it is then as it was.
pub(super) fn edit(path: &Path, tool: Option<&str>, word: Option<bool>) -> Result<(), String> {
    let _turn = path.parent().and_then(crate::files::turn);
    let text = match crate::files::text(path) {
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
