//! Claiming: a batch that was formed before, else a new one of the oldest waiting events.

use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::Store;
use super::batches::{ORDER_STEP, new_id};
use super::gather::Gathered;
use super::state::{Batch, DestinationAt, Member};
use crate::command::Claim;
use crate::segment::{Frame, Stamp};
use crate::types::{Claimed, ClaimedEvent, Id, Losses};

impl Store {
    /// Takes a batch under lease.
    pub(crate) fn claim(&mut self, claim: &Claim) -> rusqlite::Result<Option<Claimed>> {
        let Some(&destination) = self.state.destination_names.get(&claim.destination) else {
            return Ok(None);
        };
        if claim
            .uid
            .is_some_and(|uid| self.state.destinations[destination].held.contains(&uid))
        {
            return Ok(None);
        }
        self.flush_segments()?;
        let (ready, other) = self.ready(destination, claim);
        if let Some(n) = ready {
            let Some(members) = self.state.batches.get(&n).map(|batch| batch.members.clone()) else {
                return Ok(None);
            };
            for member in &members {
                self.scan_to(member.lane, member.last)?;
            }
            self.state.lease(n);
            let Some(batch) = self.state.batches.get(&n) else {
                return Ok(None);
            };
            let (arena, events) = self.read_members(&batch.members)?;
            if events.len() as u64 != batch.events {
                // A page that is torn and looks whole: never a part of a batch under the batch's id (I8).
                return Err(crate::error::damaged());
            }
            return Ok(Some(self.claimed(batch, arena, events)));
        }
        let Some(uid) = claim.uid.or(other).or_else(|| self.next_uid(destination, None)) else {
            return Ok(None);
        };
        let Some(gathered) = self.gather(destination, uid, claim.limits)? else {
            return Ok(None);
        };
        self.form(destination, gathered).map(Some)
    }

    /// The formed batch that goes next, if one does; or who comes before it with new events (QUEUE.md, "claims take
    /// from each in turn"): a batch that is refused and halved is a thousand requests, and others are not to wait for
    /// all of them.
    fn ready(&mut self, destination: DestinationAt, claim: &Claim) -> (Option<u64>, Option<u32>) {
        let place = &self.state.destinations[destination];
        let formed = place.batches.values().filter_map(|n| self.state.batches.get(n));
        let ready: Vec<(u64, u32)> = formed
            .filter(|batch| {
                batch.lease.is_none()
                    && !place.held.contains(&batch.uid)
                    && claim.uid.is_none_or(|uid| uid == batch.uid)
            })
            .map(|batch| (batch.n, batch.uid))
            .take(if claim.limits.in_a_row.is_none() {
                1
            } else {
                usize::MAX
            })
            .collect();
        let Some(&(mut n, mut uid)) = ready.first() else {
            return (None, None);
        };
        let (last, times) = place.row;
        if let Some(most) = claim.limits.in_a_row.map(NonZeroU32::get) {
            let wanted = ready.iter().find(|(_, uid)| (*uid == last) == (times < most));
            match wanted {
                Some(&wanted) => (n, uid) = wanted,
                None if times >= most => {
                    if let Some(other) = self.next_uid(destination, Some(last)) {
                        self.state.destinations[destination].row = (other, 0);
                        return (None, Some(other));
                    }
                }
                None => {}
            }
        }
        let place = &mut self.state.destinations[destination];
        let times = if place.row.0 == uid { place.row.1 } else { 0 };
        place.row = (uid, times.saturating_add(1));
        (Some(n), None)
    }

    /// Users whose rows for this destination are not claimed until they are named no more; their leases go on.
    pub(crate) fn hold_users(&mut self, destination: &str, users: &[u32]) {
        if let Some(&at) = self.state.destination_names.get(destination) {
            let destination = &mut self.state.destinations[at];
            destination.held = users.iter().copied().collect();
            destination.dirty = true;
        }
    }

    fn purges_of(&self, uid: u32) -> u64 {
        self.purges.get(&uid).copied().unwrap_or_default()
    }

    /// The claim's answer for a batch.
    pub(crate) fn claimed(&self, batch: &Batch, arena: Vec<u8>, events: Vec<ClaimedEvent>) -> Claimed {
        Claimed {
            id: batch.id,
            uid: batch.uid,
            destination: Arc::clone(&self.state.destinations[batch.destination].name),
            attempts: batch.attempts,
            root_events: batch.root_events,
            losses: batch.losses,
            purges: self.purges_of(batch.uid),
            arena,
            events,
        }
    }

    /// Reads a batch's events, in the order of its members.
    pub(crate) fn read_members(&self, members: &[Member]) -> rusqlite::Result<(Vec<u8>, Vec<ClaimedEvent>)> {
        let mut arena = Vec::new();
        let mut events = Vec::new();
        for member in members {
            let lane = &self.state.lanes[member.lane];
            self.each_event(lane.number, member.first, member.last, |frame, stamp| {
                events.push(self.claimed_event(&lane.lane.tool, frame, stamp, &mut arena));
                ControlFlow::Continue(())
            })?;
        }
        Ok((arena, events))
    }

    pub(crate) fn claimed_event(
        &self,
        tool: &Arc<str>,
        frame: &Frame<'_>,
        stamp: Stamp,
        arena: &mut Vec<u8>,
    ) -> ClaimedEvent {
        let start = arena.len();
        frame.payload.append_to(arena);
        ClaimedEvent {
            id: *frame.id,
            tool: Arc::clone(tool),
            epoch: stamp.epoch,
            project: frame.project.copied(),
            received: stamp.received,
            this_boot: stamp.boot == self.ages.boot,
            payload: start..arena.len(),
        }
    }

    /// Makes a batch of what was gathered, and puts it under lease.
    fn form(&mut self, destination: DestinationAt, gathered: Gathered) -> rusqlite::Result<Claimed> {
        for member in &gathered.members {
            self.scan_to(member.lane, member.last)?;
        }
        let n = self.take_batch_number();
        let place = &mut self.state.destinations[destination];
        let order = place
            .batches
            .last_key_value()
            .map_or(0, |(order, _)| order + ORDER_STEP);
        if let Some(turn) = place.uids.iter_mut().find(|turn| turn.uid == gathered.uid) {
            let start = turn.served.max(place.served);
            place.served = start;
            turn.served = start + gathered.bytes;
            turn.next = gathered.next_lane;
        }
        let batch = Batch {
            n,
            id: new_id(),
            root: n,
            root_events: u32::try_from(gathered.events.len()).unwrap_or(u32::MAX),
            uid: gathered.uid,
            destination,
            order,
            refused: 0,
            attempts: 0,
            losses: self.take_losses(gathered.uid, destination)?,
            events: gathered.events.len() as u64,
            bytes: gathered.bytes,
            members: gathered.members,
            oldest: gathered.oldest,
            lease: None,
            unheard: true,
        };
        let claimed = self.claimed(&batch, gathered.arena, gathered.events);
        self.add_batch(batch)?;
        self.state.lease(n);
        for (lane, head) in gathered.heads {
            let state = &mut self.state.lanes[lane];
            state.head = head;
            if state.waiting_events() == 0 {
                state.waiting.clear();
                state.head = None;
            } else if head.is_none() {
                self.refresh_head(lane)?;
            }
        }
        Ok(claimed)
    }
}

/// The id of a batch that was not formed.
pub(crate) const NO_ID: Id = [0; 16];

impl Store {
    /// A batch that would be formed, as a preview shows it.
    pub(crate) fn unformed(&self, destination: &Arc<str>, gathered: Gathered, losses: Losses) -> Claimed {
        Claimed {
            id: NO_ID,
            uid: gathered.uid,
            destination: Arc::clone(destination),
            attempts: 0,
            root_events: u32::try_from(gathered.events.len()).unwrap_or(u32::MAX),
            losses,
            purges: self.purges_of(gathered.uid),
            arena: gathered.arena,
            events: gathered.events,
        }
    }
}
