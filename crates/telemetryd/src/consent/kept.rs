//! What is kept of one person besides its word: notices, the log of changes, the key of its projects. Asked for by uid
//! (I13).

use telemetry_protocol::consent_log::Change;
use telemetry_queue::{Id, Purged};

use super::Consent;
use super::changes::How;
use super::person::{Common, Person};
use super::policies::person_of;

impl Consent {
    /// The notice of `tool` was shown to this uid.
    ///
    /// # Errors
    /// When the marker cannot be written.
    pub fn notice_shown(&self, uid: u32, tool: &str) -> Result<(), String> {
        let at = self.now();
        self.lock().now(at, How::Notice);
        let shown = self.with(uid, |person, common| person.notice_shown(tool, common));
        self.publish(&self.lock());
        shown.transpose().map(|_| ())
    }

    /// The changes of what was decided for this uid, oldest first.
    #[must_use]
    pub fn log(&self, uid: u32) -> Vec<Change> {
        self.with(uid, |person, _| person.changes().all())
            .unwrap_or_default()
    }

    /// What was erased of a tool of this uid because consent does not cover it any more.
    pub fn erased(&self, uid: u32, tool: &str, purged: &Purged) {
        let at = self.now();
        self.with(uid, |person, _| person.changes().erased(tool, purged, at));
    }

    /// Something was erased for this uid, although nothing was decided.
    pub fn note(&self, uid: u32, change: Change, how: How) {
        let at = self.now();
        self.with(uid, |person, _| person.changes().note(change, how, at));
    }

    /// The hash by which a row of this uid's tool knows its project.
    #[must_use]
    pub fn project(&self, uid: u32, tool: &str, project: &str) -> Option<Id> {
        self.with(uid, |person, _| person.projects().id(tool, project))
    }

    /// The same for whoever looks for rows; `None`: there are none of any project.
    #[must_use]
    pub fn known_project(&self, uid: u32, tool: &str, project: &str) -> Option<Id> {
        self.with(uid, |person, _| person.projects().known(tool, project))
            .flatten()
    }

    /// What this uid has so far of `tool`, or of all, is to be forgotten: nothing of it is sent any more, and the next
    /// row begins anew.
    pub fn forget(&self, uid: u32, tool: Option<&str>) {
        self.with(uid, |person, common| person.forget(tool, common));
        self.publish(&self.lock());
    }

    /// Does something with this uid's person.
    pub(super) fn with<T>(&self, uid: u32, with: impl FnOnce(&mut Person, &Common) -> T) -> Option<T> {
        // So that the person is known.
        if !self.lock().people.contains_key(&person_of(self.places.mode, uid)) {
            let _ = self.of(uid);
        }
        let inner = &mut *self.lock();
        let person = inner.people.get_mut(&person_of(self.places.mode, uid))?;
        Some(with(person, &inner.common))
    }
}
