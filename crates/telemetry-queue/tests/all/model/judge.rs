//! The laws, checked on everything that the queue shows after a step, compared with what it showed before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use telemetry_queue::{
    Book, ClaimLimits, Claimed, Filter, Id, Lane, Purged, Row, RowState, Sent, Settled, View,
};

use super::Ending;
use super::world::{Event, Formed, Name, Place, World};
use crate::support::hex;

/// What a step did, as far as the one who took it knows.
#[derive(Default)]
pub(super) struct Deeds {
    pub(super) appended: Vec<usize>,
    pub(super) claimed: Option<(String, ClaimLimits, Option<Claimed>)>,
    pub(super) settled: Option<(Claimed, Ending, Settled)>,
    pub(super) purge: Option<Filter>,
    pub(super) receipt: Option<Purged>,
    pub(super) requeue: Option<Filter>,
    pub(super) requeued: Option<u64>,
    pub(super) restarted: bool,
}

impl Deeds {
    pub(super) fn claim(&mut self, destination: &str, limits: ClaimLimits, claimed: Option<Claimed>) {
        self.claimed = Some((destination.to_owned(), limits, claimed));
    }
}

/// Everything that the queue shows.
#[derive(Default)]
pub(super) struct Snapshot {
    pub(super) rows: Vec<Row>,
    pub(super) at: HashMap<Name, usize>,
    pub(super) books: BTreeMap<Lane, Book>,
    /// Members of each open batch.
    pub(super) open: BTreeMap<Id, BTreeSet<Name>>,
    pub(super) sent: Vec<Sent>,
    /// Names in the sent log.
    pub(super) logged: BTreeSet<Name>,
    pub(super) view: Arc<View>,
}

/// What an event counts for against the limits; the queue may count some bytes more.
fn bytes(event: &Event) -> u64 {
    event.payload.len() as u64
}

impl World {
    fn look(&self) -> Snapshot {
        let bench = self.bench();
        // The writer may expire something between two questions: then they are asked again.
        let ids = |sent: &[Sent]| sent.iter().map(|sent| sent.id).collect::<Vec<_>>();
        let (books, rows, sent, view) = loop {
            let (books, rows, sent, view) = (bench.books(), bench.rows(), bench.sent(), bench.view());
            if books == bench.books() && ids(&sent) == ids(&bench.sent()) {
                break (books, rows, sent, view);
            }
        };
        let mut now = Snapshot {
            rows,
            sent,
            view,
            ..Snapshot::default()
        };
        for (at, row) in now.rows.iter().enumerate() {
            let name = (row.lane.uid, row.lane.tool.clone(), row.id);
            assert!(
                now.at.insert(name.clone(), at).is_none(),
                "{} is there twice",
                hex(&row.id)
            );
            assert_eq!(row.state == RowState::Claimed, row.batch.is_some(), "{row:?}");
            if let Some(batch) = row.batch {
                now.open.entry(batch).or_default().insert(name);
            }
        }
        for book in books {
            assert!(book.balanced(), "{book:?}");
            assert!(now.books.insert(book.lane.clone(), book).is_none());
        }
        for sent in &now.sent {
            for member in &sent.members {
                now.logged.insert((sent.uid, member.tool.clone(), member.id));
            }
        }
        now
    }

    pub(super) fn judge(&mut self, deeds: Deeds) {
        let now = self.look();
        self.rows_are_known(&now);
        self.absent_events_are_booked(&deeds, &now);
        self.order_is_kept(&now);
        self.purge_is_complete(&deeds, &now);
        self.batches_keep_their_members(&deeds, &now);
        if let Some((lease, ending, settled)) = &deeds.settled {
            self.settlement_is_right(lease, *ending, *settled, &now);
        }
        if let Some((destination, limits, claimed)) = &deeds.claimed {
            self.claim_is_right(destination, *limits, claimed.as_ref(), &now, &deeds);
        }
        if let Some((_, _, Some(claimed))) = deeds.claimed {
            self.leases.push(claimed);
        }
        self.refused.retain(|batch| now.open.contains_key(batch));
        self.sent_log_is_right(&now);
        self.view_is_right(&now);
        self.before = now;
    }

    /// The members of a lease that were there before this step: some may have been purged, and appended anew.
    fn under<'a>(&'a self, lease: &'a Claimed) -> impl Iterator<Item = Name> + 'a {
        let rows = lease.events.iter().filter_map(|event| {
            let name = (lease.uid, event.tool.clone(), event.id);
            self.before
                .at
                .get(&name)
                .map(|&row| (name, &self.before.rows[row]))
        });
        rows.filter(|(_, row)| row.batch == Some(lease.id))
            .map(|(name, _)| name)
    }

    /// Each row is an event that was accepted, unchanged, and not one that had left.
    fn rows_are_known(&mut self, now: &Snapshot) {
        for row in &now.rows {
            let name = (row.lane.uid, row.lane.tool.clone(), row.id);
            let event = &mut self.events[self.index[&name]];
            assert_eq!(event.lane, row.lane);
            assert_eq!(event.payload, row.payload);
            assert_eq!(event.received, row.received);
            assert!(
                matches!(event.place, Place::Queued | Place::Parked),
                "{} has left as {:?} and is back",
                hex(&row.id),
                event.place
            );
            assert_eq!(row.state == RowState::Parked, row.parked.is_some());
        }
    }

    /// Each event that was there and is not any more has left by a way that the books name.
    fn absent_events_are_booked(&mut self, deeds: &Deeds, now: &Snapshot) {
        let leased: BTreeSet<Name> = self.leases.iter().flat_map(|lease| self.under(lease)).collect();
        let delivered: BTreeSet<Name> = match &deeds.settled {
            Some((lease, Ending::Delivered, _)) => self.under(lease).collect(),
            _ => BTreeSet::new(),
        };
        let mut count: BTreeMap<Lane, Book> = BTreeMap::new();
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
                    let why = event.place == Place::Parked || deeds.settled.is_some();
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
                    book.purged += 1;
                    Place::Gone
                }
                None => {
                    assert!(
                        !leased.contains(&name),
                        "{} is in flight and has gone",
                        hex(&event.id)
                    );
                    // Expired or evicted: told apart below, by number.
                    book.evicted += 1;
                    book.expired += u64::from(self.is_old(event));
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
            assert_eq!(is.purged - was.purged, counted.purged, "purged of {lane:?}");
            assert_eq!(is.lost, 0, "lost of {lane:?}");
            assert_eq!(
                (is.queued, is.parked),
                (counted.queued, counted.parked),
                "rows of {lane:?}"
            );
            let (evicted, expired) = (is.evicted - was.evicted, is.expired - was.expired);
            assert_eq!(
                evicted + expired,
                counted.evicted,
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
    fn order_is_kept(&self, now: &Snapshot) {
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

    fn purge_is_complete(&self, deeds: &Deeds, now: &Snapshot) {
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

    /// I8: an id stands for its members, and an unsettled batch whose members are all there is there.
    fn batches_keep_their_members(&mut self, deeds: &Deeds, now: &Snapshot) {
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
            Some((lease, Ending::Delivered | Ending::Split | Ending::Bisect(_), _)) => {
                self.under(lease).collect()
            }
            _ => BTreeSet::new(),
        };
        for (batch, members) in &self.before.open {
            let whole = members.iter().all(|name| now.at.contains_key(name));
            let ends = !ended.is_disjoint(members);
            // The fate of a refused event may be decided by the settling of another, or by its going.
            let renamed = self.formed[batch].members.len() != members.len();
            if whole && !ends && !renamed && !self.refused.contains(batch) {
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

    fn settlement_is_right(&mut self, lease: &Claimed, ending: Ending, settled: Settled, now: &Snapshot) {
        // What was purged under lease is not there to be settled.
        let here: Vec<Name> = self.under(lease).collect();
        let state = |name: &Name| now.at.get(name).map(|&row| &now.rows[row]);
        let changed = here.len() != lease.events.len();
        match ending {
            Ending::Delivered => assert!(!settled.refuses_everything),
            Ending::Retry | Ending::Release => {
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

    fn claim_is_right(
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

    /// Every entry is a batch that was delivered, the newest are kept, and bodies are what was sent.
    fn sent_log_is_right(&self, now: &Snapshot) {
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

    fn view_is_right(&self, now: &Snapshot) {
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
