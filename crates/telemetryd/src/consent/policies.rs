//! What others see of consent: a snapshot of everybody's policy, published with each change (I3, I13).

use std::collections::BTreeMap;
use std::sync::Arc;

use telemetry_policy::Policy;

use crate::config::Mode;

/// The policies of those who were asked about, by person.
#[derive(Clone, Debug)]
pub struct Policies {
    pub(super) mode: Mode,
    pub(super) people: BTreeMap<u32, Arc<Policy>>,
}

impl Policies {
    /// Everybody's; a user's daemon has one person, who is 0.
    pub fn people(&self) -> impl Iterator<Item = (u32, &Policy)> {
        self.people.iter().map(|(uid, policy)| (*uid, &**policy))
    }

    /// The policy of `uid`, where it is at hand.
    #[must_use]
    pub fn of(&self, uid: u32) -> Option<&Arc<Policy>> {
        self.people.get(&person_of(self.mode, uid))
    }
}

/// A user's daemon has one person, whoever connects to it.
pub(super) const fn person_of(mode: Mode, uid: u32) -> u32 {
    match mode {
        Mode::User => 0,
        Mode::System => uid,
    }
}
