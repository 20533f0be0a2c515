//! Consent as the daemon sees it: the files are read again whenever they have changed, the answer is a
//! [`Policy`] for each person, and every withdrawal starts a new epoch (I3). Nothing here is timed or polled
//! (I11): whoever is about to take or to send an event asks, and the asking looks.
//!
//! A user's daemon knows one person; a machine-wide one knows each by the uid of the socket's credentials
//! (I13).

mod changes;
pub mod epochs;
mod eyes;
mod inner;
mod kept;
pub mod manifests;
mod person;
mod policies;
mod projects;
mod spool;
mod stamp;
mod watcher;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use telemetry_policy::policy_file::At;
use telemetry_policy::{Policy, Registered, Variables, gather};
use telemetry_protocol::consent::Fact;
use telemetry_queue::Moment;
use tokio::sync::watch;
use tracing::{debug, info};

pub use self::changes::How;
pub use self::eyes::Eyes;
use self::inner::Inner;
use self::manifests::ManifestProblem;
use self::person::{Common, Files, Person, everything_off};
pub use self::policies::Policies;
use self::policies::person_of;
use self::stamp::{Shelf, Stamp, stamps};
use crate::clock::Clock;
use crate::config::{Checked, Mode, Places};

/// People whose policy is kept at hand (I6); who is not among them is read again when somebody asks. As many
/// as may be connected by default.
const PEOPLE: usize = 1024;

/// Tools that one person's word may name, and notices that are remembered of one (I6): four times as many as may have
/// rows.
const NAMES: usize = 256;

/// A watch does not tell of a directory that is mounted over, or of permissions that changed far above: after so many
/// milliseconds the files are looked at, however quiet it is.
const LOOK_AGAIN_MS: u64 = 1_000;

/// Which tools have rows, by uid.
pub type Known = BTreeMap<u32, BTreeSet<String>>;

/// The room's door. Cheap to ask, by anybody who is about to take or send something.
pub struct Consent {
    places: Places,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    changes: watch::Sender<Arc<Policies>>,
}

impl std::fmt::Debug for Consent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consent")
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

impl Consent {
    /// Reads everything once. `known`: the tools that have rows in the queue. What was on when the last daemon
    /// ended and is off now was withdrawn while nobody looked.
    #[must_use]
    pub fn open(
        places: Places,
        variables: &Arc<Variables>,
        checked: &Checked,
        known: &Known,
        clock: Arc<dyn Clock>,
    ) -> Self {
        // A machine-wide daemon never looks into a home (I13).
        let home = variables.get("HOME").map(PathBuf::from);
        let home = home.filter(|home| places.mode == Mode::User && home.is_absolute());
        let mut inner = Inner {
            stamps: Vec::new(),
            user_files: Vec::new(),
            shelf: Shelf::default(),
            common: Common {
                variables: Arc::clone(variables),
                home,
                ..Common::default()
            },
            problems: Vec::new(),
            people: BTreeMap::new(),
            asked: 0,
            watch: None,
            looked_ms: 0,
        };
        inner.now(clock.now().wall_ms, How::Found);
        inner.take_config(checked);
        inner.read_manifests(&places);
        let mode = places.mode;
        let people = BTreeMap::new();
        let consent = Self {
            inner: Mutex::new(inner),
            changes: watch::Sender::new(Arc::new(Policies { mode, people })),
            places,
            clock,
        };
        {
            let mut inner = consent.lock();
            inner.stamps = stamps(&consent.places, &inner.user_files);
            inner.common.machine = consent.machine();
            let mut tools: Known = BTreeMap::new();
            for (uid, known) in known {
                tools
                    .entry(person_of(mode, *uid))
                    .or_default()
                    .extend(known.iter().cloned());
            }
            if mode == Mode::User {
                tools.entry(0).or_default();
            }
            for (uid, known) in tools {
                inner.make_room();
                let person = Person::meet(Files::of(&consent.places, uid), &inner.common, &known);
                inner.people.insert(uid, person);
            }
            consent.publish(&inner);
        }
        consent
    }

    /// The policy for this uid, now: the files were looked at in this call.
    #[must_use]
    pub fn of(&self, uid: u32) -> Arc<Policy> {
        self.looked_at(uid, How::File)
    }

    fn looked_at(&self, uid: u32, how: How) -> Arc<Policy> {
        let uid = person_of(self.places.mode, uid);
        let files = Files::of(&self.places, uid);
        let own = Stamp::of(&files.consent);
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut changed = !inner.shelf.is_current(&self.places);
        if changed {
            inner.now(self.now(), How::Manifest);
            inner.read_manifests(&self.places);
        }
        let stamps = stamps(&self.places, &inner.user_files);
        if changed || inner.stamps != stamps {
            if inner.stamps != stamps {
                inner.now(self.now(), How::File);
            }
            inner.stamps = stamps;
            self.look_at_machine(inner);
            inner.renew();
            changed = true;
        }
        inner.asked += 1;
        if !inner.people.contains_key(&uid) {
            inner.make_room();
        }
        let person = match inner.people.entry(uid) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(place) => {
                (inner.common.at_ms, inner.common.how) = (self.now(), How::Found);
                let person = Person::meet(files, &inner.common, &BTreeSet::new());
                // What was withdrawn while this person was out of mind has to be erased now.
                changed |= person.withdrew;
                place.insert(person)
            }
        };
        person.asked = inner.asked;
        if !person.is_current(own) {
            let before = everything_off(&person.policy);
            (inner.common.at_ms, inner.common.how) = (self.now(), how);
            person.renew(&inner.common);
            self.say(before.as_ref(), everything_off(&person.policy).as_ref(), false);
            changed = true;
        }
        let policy = Arc::clone(&person.policy);
        if changed {
            self.publish(inner);
        }
        policy
    }

    /// The policy for an event of this uid. While the watch over the files is quiet, one system call tells that they
    /// are what they were at the last look; a second after that look they are looked at all the same.
    #[must_use]
    pub fn of_event(&self, uid: u32, now: Moment) -> Arc<Policy> {
        self.unchanged(uid, now).unwrap_or_else(|| self.of_batch(uid))
    }

    /// The policy for a batch of this uid that was claimed, now: the files were looked at in this call.
    #[must_use]
    pub fn of_batch(&self, uid: u32) -> Arc<Policy> {
        let now = self.clock.now();
        let policy = self.of(uid);
        self.lock().looked_ms = now.boot_ms;
        policy
    }

    /// The policy for a batch that [`of_batch`](Self::of_batch) was asked about before: as for an event, while the watch
    /// over the files is quiet.
    #[must_use]
    pub fn of_claimed(&self, uid: u32) -> Arc<Policy> {
        self.of_event(uid, self.clock.now())
    }

    /// The policy of the last look, where nothing can have changed since.
    fn unchanged(&self, uid: u32, now: Moment) -> Option<Arc<Policy>> {
        let uid = person_of(self.places.mode, uid);
        let inner = &mut *self.lock();
        let recent = now.boot_ms.checked_sub(inner.looked_ms)? < LOOK_AGAIN_MS;
        let quiet = recent && inner.watch.as_ref()?.is_quiet();
        let person = inner.people.get_mut(&uid).filter(|_| quiet)?;
        // What a machine-wide daemon keeps of one user is not watched.
        let current = self.places.mode == Mode::User || person.is_unchanged();
        inner.asked += 1;
        person.asked = inner.asked;
        current.then(|| Arc::clone(&person.policy))
    }

    /// Looks whenever a file may have changed, although nobody asks; for as long as it runs.
    pub async fn watch(&self) {
        let these = || watcher::watched(&self.places, &self.lock().user_files);
        let armed = |watch| self.lock().watch = Some(watch);
        let watched = watcher::each_change(these, || self.read_again(), armed);
        if let Err(error) = watched.await {
            self.lock().watch = None;
            debug!(%error, "the files of consent are not watched; they are looked at before each event and batch");
        }
    }

    /// Reads every file again: one that was edited in its place does not show in its directory.
    fn read_again(&self) {
        let mut inner = self.lock();
        inner.now(self.now(), How::File);
        inner.read_manifests(&self.places);
        self.look_at_all(&mut inner);
    }

    /// Looks at everything but the manifests, and makes everybody's policy anew.
    fn look_at_all(&self, inner: &mut Inner) {
        // First the stamp and then the look: what changes between them shows at the next.
        inner.stamps = stamps(&self.places, &inner.user_files);
        self.look_at_machine(inner);
        inner.renew();
        self.publish(inner);
    }

    /// Changes of somebody's policy, withdrawals among them.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Policies>> {
        self.changes.subscribe()
    }

    /// Takes the manifests and the config anew.
    ///
    /// # Errors
    /// Every mistake in a manifest; then everything stays as it was.
    pub fn reload(&self, checked: &Checked) -> Result<(), Vec<ManifestProblem>> {
        let shelf = Shelf::look(&self.places);
        let (manifests, problems) = manifests::read_all(&shelf.files);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut inner = self.lock();
        inner.now(self.now(), How::Manifest);
        inner.take_config(checked);
        inner.take_manifests(manifests, problems);
        inner.shelf = shelf;
        self.look_at_all(&mut inner);
        Ok(())
    }

    /// The manifests in force.
    #[must_use]
    pub fn manifests(&self) -> Arc<BTreeMap<String, Registered>> {
        Arc::clone(&self.lock().common.manifests)
    }

    /// Manifests that could not be read, for `status` and `doctor`.
    #[must_use]
    pub fn problems(&self) -> Vec<ManifestProblem> {
        self.lock().problems.clone()
    }

    /// Remembers that `tool` of this uid has rows now.
    pub fn know(&self, uid: u32, tool: &str) {
        let inner = &mut *self.lock();
        if let Some(person) = inner.people.get_mut(&person_of(self.places.mode, uid)) {
            person.know(tool, &inner.common);
        }
    }

    /// This uid's word changes: its file is edited (atomically) and read again.
    ///
    /// # Errors
    /// When the file cannot be read as TOML or written; it is then as it was.
    pub fn change(&self, uid: u32, tool: Option<&str>, word: Option<bool>) -> Result<Arc<Policy>, String> {
        let files = Files::of(&self.places, person_of(self.places.mode, uid));
        if let (Some(tool), Some(_)) = (tool, word) {
            let policy = self.of(uid);
            let user = &policy.parts().user;
            if user.named().all(|known| known != tool) && user.named().count() >= NAMES {
                return Err(format!(
                    "{} names {NAMES} tools, and that is all that it takes; forget one with 'reset'",
                    files.consent.display()
                ));
            }
        }
        if let (Some(tool), Some(true)) = (tool, word) {
            self.with(uid, |person, _| person.agree(tool)).transpose()?;
        }
        person::edit(&files.consent, tool, word)?;
        Ok(self.looked_at(uid, How::Command))
    }

    fn now(&self) -> i64 {
        self.clock.now().wall_ms
    }

    /// A tool brings its own manifest.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn register(&self, name: &str, text: &str) -> Result<manifests::Registration, String> {
        let mut inner = self.lock();
        let done = manifests::register(&self.places.state, &inner.common.manifests, name, text)?;
        if done == manifests::Registration::Registered {
            inner.now(self.now(), How::Manifest);
            inner.read_manifests(&self.places);
            inner.renew();
            self.publish(&inner);
        }
        Ok(done)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn machine(&self) -> telemetry_policy::Machine {
        gather::machine(&self.places.machine, rustix::process::geteuid().as_raw(), &Eyes)
    }

    /// Where the admin says that only installed manifests count, if that is said.
    #[must_use]
    pub fn installed_manifests_only(&self) -> Option<At> {
        self.machine().installed_manifests_only().cloned()
    }

    fn look_at_machine(&self, inner: &mut Inner) {
        let before = inner.common.machine.denies_everything().cloned();
        inner.common.machine = self.machine();
        self.say(before.as_ref(), inner.common.machine.denies_everything(), true);
    }

    /// The policies of everybody who is at hand.
    #[must_use]
    pub fn everybody(&self) -> Vec<(u32, Arc<Policy>)> {
        let inner = self.lock();
        let people = inner.people.iter();
        people
            .map(|(uid, person)| (*uid, Arc::clone(&person.policy)))
            .collect()
    }

    fn publish(&self, inner: &Inner) {
        let people = inner
            .people
            .iter()
            .map(|(uid, person)| (*uid, Arc::clone(&person.policy)));
        self.changes.send_replace(Arc::new(Policies {
            mode: self.places.mode,
            people: people.collect(),
        }));
    }

    /// A line about everything going off or on again. What one of many users said is not the admin's news.
    fn say(&self, before: Option<&Fact>, now: Option<&Fact>, machine: bool) {
        let news = machine || self.places.mode == Mode::User;
        match (before, now) {
            (None, Some(fact)) if news => info!(source = %fact.source, "telemetry is off for every tool"),
            (Some(_), None) if news => info!("telemetry is no longer off for every tool"),
            (None, Some(_)) | (Some(_), None) => debug!("a user turned everything off or on"),
            _ => {}
        }
    }
}
