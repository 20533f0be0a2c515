//! Consent as the daemon sees it: the files are read again whenever they have changed, the answer is a
//! [`Policy`], and every withdrawal starts a new epoch (I3). Nothing here is timed or polled (I11):
//! whoever is about to take or to send an event asks, and the asking looks.

pub mod epochs;
mod eyes;
pub mod manifests;
mod stamp;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use telemetry_policy::policy::{Override, Parts};
use telemetry_policy::{Policy, Registered, consent_file, gather};
use tokio::sync::watch;
use tracing::{info, warn};

use self::epochs::Epochs;
pub use self::eyes::Eyes;
use self::manifests::ManifestProblem;
use self::stamp::Stamp;
use crate::config::{Checked, Places, Unregistered};

/// The room's door. Cheap to ask, by anybody who is about to take or send something.
#[derive(Debug)]
pub struct Consent {
    places: Places,
    /// Whether `DO_NOT_TRACK` is in the daemon's own environment.
    do_not_track: bool,
    inner: Mutex<Inner>,
    policy: watch::Sender<Arc<Policy>>,
}

#[derive(Debug)]
struct Inner {
    stamps: Vec<Stamp>,
    /// Of the directories that hold manifests: a file that came or went shows there.
    manifest_stamps: Vec<Stamp>,
    config: FromConfig,
    manifests: BTreeMap<String, Registered>,
    problems: Vec<ManifestProblem>,
    epochs: Epochs,
    noticed: BTreeSet<String>,
    /// Tools that have rows, or had: their withdrawals start epochs.
    known: BTreeSet<String>,
}

impl Inner {
    /// Reads the manifests anew. One with a mistake in it stays what it was before the mistake.
    fn read_manifests(&mut self, places: &Places) {
        let (mut manifests, problems) = manifests::load(places);
        report(&problems);
        for problem in &problems {
            let tool = problem.file.file_stem().unwrap_or_default().to_string_lossy();
            if let Some(old) = self.manifests.get(&*tool) {
                manifests.entry(tool.into_owned()).or_insert_with(|| old.clone());
            }
        }
        self.manifests = manifests;
        self.problems = problems;
    }
}

/// What the config adds to the policy.
#[derive(Clone, Debug, Default)]
struct FromConfig {
    overrides: BTreeMap<String, Override>,
    default_destination: String,
    refuse_unregistered: bool,
}

impl FromConfig {
    fn of(checked: &Checked) -> Self {
        let overrides = checked.tools.iter().map(|(name, tool)| {
            let destination = tool.destination.as_deref().map(ToOwned::to_owned);
            (
                name.clone(),
                Override {
                    destination,
                    disabled: !tool.enabled,
                    opt_in: tool.opt_in,
                },
            )
        });
        Self {
            overrides: overrides.collect(),
            default_destination: checked.defaults.destination.to_string(),
            refuse_unregistered: checked.defaults.unregistered_tools == Unregistered::Refuse,
        }
    }
}

impl Consent {
    /// Reads everything once. `known`: the tools that have rows in the queue.
    #[must_use]
    pub fn open(places: Places, do_not_track: bool, checked: &Checked, known: BTreeSet<String>) -> Self {
        let (manifests, problems) = manifests::load(&places);
        report(&problems);
        let mut inner = Inner {
            stamps: Vec::new(),
            manifest_stamps: Vec::new(),
            config: FromConfig::of(checked),
            manifests,
            problems,
            epochs: Epochs::read(&places.state),
            noticed: noticed(&places.state),
            known,
        };
        inner.stamps = stamps(&places);
        inner.manifest_stamps = manifest_stamps(&places);
        let policy = Arc::new(Policy::new(parts(&places, do_not_track, &inner)));
        // What was on when the last daemon ended and is off now was withdrawn while nobody looked.
        inner.epochs.settle(&inner.known, &policy);
        let policy = Arc::new(Policy::new(parts(&places, do_not_track, &inner)));
        let consent = Self {
            places,
            do_not_track,
            inner: Mutex::new(inner),
            policy: watch::channel(policy).0,
        };
        consent.save_epochs();
        consent
    }

    /// The policy now: the files were looked at in this call.
    #[must_use]
    pub fn current(&self) -> Arc<Policy> {
        let (stamps, manifest_stamps) = (stamps(&self.places), manifest_stamps(&self.places));
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.stamps == stamps && inner.manifest_stamps == manifest_stamps {
            return Arc::clone(&self.policy.borrow());
        }
        inner.stamps = stamps;
        if inner.manifest_stamps != manifest_stamps {
            inner.manifest_stamps = manifest_stamps;
            inner.read_manifests(&self.places);
        }
        self.replace(&mut inner)
    }

    /// Changes of the policy, withdrawals among them.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Policy>> {
        self.policy.subscribe()
    }

    /// Takes the manifests and the config anew.
    ///
    /// # Errors
    /// Every mistake in a manifest; then everything stays as it was.
    pub fn reload(&self, checked: &Checked) -> Result<(), Vec<ManifestProblem>> {
        let (manifests, problems) = manifests::load(&self.places);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.config = FromConfig::of(checked);
        inner.manifests = manifests;
        inner.problems = problems;
        inner.noticed = noticed(&self.places.state);
        inner.stamps = stamps(&self.places);
        inner.manifest_stamps = manifest_stamps(&self.places);
        self.replace(&mut inner);
        Ok(())
    }

    /// Manifests that could not be read, for `status` and `doctor`.
    #[must_use]
    pub fn problems(&self) -> Vec<ManifestProblem> {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .problems
            .clone()
    }

    /// Remembers that `tool` has rows now.
    pub fn know(&self, tool: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.known.contains(tool) {
            inner.known.insert(tool.to_owned());
            let policy = Arc::clone(&self.policy.borrow());
            inner.epochs.settle(&BTreeSet::from([tool.to_owned()]), &policy);
            drop(inner);
            self.save_epochs();
        }
    }

    /// The user's word changes: `consent.toml` is edited (atomically) and read again.
    ///
    /// # Errors
    /// When the file cannot be read as TOML or written; it is then as it was.
    pub fn change(&self, tool: Option<&str>, word: Option<bool>) -> Result<Arc<Policy>, String> {
        let path = self.places.consent.join("consent.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(format!("cannot read {}: {e}", path.display())),
        };
        let edited =
            consent_file::edited(&text, tool, word).map_err(|e| format!("{}: {e}", path.display()))?;
        crate::files::replace(&path, edited.as_bytes())
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        Ok(self.current())
    }

    /// The notice of `tool` was shown to the user.
    ///
    /// # Errors
    /// When the marker cannot be written.
    pub fn notice_shown(&self, tool: &str) -> Result<(), String> {
        let marker = self.places.state.join("noticed").join(tool);
        crate::files::replace(&marker, b"").map_err(|e| format!("cannot write {}: {e}", marker.display()))?;
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.noticed.insert(tool.to_owned());
        self.replace(&mut inner);
        Ok(())
    }

    /// A tool brings its own manifest.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn register(&self, name: &str, text: &str) -> Result<manifests::Registration, String> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let done = manifests::register(&self.places.state, &inner.manifests, name, text)?;
        if done == manifests::Registration::Registered {
            inner.read_manifests(&self.places);
            inner.manifest_stamps = manifest_stamps(&self.places);
            self.replace(&mut inner);
        }
        Ok(done)
    }

    fn replace(&self, inner: &mut Inner) -> Arc<Policy> {
        let policy = Policy::new(parts(&self.places, self.do_not_track, inner));
        inner.epochs.settle(&inner.known, &policy);
        let policy = Arc::new(Policy::new(parts(&self.places, self.do_not_track, inner)));
        let was = self.policy.send_replace(Arc::clone(&policy));
        match (was.denies_everything(), policy.denies_everything()) {
            (None, Some(fact)) => info!(source = %fact.source, "telemetry is off for every tool"),
            (Some(_), None) => info!("telemetry is no longer off for every tool"),
            _ => {}
        }
        if let Err(error) = inner.epochs.save(&self.places.state) {
            warn!(%error, "cannot keep the consent epochs; they hold until the daemon ends");
        }
        policy
    }

    fn save_epochs(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = inner.epochs.save(&self.places.state) {
            warn!(%error, "cannot keep the consent epochs; they hold until the daemon ends");
        }
    }
}

fn parts(places: &Places, do_not_track: bool, inner: &Inner) -> Parts {
    Parts {
        machine: gather::machine(&places.machine, &Eyes, &|name| {
            name == "DO_NOT_TRACK" && do_not_track
        }),
        user: gather::user(&places.consent, &Eyes),
        manifests: inner.manifests.clone(),
        overrides: inner.config.overrides.clone(),
        default_destination: inner.config.default_destination.clone(),
        refuse_unregistered: inner.config.refuse_unregistered,
        noticed: inner.noticed.clone(),
        epochs: inner.epochs.current(),
    }
}

fn stamps(places: &Places) -> Vec<Stamp> {
    let machine = places.machine.iter().flat_map(|directory| {
        ["opt-out", "opt-out.d", "policy.d"]
            .into_iter()
            .map(|name| directory.join(name))
    });
    machine
        .chain(std::iter::once(consent_path(&places.consent)))
        .map(|path| Stamp::of(&path))
        .collect()
}

fn manifest_stamps(places: &Places) -> Vec<Stamp> {
    let own = manifests::registered_dir(&places.state);
    places
        .manifests
        .iter()
        .chain(std::iter::once(&own))
        .map(|path| Stamp::of(path))
        .collect()
}

fn consent_path(config: &Path) -> PathBuf {
    config.join("consent.toml")
}

fn noticed(state: &Path) -> BTreeSet<String> {
    std::fs::read_dir(state.join("noticed"))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

fn report(problems: &[ManifestProblem]) {
    for problem in problems {
        warn!(file = %problem.file.display(), line = problem.line, "{}", problem.message);
    }
}
