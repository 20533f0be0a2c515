//! The snapshot that other threads watch: only the lines of destinations that changed are made anew.

use std::sync::Arc;

use super::Store;
use super::state::{Destination, oldest};
use crate::types::{View, Waiting};

impl Store {
    /// The view after a change, or `None` where nothing in it changed.
    pub(crate) fn next_view(&mut self, last: &View, disk_full: bool) -> Option<View> {
        if last.disk_full == disk_full
            && !self
                .state
                .destinations
                .iter()
                .any(|destination| destination.dirty)
        {
            return None;
        }
        let mut view = View {
            destinations: last.destinations.clone(),
            events: self.state.queued,
            bytes: self.state.bytes,
            purges: Arc::clone(&self.purges),
            disk_full,
        };
        for at in 0..self.state.destinations.len() {
            if !std::mem::take(&mut self.state.destinations[at].dirty) {
                continue;
            }
            let destination = &self.state.destinations[at];
            let waiting = self.waiting(destination);
            match view
                .destinations
                .binary_search_by(|(name, _)| name.cmp(&destination.name))
            {
                Ok(place) => view.destinations[place].1 = waiting,
                Err(place) => view
                    .destinations
                    .insert(place, (Arc::clone(&destination.name), waiting)),
            }
        }
        (view != *last).then_some(view)
    }

    /// The view as if this uid were alone. `left` shrinks where parked rows are put back.
    pub(crate) fn view_of(&self, uid: u32, disk_full: bool) -> View {
        let mut view = View {
            disk_full,
            ..View::default()
        };
        for destination in &self.state.destinations {
            let Some(turn) = destination.uids.iter().find(|turn| turn.uid == uid) else {
                continue;
            };
            let (mut waiting, mut first) = (Waiting::default(), None);
            let (mut queued, mut bytes, mut leased_bytes) = (0, 0, 0);
            for lane in turn.lanes.iter().map(|&lane| &self.state.lanes[lane]) {
                queued += lane.tallies.queued;
                bytes += lane.bytes;
                waiting.accepted += lane.tallies.accepted;
                waiting.left += lane.tallies.accepted - lane.tallies.queued;
                first = oldest(first, lane.head);
            }
            let batches = destination
                .batches
                .values()
                .filter_map(|n| self.state.batches.get(n));
            for batch in batches.filter(|batch| batch.uid == uid) {
                if batch.lease.is_some() {
                    waiting.leased += batch.events;
                    leased_bytes += batch.bytes;
                } else {
                    waiting.open_batches += 1;
                    first = oldest(first, Some(batch.oldest));
                }
            }
            waiting.events = queued.saturating_sub(waiting.leased);
            waiting.bytes = bytes.saturating_sub(leased_bytes);
            waiting.oldest = first.map(|stamp| stamp.received);
            waiting.oldest_this_boot = first.is_some_and(|stamp| stamp.boot == self.ages.boot);
            view.events += queued;
            view.bytes += bytes;
            view.destinations.push((Arc::clone(&destination.name), waiting));
        }
        view.destinations.sort_by(|(one, _), (other, _)| one.cmp(other));
        view
    }

    fn waiting(&self, destination: &Destination) -> Waiting {
        let (held, held_bytes) = self.held(destination);
        let goes = |uid: u32| !destination.held.contains(&uid);
        let turns = destination.uids.iter().filter(|turn| goes(turn.uid));
        let lanes = turns.flat_map(|turn| &turn.lanes);
        let heads = lanes.fold(None, |all, &lane| oldest(all, self.state.lanes[lane].head));
        let open = destination
            .batches
            .values()
            .filter_map(|n| self.state.batches.get(n));
        let (mut open_batches, mut first) = (0, heads);
        for batch in open.filter(|batch| batch.lease.is_none() && goes(batch.uid)) {
            open_batches += 1;
            first = oldest(first, Some(batch.oldest));
        }
        let accepted = destination.accepted + destination.requeued;
        Waiting {
            events: destination
                .queued
                .saturating_sub(destination.leased + held.iter().map(|(_, events)| events).sum::<u64>()),
            bytes: destination
                .bytes
                .saturating_sub(destination.leased_bytes + held_bytes),
            open_batches,
            oldest: first.map(|stamp| stamp.received),
            oldest_this_boot: first.is_some_and(|stamp| stamp.boot == self.ages.boot),
            leased: destination.leased,
            left: accepted.saturating_sub(destination.queued),
            accepted,
            held,
        }
    }

    /// The users that are held, each with its events that are not under lease; and the bytes of all of these.
    fn held(&self, destination: &Destination) -> (Vec<(u32, u64)>, u64) {
        let mut bytes = 0;
        let of = |uid: &u32| {
            let turn = destination.uids.iter().find(|turn| turn.uid == *uid);
            let lanes = turn.into_iter().flat_map(|turn| &turn.lanes);
            let (mut events, mut own) = (0, 0);
            for lane in lanes.map(|&lane| &self.state.lanes[lane]) {
                events += lane.tallies.queued;
                own += lane.bytes;
            }
            let batches = destination
                .batches
                .values()
                .filter_map(|n| self.state.batches.get(n));
            for batch in batches.filter(|batch| batch.uid == *uid && batch.lease.is_some()) {
                events = events.saturating_sub(batch.events);
                own = own.saturating_sub(batch.bytes);
            }
            bytes += own;
            (*uid, events)
        };
        let held = destination.held.iter().map(of).collect();
        (held, bytes)
    }
}
