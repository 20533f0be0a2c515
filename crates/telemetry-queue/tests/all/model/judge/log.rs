//! The sent log and the view show what is.

use std::collections::BTreeSet;

use telemetry_queue::{Id, RowState};

use super::super::world::{Place, World};
use super::Snapshot;
use crate::support::hex;

impl World {
    /// Every entry is a batch that was delivered, the newest are kept, and bodies are what was sent.
    pub(super) fn sent_log_is_right(&self, now: &Snapshot) {
        for sent in &now.sent {
            let formed = self
                .formed
                .get(&sent.id)
                .unwrap_or_else(|| panic!("{} was never claimed", hex(&sent.id)));
            assert!(sent.events as usize <= formed.members.len());
            assert!(!now.open.contains_key(&sent.id), "a delivered batch is open");
            for member in &sent.members {
                let name = (sent.uid, member.tool.clone(), member.id);
                assert!(formed.members.contains(&name));
                let event = &self.events[self.index[&name]];
                assert!(
                    !now.at.contains_key(&name),
                    "{} is delivered and queued",
                    hex(&member.id)
                );
                assert_eq!(event.place, Place::Delivered);
                let body = &sent.arena[member.payload.clone()];
                assert!(body.is_empty() || body == event.payload);
                assert!(
                    self.options.limits.sent_bodies || body.is_empty(),
                    "a body was kept"
                );
            }
        }
        let ids: Vec<Id> = now.sent.iter().map(|sent| sent.id).collect();
        let before: Vec<Id> = self
            .before
            .sent
            .iter()
            .map(|sent| sent.id)
            .filter(|id| ids.contains(id))
            .collect();
        assert!(ids.starts_with(&before), "the log was reordered");
    }

    pub(super) fn view_is_right(&self, now: &Snapshot) {
        let view = &now.view;
        let queued = now
            .rows
            .iter()
            .filter(|row| row.state != RowState::Parked)
            .count() as u64;
        assert_eq!(view.events, queued);
        assert!(!view.disk_full);
        for (name, waiting) in &view.destinations {
            let rows = || {
                now.rows
                    .iter()
                    .filter(|row| row.state != RowState::Parked && row.lane.destination == *name)
            };
            assert_eq!(
                waiting.events + waiting.leased,
                rows().count() as u64,
                "{name}: {waiting:?}"
            );
            let leased: BTreeSet<Id> = self.leases.iter().map(|lease| lease.id).collect();
            let open: BTreeSet<Id> = rows()
                .filter_map(|row| row.batch)
                .filter(|batch| !self.refused.contains(batch))
                .collect();
            if open.iter().filter(|batch| leased.contains(*batch)).count()
                == self
                    .leases
                    .iter()
                    .filter(|lease| lease.destination == *name)
                    .count()
            {
                let ready = open.iter().filter(|batch| !leased.contains(*batch)).count();
                assert_eq!(waiting.open_batches as usize, ready, "{name}: open batches");
                let in_flight = rows()
                    .filter(|row| row.batch.is_some_and(|batch| leased.contains(&batch)))
                    .count() as u64;
                assert_eq!(waiting.leased, in_flight, "{name}: under lease");
            }
        }
    }
}
