//! The end of every sequence of steps: everything is delivered, or parked for a reason.

use std::collections::BTreeSet;

use telemetry_queue::{ClaimLimits, Id};

use super::Ending;
use super::judge::Deeds;
use super::world::World;

impl World {
    /// Delivers everything to an endpoint that never takes certain events: in the end those are parked, and
    /// nothing else is left. The number of requests stays within what bisection needs.
    pub(super) fn drain(&mut self) {
        let poisonous = |id: &Id| id[15].is_multiple_of(5);
        while let Some(lease) = self.leases.pop() {
            let mut deeds = Deeds::default();
            self.settle(lease, Ending::Release, false, &mut deeds);
            self.judge(deeds);
        }
        let mut stubborn = BTreeSet::new();
        let mut requests = 0;
        for destination in ["a", "b"] {
            loop {
                let mut deeds = Deeds::default();
                let limits = ClaimLimits {
                    max_events: 20,
                    max_bytes: u64::MAX / 4,
                    per_batch: 10,
                    per_event: 5,
                    in_a_row: None,
                };
                let claimed = self.bench().claim(destination, limits, self.now);
                let done = claimed.is_none();
                deeds.claim(destination, limits, claimed);
                self.judge(deeds);
                if done {
                    break;
                }
                let lease = self.leases.pop().unwrap();
                let refuse = lease
                    .events
                    .iter()
                    .any(|event| poisonous(&event.id) && !stubborn.contains(&event.id));
                let ending = if refuse {
                    Ending::Bisect(422)
                } else {
                    Ending::Delivered
                };
                let ids: Vec<Id> = lease.events.iter().map(|event| event.id).collect();
                let mut deeds = Deeds::default();
                self.settle(lease, ending, false, &mut deeds);
                if deeds
                    .settled
                    .as_ref()
                    .is_some_and(|(_, _, settled)| settled.refuses_everything)
                {
                    // The endpoint is repaired.
                    stubborn.extend(self.events.iter().map(|event| event.id));
                    stubborn.extend(ids);
                }
                self.judge(deeds);
                requests += 1;
                assert!(
                    requests < 40 * (self.events.len() + 10),
                    "the queue does not drain"
                );
            }
        }
        let total = self.bench().total();
        assert_eq!(total.queued, 0, "something is left: {total:?}");
    }
}
