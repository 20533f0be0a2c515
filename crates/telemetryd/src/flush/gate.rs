//! The gate that the delivery room asks before it dials and before the first byte (I3): is every event of
//! this batch still allowed, under the epoch it was accepted under?
//!
//! The files of consent are looked at once for a batch, after its claim. Between that and its last byte the watch over
//! them is asked, as for an event: a look is a system call for each manifest, and there are four questions a batch.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use telemetry_delivery::Gate;
use telemetry_policy::{Policy, Reach};
use telemetry_protocol::consent::Fact;
use telemetry_queue::{Claimed, Filter};

use crate::consent::Consent;

/// What a look at the files of consent found.
#[derive(Debug)]
pub(super) enum Looked {
    /// The batch may go.
    Open,
    /// The admin has something against this address: rows that were taken for it wait.
    Forbidden(Fact),
    /// Some of it must be purged before the rest may go.
    Withdrawn,
}

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
        // Events of one tool stand together, as a rule.
        for events in batch
            .events
            .chunk_by(|one, next| Arc::ptr_eq(&one.tool, &next.tool))
        {
            let epochs = || events.iter().map(|event| event.epoch);
            let (Some(oldest), Some(newest)) = (epochs().min(), epochs().max()) else {
                continue;
            };
            tools
                .entry(Arc::clone(&events[0].tool))
                .and_modify(|known| *known = (oldest.min(known.0), newest.max(known.1)))
                .or_insert((oldest, newest));
        }
        Self {
            consent,
            uid: batch.uid,
            url,
            tools,
        }
    }

    /// Looks at the files of consent.
    pub(super) fn look(&self) -> Looked {
        let policy = self.consent.of_batch(self.uid);
        match self.forbidden_by(&policy) {
            Some(fact) => Looked::Forbidden(fact),
            None if self.withdrawn_by(&policy).is_empty() => Looked::Open,
            None => Looked::Withdrawn,
        }
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
            let tool = policy
                .tool(name)
                .unwrap_or_else(|| Cow::Owned(policy.tool_with_rows(name)));
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
        let policy = self.consent.of_claimed(self.uid);
        self.withdrawn_by(&policy).is_empty() && self.forbidden_by(&policy).is_none()
    }
}
