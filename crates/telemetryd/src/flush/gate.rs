//! The gate that the delivery room asks before it dials and before the first byte (I3): is every event of
//! this batch still allowed, under the epoch it was accepted under?

use std::collections::BTreeMap;
use std::sync::Arc;

use telemetry_delivery::Gate;
use telemetry_policy::{Policy, Reach};
use telemetry_protocol::consent::Fact;
use telemetry_queue::{Claimed, Filter};

use crate::consent::Consent;

/// A batch's gate: its tools, each with the oldest and the newest epoch among its events.
#[derive(Debug)]
pub(super) struct BatchGate<'c> {
    consent: &'c Consent,
    uid: u32,
    url: &'c str,
    tools: BTreeMap<Arc<str>, (u64, u64)>,
}

impl<'c> BatchGate<'c> {
    pub(super) fn new(consent: &'c Consent, batch: &Claimed, url: &'c str) -> Self {
        let mut tools: BTreeMap<Arc<str>, (u64, u64)> = BTreeMap::new();
        for event in &batch.events {
            match tools.get_mut(&event.tool) {
                Some((oldest, newest)) => {
                    *oldest = event.epoch.min(*oldest);
                    *newest = event.epoch.max(*newest);
                }
                None => {
                    tools.insert(Arc::clone(&event.tool), (event.epoch, event.epoch));
                }
            }
        }
        Self {
            consent,
            uid: batch.uid,
            url,
            tools,
        }
    }

    /// What the admin has against this address: rows that were taken for it wait then.
    pub(super) fn forbidden(&self) -> Option<Fact> {
        self.forbidden_by(&self.consent.of(self.uid))
    }

    fn forbidden_by(&self, policy: &Policy) -> Option<Fact> {
        policy.parts().machine.destination_denial(self.url)
    }

    /// What must be purged before the rest may go; empty when the gate is open.
    pub(super) fn withdrawn(&self) -> Vec<Filter> {
        self.withdrawn_by(&self.consent.of(self.uid))
    }

    fn withdrawn_by(&self, policy: &Policy) -> Vec<Filter> {
        let withdrawn = self.tools.iter().filter_map(|(name, (oldest, newest))| {
            let tool = policy.tool_with_rows(name);
            let below = match tool.reach() {
                Reach::Nobody => Some(tool.epoch.max(*newest) + 1),
                Reach::Claims | Reach::Everybody => (*oldest < tool.epoch).then_some(tool.epoch),
            };
            below.map(|epoch| Filter {
                uid: Some(self.uid),
                tool: Some(Arc::clone(name)),
                epoch_below: Some(epoch),
                ..Filter::default()
            })
        });
        withdrawn.collect()
    }
}

impl Gate for BatchGate<'_> {
    fn open(&self) -> bool {
        let policy = self.consent.of(self.uid);
        self.withdrawn_by(&policy).is_empty() && self.forbidden_by(&policy).is_none()
    }
}
