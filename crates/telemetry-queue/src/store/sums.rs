//! The sums that follow from lanes and batches, kept with each change: what a destination, a tool, a uid and the
//! whole queue hold, and what is under lease.

use super::state::{LaneAt, State};
use crate::types::Id;

impl State {
    /// Adds queued events of a lane to every sum that counts them. The tallies are the caller's.
    pub(crate) fn add_queued(&mut self, lane: LaneAt, events: u64, bytes: u64) {
        let state = &mut self.lanes[lane];
        state.tallies.queued += events;
        state.bytes += bytes;
        let destination = &mut self.destinations[state.destination];
        destination.queued += events;
        destination.bytes += bytes;
        destination.dirty = true;
        let tool = &mut self.tools[state.tool];
        tool.bytes += bytes;
        if let Some(uid) = self.uids.get_mut(&tool.uid) {
            uid.bytes += bytes;
        }
        self.bytes += bytes;
        self.queued += events;
        self.mark(lane);
    }

    /// Takes queued events of a lane out of every sum that counts them. The tallies are the caller's.
    pub(crate) fn take_queued(&mut self, lane: LaneAt, events: u64, bytes: u64) {
        let state = &mut self.lanes[lane];
        state.tallies.queued = state.tallies.queued.saturating_sub(events);
        state.bytes = state.bytes.saturating_sub(bytes);
        let destination = &mut self.destinations[state.destination];
        destination.queued = destination.queued.saturating_sub(events);
        destination.bytes = destination.bytes.saturating_sub(bytes);
        destination.dirty = true;
        let tool = &mut self.tools[state.tool];
        tool.bytes = tool.bytes.saturating_sub(bytes);
        if let Some(uid) = self.uids.get_mut(&tool.uid) {
            uid.bytes = uid.bytes.saturating_sub(bytes);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.queued = self.queued.saturating_sub(events);
        self.mark(lane);
    }

    /// Adds or takes a parked row's bytes.
    pub(crate) fn add_parked(&mut self, lane: LaneAt, bytes: u64) {
        let state = &mut self.lanes[lane];
        state.tallies.parked += 1;
        state.parked_bytes += bytes;
        self.tools[state.tool].parked_bytes += bytes;
        self.parked_rows += 1;
        self.mark(lane);
    }

    /// The reverse of [`add_parked`](Self::add_parked).
    pub(crate) fn take_parked(&mut self, lane: LaneAt, bytes: u64) {
        let state = &mut self.lanes[lane];
        state.tallies.parked = state.tallies.parked.saturating_sub(1);
        state.parked_bytes = state.parked_bytes.saturating_sub(bytes);
        let tool = &mut self.tools[state.tool];
        tool.parked_bytes = tool.parked_bytes.saturating_sub(bytes);
        self.parked_rows = self.parked_rows.saturating_sub(1);
        self.mark(lane);
    }

    /// A lane's row has to be written before the commit.
    pub(crate) fn mark(&mut self, lane: LaneAt) {
        if !std::mem::replace(&mut self.lanes[lane].dirty, true) {
            self.changed.push(lane);
        }
    }

    /// Puts a batch under lease by its own id.
    pub(crate) fn lease(&mut self, n: u64) {
        if let Some(batch) = self.batches.get(&n) {
            self.lease_as(n, batch.id);
        }
    }

    /// Puts a batch under lease by the id under which the lease was given.
    pub(crate) fn lease_as(&mut self, n: u64, id: Id) {
        let Some(batch) = self.batches.get_mut(&n) else {
            return;
        };
        if batch.lease.is_none() {
            batch.lease = Some(id);
            self.leases.insert(id, n);
            let destination = &mut self.destinations[batch.destination];
            destination.leased += batch.events;
            destination.leased_bytes += batch.bytes;
            destination.dirty = true;
        }
    }

    /// Ends a batch's lease.
    pub(crate) fn release(&mut self, n: u64) {
        let Some(batch) = self.batches.get_mut(&n) else {
            return;
        };
        batch.unheard = false;
        if let Some(id) = batch.lease.take() {
            self.leases.remove(&id);
            let destination = &mut self.destinations[batch.destination];
            destination.leased = destination.leased.saturating_sub(batch.events);
            destination.leased_bytes = destination.leased_bytes.saturating_sub(batch.bytes);
            destination.dirty = true;
        }
    }
}
