//! What the door of [`telemetry_policy::admit()`] asks of its daemon: who the strings are about, what the machine is,
//! which secret stands behind the pseudonyms, how many events a tool had today. Asked for each event; everything in
//! it is bounded (I6) and each user's own (I13).

pub mod identity;
mod machine;
mod quota;
mod secret;
mod subject;

use std::sync::{Arc, MutexGuard};

use telemetry_policy::pseudonym::Pseudonyms;
use telemetry_policy::redact::Subject;
use telemetry_policy::{Keeper, MachineFacts};
use telemetry_queue::{Book, Moment};

pub use self::identity::Identity;
use self::quota::Quotas;
use crate::config::{Mode, Places};
use crate::consent::Consent;

/// Everything that is asked for. One for all connections.
#[derive(Debug)]
pub struct Desk {
    /// The secrets.
    pub identity: Arc<Identity>,
    machine: MachineFacts,
    quotas: Quotas,
    mode: Mode,
}

impl Desk {
    /// Looks at the machine once, and forgets the identities of those whose consent was withdrawn while nobody ran.
    /// `named`: somebody named the state directory, and means it to last. `books`: what each tool has accepted so far.
    #[must_use]
    pub fn open(places: &Places, named: bool, consent: &Consent, books: &[Book]) -> Self {
        let identity = Identity::open(places, named);
        for (person, policy) in consent.everybody() {
            identity.withdrawn(person, &policy);
        }
        Self {
            identity: Arc::new(identity),
            machine: machine::facts(),
            quotas: Quotas::open(places.state.join("quotas.json"), books),
            mode: places.mode,
        }
    }

    /// The facts about the machine.
    #[must_use]
    pub fn machine(&self) -> &MachineFacts {
        &self.machine
    }

    /// Who the strings of this user's events are about.
    #[must_use]
    pub fn subject(&self, uid: u32) -> Subject {
        subject::of(uid, self.mode)
    }

    /// What is kept for this user.
    #[must_use]
    pub fn keeper(&self, uid: u32, at: Moment) -> KeeperOf<'_> {
        KeeperOf {
            desk: self,
            uid,
            at,
            secrets: None,
        }
    }
}

/// What is kept for one user, for as long as one event is looked at.
pub struct KeeperOf<'d> {
    desk: &'d Desk,
    uid: u32,
    at: Moment,
    secrets: Option<MutexGuard<'d, identity::Secrets>>,
}

impl Keeper for KeeperOf<'_> {
    fn pseudonyms(&mut self, tool: &str, epoch: u64) -> &mut Pseudonyms {
        let secrets = self.secrets.get_or_insert_with(|| self.desk.identity.lock());
        secrets.of(&self.desk.identity, self.uid, tool, epoch)
    }

    fn today(&mut self, tool: &str) -> u64 {
        self.desk.quotas.today(self.uid, tool, self.at.wall_ms)
    }

    fn admitted(&mut self, tool: &str) {
        self.desk.quotas.count(self.uid, tool, self.at.wall_ms);
    }
}
