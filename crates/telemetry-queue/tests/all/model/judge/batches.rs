//! Laws of batches: I8, claims and settlements.

use std::collections::BTreeSet;
use std::sync::Arc;

use telemetry_queue::{ClaimLimits, Claimed, Id, Lane, Row, RowState, Settled};

use super::super::Ending;
use super::super::world::{Formed, Name, World};
use super::{Deeds, Snapshot};
use crate::support::hex;

impl World {
    /// I8: an id stands for its members, and an unsettled batch whose members are all there is there.
    pub(super) fn batches_keep_their_members(&mut self, deeds: &Deeds, now: &Snapshot) {
        let leased: BTreeSet<Id> = self.leases.iter().map(|lease| lease.id).collect();
        for (batch, members) in &now.open {
            if let Some(formed) = self.formed.get(batch) {
                let first: BTreeSet<Name> = formed.members.iter().cloned().collect();
                // Under lease it is shown by the id of the lease, even if members were purged.
                let purged = leased.contains(batch) && members.is_subset(&first);
                assert!(
                    &first == members || purged,
                    "batch {} has changed its members",
                    hex(batch)
                );
                assert!(
                    self.before.open.contains_key(batch),
                    "batch {} is back",
                    hex(batch)
                );
            } else {
                let (attempts, root_events) = (u32::MAX, u32::MAX);
                let members = members.iter().cloned().collect();
                self.formed.insert(
                    *batch,
                    Formed {
                        members,
                        attempts,
                        root_events,
                    },
                );
            }
        }
        // Under lease a batch may have got another id, because some of its members were purged.
        let ended: BTreeSet<Name> = match &deeds.settled {
            Some((lease, Ending::Delivered | Ending::Split | Ending::Bisect(_) | Ending::PutBack, _)) => {
                self.under(lease).collect()
            }
            _ => BTreeSet::new(),
        };
        for (batch, members) in &self.before.open {
            let whole = members.iter().all(|name| now.at.contains_key(name));
            let ends = !ended.is_disjoint(members);
            // The fate of a refused event may be decided by the settling of another, or by its going.
            let renamed = self.formed[batch].members.len() != members.len();
            // One that is old enough may end its batch although it stays: requeued, it stands behind younger ones.
            let old = members
                .iter()
                .any(|name| self.is_old(&self.events[self.index[name]]));
            if whole && !ends && !renamed && !old && !self.refused.contains(batch) {
                assert!(now.open.contains_key(batch), "batch {} was dissolved", hex(batch));
            }
            if !whole && !leased.contains(batch) {
                assert!(
                    !now.open.contains_key(batch),
                    "batch {} has lost members and kept its id",
                    hex(batch)
                );
            }
        }
    }

    pub(super) fn settlement_is_right(
        &mut self,
        lease: &Claimed,
        ending: Ending,
        settled: Settled,
        now: &Snapshot,
    ) {
        // What was purged under lease is not there to be settled.
        let here: Vec<Name> = self.under(lease).collect();
        let state = |name: &Name| now.at.get(name).map(|&row| &now.rows[row]);
        let changed = here.len() != lease.events.len();
        match ending {
            Ending::Delivered => assert!(!settled.refuses_everything),
            Ending::Retry | Ending::Release | Ending::PutBack => {
                assert_eq!(settled, Settled::default());
                if let Some(formed) = self.formed.get_mut(&lease.id)
                    && matches!(ending, Ending::Retry)
                {
                    formed.attempts = lease.attempts + 1;
                }
            }
            Ending::Split | Ending::Bisect(_) if here.len() > 1 => {
                let pieces: BTreeSet<Option<Id>> = here
                    .iter()
                    .map(|event| state(event).and_then(|row| row.batch))
                    .collect();
                let whole = here.iter().all(|event| state(event).is_some());
                if whole {
                    assert_eq!(pieces.len(), 2, "{} events were not halved", here.len());
                    let sizes: Vec<usize> = pieces
                        .iter()
                        .map(|piece| now.open[&piece.unwrap()].len())
                        .collect();
                    assert!(sizes[0].abs_diff(sizes[1]) <= 1, "halves of {sizes:?}");
                    assert!(!pieces.contains(&Some(lease.id)), "a half has the whole's id");
                    for piece in pieces.into_iter().flatten() {
                        self.formed.get_mut(&piece).unwrap().root_events = lease.root_events;
                    }
                }
            }
            Ending::Split | Ending::Bisect(_) => {
                if let Some(row) = here.first().and_then(state) {
                    match row.state {
                        RowState::Parked => {
                            let parked = row.parked.as_ref().unwrap();
                            let status = if let Ending::Bisect(status) = ending {
                                status
                            } else {
                                413
                            };
                            assert_eq!(parked.status, status);
                            assert!(settled.parked >= 1);
                        }
                        RowState::Claimed => {
                            assert!(
                                lease.root_events >= 8,
                                "a refused event of a small batch was not parked"
                            );
                            self.refused.insert(row.batch.unwrap());
                        }
                        RowState::Waiting => {
                            assert!(
                                settled.refuses_everything,
                                "a refused event waits as if nothing had happened"
                            );
                        }
                    }
                }
            }
        }
        if settled.refuses_everything {
            assert!(matches!(ending, Ending::Bisect(_)));
            assert!(
                lease.root_events >= 8 && here.len() <= 1,
                "of {} events",
                lease.root_events
            );
            assert_eq!(settled.parked, 0);
            assert!(changed || state(&here[0]).is_none_or(|row| row.state == RowState::Waiting));
        }
    }

    pub(super) fn claim_is_right(
        &mut self,
        destination: &str,
        limits: ClaimLimits,
        claimed: Option<&Claimed>,
        now: &Snapshot,
        deeds: &Deeds,
    ) {
        let leased: BTreeSet<Id> = self.leases.iter().map(|lease| lease.id).collect();
        // Batches that were formed before: as of now, for a settlement makes halves.
        let of_destination = |batch: &Id| {
            now.rows
                .iter()
                .any(|row| row.batch == Some(*batch) && &*row.lane.destination == destination)
        };
        let ready: Vec<Id> = now
            .open
            .keys()
            .filter(|batch| {
                !leased.contains(*batch) && !self.refused.contains(*batch) && of_destination(batch)
            })
            .copied()
            .collect();
        let Some(claimed) = claimed else {
            // A settlement that found nothing under lease any more knows no destination to claim from.
            if deeds
                .settled
                .as_ref()
                .is_some_and(|(lease, _, _)| self.under(lease).next().is_none())
            {
                return;
            }
            assert_eq!(ready, Vec::<Id>::new(), "an open batch was not claimed");
            let waits = now
                .rows
                .iter()
                .find(|row| row.state == RowState::Waiting && &*row.lane.destination == destination);
            assert!(waits.is_none(), "nothing was claimed, but {waits:?} waits");
            return;
        };
        assert!(
            !leased.contains(&claimed.id),
            "batch {} was claimed twice at a time",
            hex(&claimed.id)
        );
        assert_eq!(&*claimed.destination, destination);
        assert!(!claimed.events.is_empty());
        let mut members = Vec::new();
        for member in &claimed.events {
            let name = (claimed.uid, member.tool.clone(), member.id);
            let event = &self.events[self.index[&name]];
            let row = &now.rows[now.at[&name]];
            assert_eq!(&*event.lane.destination, destination);
            assert_eq!((row.state, row.batch), (RowState::Claimed, Some(claimed.id)));
            assert_eq!(event.payload, claimed.arena[member.payload.clone()]);
            assert_eq!(
                (event.epoch, event.project, event.received),
                (member.epoch, member.project, member.received)
            );
            members.push(name);
        }
        let unique: BTreeSet<Name> = members.iter().cloned().collect();
        assert_eq!(unique.len(), members.len(), "an event is twice in a batch");
        assert_eq!(now.open[&claimed.id], unique);
        for lease in self
            .leases
            .iter()
            .filter(|lease| lease.uid == claimed.uid && *lease.destination == *destination)
        {
            let both = self.under(lease).find(|name| unique.contains(name));
            assert_eq!(both, None, "claimed twice at a time");
        }
        let formed = self.formed.get_mut(&claimed.id).unwrap();
        let in_batch = |name: &Name| {
            self.before
                .at
                .get(name)
                .is_some_and(|&row| self.before.rows[row].batch.is_some())
        };
        let is_fresh = !self.before.open.contains_key(&claimed.id) && !unique.iter().any(in_batch);
        if formed.root_events == u32::MAX {
            formed.root_events = claimed.root_events;
        }
        assert_eq!(
            formed.root_events,
            claimed.root_events,
            "the root of {} has changed",
            hex(&claimed.id)
        );
        if formed.attempts != u32::MAX {
            assert_eq!(
                formed.attempts,
                claimed.attempts,
                "attempts of {}",
                hex(&claimed.id)
            );
        }
        formed.attempts = claimed.attempts;
        let others: Vec<&Id> = ready.iter().filter(|batch| **batch != claimed.id).collect();
        if is_fresh {
            assert_eq!(claimed.attempts, 0);
            assert!(
                others.is_empty(),
                "a new batch was claimed before the halves of another: {others:?}"
            );
            self.fresh_batch_is_full(destination, limits, claimed, now);
        }
        // A batch reads back the same, members in the same order.
        if self.before.open.contains_key(&claimed.id) || is_fresh {
            let order = &mut self.formed.get_mut(&claimed.id).unwrap().members;
            let same: BTreeSet<Name> = order.iter().cloned().collect();
            assert_eq!(same, unique);
            *order = members;
        }
    }

    /// As much as the limits allow and, of each lane, the oldest.
    fn fresh_batch_is_full(
        &mut self,
        destination: &str,
        limits: ClaimLimits,
        claimed: &Claimed,
        now: &Snapshot,
    ) {
        let encoded = |event: &telemetry_queue::ClaimedEvent| {
            event.payload.len() as u64 + event.tool.len() as u64 + u64::from(limits.per_event)
        };
        let total: u64 = claimed.events.iter().map(encoded).sum::<u64>() + u64::from(limits.per_batch);
        assert!(claimed.events.len() <= limits.max_events as usize);
        assert!(
            total <= limits.max_bytes || claimed.events.len() == 1,
            "{total} bytes of {}",
            limits.max_bytes
        );
        let waits = |row: &&Row| {
            row.state == RowState::Waiting
                && row.lane.uid == claimed.uid
                && &*row.lane.destination == destination
        };
        if limits.max_bytes > 1 << 40 && claimed.events.len() < limits.max_events as usize {
            assert_eq!(
                now.rows.iter().find(waits).map(|row| row.id),
                None,
                "there was room in the batch"
            );
        }
        // Rows are listed oldest first within a lane: once one still waits, no later one was taken.
        let mut waiting: BTreeSet<Arc<Lane>> = BTreeSet::new();
        for row in now.rows.iter().filter(|row| row.state != RowState::Parked) {
            if waits(&row) {
                waiting.insert(row.lane.clone());
            } else if row.batch == Some(claimed.id) {
                assert!(
                    !waiting.contains(&row.lane),
                    "a younger event was claimed before an older one"
                );
            }
        }
    }
}
