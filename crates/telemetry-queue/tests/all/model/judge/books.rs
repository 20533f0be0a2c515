//! Laws of the books: I2 and I5, eviction, expiry and purge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use telemetry_queue::{Book, Filter, Lane, RowState};

use super::super::Ending;
use super::super::world::{Event, Name, Place, World};
use super::{Deeds, Snapshot};
use crate::support::hex;

impl World {
    /// Each event that was there and is not any more has left by a way that the books name.
    pub(super) fn absent_events_are_booked(&mut self, deeds: &Deeds, now: &Snapshot) {
        let leased: BTreeSet<Name> = self.leases.iter().flat_map(|lease| self.under(lease)).collect();
        let delivered: BTreeSet<Name> = match &deeds.settled {
            Some((lease, Ending::Delivered, _)) => self.under(lease).collect(),
            _ => BTreeSet::new(),
        };
        let mut count: BTreeMap<Lane, Book> = BTreeMap::new();
        // `lost`: all that left otherwise than by delivery; `purged`, `expired`: those that must, or may, have been.
        let mut left = Vec::new();
        for &at in &deeds.appended {
            tally(&mut count, &self.events[at].lane).accepted += 1;
        }
        for at in 0..self.events.len() {
            let event = &self.events[at];
            if !matches!(event.place, Place::Queued | Place::Parked) {
                continue;
            }
            let name = (event.lane.uid, event.lane.tool.clone(), event.id);
            let row = (self.index[&name] == at)
                .then(|| now.at.get(&name).map(|&row| &now.rows[row]))
                .flatten();
            let book = tally(&mut count, &event.lane);
            let place = match row {
                Some(row) if row.state == RowState::Parked => {
                    let before = self
                        .before
                        .at
                        .get(&name)
                        .and_then(|&row| self.before.rows[row].batch);
                    let refused = before.is_some_and(|batch| self.refused.contains(&batch));
                    let why = event.place == Place::Parked || deeds.settled.is_some() || refused;
                    assert!(why, "{} was parked by nothing", hex(&event.id));
                    book.parked += 1;
                    Place::Parked
                }
                Some(_) => {
                    if event.place == Place::Parked {
                        let back = deeds
                            .requeue
                            .as_ref()
                            .is_some_and(|filter| matches(filter, event));
                        assert!(back, "{} was parked and is queued", hex(&event.id));
                    }
                    book.queued += 1;
                    Place::Queued
                }
                None if event.place == Place::Queued && delivered.contains(&name) => {
                    book.delivered += 1;
                    Place::Delivered
                }
                None if deeds.purge.as_ref().is_some_and(|filter| matches(filter, event)) => {
                    // What was old enough may have expired just before.
                    let old = self.is_old(event) && !leased.contains(&name);
                    book.purged += u64::from(!old);
                    book.expired += u64::from(old);
                    book.lost += 1;
                    Place::Gone
                }
                None => {
                    assert!(
                        !leased.contains(&name),
                        "{} is in flight and has gone",
                        hex(&event.id)
                    );
                    // Expired or evicted: told apart below, by number.
                    book.expired += u64::from(self.is_old(event));
                    book.lost += 1;
                    left.push(at);
                    Place::Gone
                }
            };
            self.events[at].place = place;
        }
        for (lane, counted) in &count {
            let zero = empty(lane);
            let was = self.before.books.get(lane).unwrap_or(&zero);
            let Some(is) = now.books.get(lane) else {
                panic!("no books of {lane:?}")
            };
            assert_eq!(
                is.accepted - was.accepted,
                counted.accepted,
                "accepted of {lane:?}"
            );
            assert_eq!(
                is.delivered - was.delivered,
                counted.delivered,
                "delivered of {lane:?}"
            );
            let (purged, evicted) = (is.purged - was.purged, is.evicted - was.evicted);
            let expired = is.expired - was.expired;
            assert!(
                purged >= counted.purged && (purged == 0 || deeds.purge.is_some()),
                "{purged} purged of {lane:?}, not {}",
                counted.purged
            );
            assert_eq!(is.lost, 0, "lost of {lane:?}");
            assert_eq!(
                (is.queued, is.parked),
                (counted.queued, counted.parked),
                "rows of {lane:?}"
            );
            assert_eq!(
                purged + evicted + expired,
                counted.lost,
                "left of {lane:?}: {is:?} after {was:?}"
            );
            assert!(
                expired <= counted.expired,
                "{expired} of {lane:?} expired, {} were old enough",
                counted.expired
            );
            if evicted > 0 {
                self.eviction_was_needed(lane, &left);
            }
        }
        for (lane, is) in &now.books {
            if !count.contains_key(lane) {
                assert_eq!(
                    Some(is),
                    self.before.books.get(lane).or(Some(&empty(lane))),
                    "books changed by nothing"
                );
            }
        }
        self.oldest_went_first(&left);
    }

    /// More was there than the limits allow: in all, or of that tool.
    fn eviction_was_needed(&self, lane: &Lane, left: &[usize]) {
        let limits = &self.options.limits;
        let there = |event: &&Event| event.place == Place::Queued || event.place == Place::Parked;
        let gone = || left.iter().map(|&at| &self.events[at]);
        // What the queue counts beside the payload is its own affair; 128 bytes is more than it has a right to.
        let sum =
            |events: &mut dyn Iterator<Item = &Event>| events.map(|event| bytes(event) + 128).sum::<u64>();
        let all = sum(&mut self.events.iter().filter(there).chain(gone()));
        let same = |event: &&Event| event.lane.uid == lane.uid && event.lane.tool == lane.tool;
        let tool = sum(&mut self.events.iter().filter(there).chain(gone()).filter(same));
        assert!(
            all > limits.max_bytes || tool > limits.max_bytes_per_tool,
            "evicted although there was room: {all} bytes in all, {tool} of {lane:?}"
        );
    }

    /// Within a lane nothing that waits is older than something that was evicted or expired.
    fn oldest_went_first(&self, left: &[usize]) {
        let waited: BTreeMap<Name, usize> = self
            .before
            .rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.state == RowState::Waiting)
            .map(|(at, row)| ((row.lane.uid, row.lane.tool.clone(), row.id), at))
            .collect();
        let mut newest: BTreeMap<Arc<Lane>, usize> = BTreeMap::new();
        for &at in left {
            let event = &self.events[at];
            if let Some(&place) = waited.get(&(event.lane.uid, event.lane.tool.clone(), event.id)) {
                let newest = newest.entry(event.lane.clone()).or_default();
                *newest = (*newest).max(place);
            }
        }
        for event in self.events.iter().filter(|event| event.place == Place::Queued) {
            let name = (event.lane.uid, event.lane.tool.clone(), event.id);
            if let (Some(place), Some(newest)) = (waited.get(&name), newest.get(&event.lane)) {
                assert!(
                    place > newest,
                    "{} is older than what was evicted, and stays",
                    hex(&event.id)
                );
            }
        }
    }

    /// Rows of a lane stay in their order.
    pub(super) fn order_is_kept(&self, now: &Snapshot) {
        let mut last: BTreeMap<Arc<Lane>, usize> = BTreeMap::new();
        for row in now.rows.iter().filter(|row| row.state != RowState::Parked) {
            let name = (row.lane.uid, row.lane.tool.clone(), row.id);
            let Some(&before) = self.before.at.get(&name) else {
                continue;
            };
            if self.before.rows[before].state == RowState::Parked {
                continue;
            }
            if let Some(last) = last.insert(row.lane.clone(), before) {
                assert!(last < before, "{} has changed its place", hex(&row.id));
            }
        }
    }

    pub(super) fn purge_is_complete(&self, deeds: &Deeds, now: &Snapshot) {
        if let (Some(filter), Some(receipt)) = (&deeds.purge, deeds.receipt) {
            let mut gone = (0, 0);
            for row in &self.before.rows {
                let event = &self.events[self.index[&(row.lane.uid, row.lane.tool.clone(), row.id)]];
                if matches(filter, event) {
                    if row.state == RowState::Parked {
                        gone.1 += 1
                    } else {
                        gone.0 += 1
                    }
                }
            }
            for row in &now.rows {
                let event = &self.events[self.index[&(row.lane.uid, row.lane.tool.clone(), row.id)]];
                assert!(
                    !matches(filter, event),
                    "{} was purged and is there",
                    hex(&row.id)
                );
            }
            assert!(
                receipt.queued <= gone.0 && receipt.parked <= gone.1,
                "{receipt:?}, at most {gone:?}"
            );
            for sent in &now.sent {
                for member in &sent.members {
                    let name = (sent.uid, member.tool.clone(), member.id);
                    let event = &self.events[self.index[&name]];
                    let kept = !member.payload.is_empty() && event.place == Place::Delivered;
                    assert!(
                        !(kept && matches(filter, event)),
                        "a purged body is in the sent log"
                    );
                }
            }
        }
        if let (Some(filter), Some(requeued)) = (&deeds.requeue, deeds.requeued) {
            let back = self.before.rows.iter().filter(|row| {
                let event = &self.events[self.index[&(row.lane.uid, row.lane.tool.clone(), row.id)]];
                row.state == RowState::Parked && matches(filter, event)
            });
            assert!(requeued <= back.count() as u64);
        }
    }
}

fn empty(lane: &Lane) -> Book {
    Book {
        lane: lane.clone(),
        accepted: 0,
        delivered: 0,
        parked: 0,
        queued: 0,
        evicted: 0,
        expired: 0,
        purged: 0,
        lost: 0,
    }
}

fn tally<'a>(count: &'a mut BTreeMap<Lane, Book>, lane: &Lane) -> &'a mut Book {
    count.entry(lane.clone()).or_insert_with(|| empty(lane))
}

fn matches(filter: &Filter, event: &Event) -> bool {
    filter.uid.is_none_or(|uid| uid == event.lane.uid)
        && filter.tool.as_ref().is_none_or(|tool| *tool == event.lane.tool)
        && filter
            .destination
            .as_ref()
            .is_none_or(|destination| *destination == event.lane.destination)
        && filter
            .project
            .is_none_or(|project| event.project == Some(project))
        && filter.epoch_below.is_none_or(|epoch| event.epoch < epoch)
        && filter.ids.as_ref().is_none_or(|ids| ids.contains(&event.id))
}

/// What an event counts for against the limits; the queue may count some bytes more.
fn bytes(event: &Event) -> u64 {
    event.payload.len() as u64
}
