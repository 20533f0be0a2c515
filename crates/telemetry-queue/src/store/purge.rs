//! Purging: what consent no longer covers, what the user wants gone. Under lease or not.
//!
//! I3. In slices of one transaction each, so that the WAL stays small and nobody waits for another's purge (I13); one
//! that is interrupted by a crash is asked for again by the caller, who knows what may stay. Erased means erased: with `secure_delete=ON` the bytes
//! leave the pages, and the writer sweeps what lies between their rows and empties the WAL afterwards.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Store;
use super::batches::new_id;
use super::load::{count, stored};
use super::segments::{Edit, frame_cost};
use super::state::LaneAt;
use crate::schema::{key, seq_of};
use crate::types::{Filter, Id, Lane, PurgeReason, Purged};

/// Segments that one transaction looks at, and their bytes, the last one's aside: a millisecond or two, after which others
/// have their turn. (Each transaction writes some ten pages beside those that it empties: smaller ones cost more in all.)
const SLICE: u32 = 16;
const SLICE_BYTES: u64 = 96 * 1024;

/// A purge that is under way: carried on a slice at a time, with other commands between, and over what was there when
/// it began.
#[derive(Debug)]
pub(crate) struct Purging {
    pub(crate) filter: Filter,
    pub(crate) reason: PurgeReason,
    selection: Selection,
    /// The lanes, each with the first sequence number that is not meant.
    lanes: Vec<(Arc<Lane>, u64)>,
    /// The lane whose turn it is, and from where.
    at: usize,
    from: u64,
    /// After which of the parked rows; `None`: those are done.
    parked: Option<u64>,
    /// The sent log's metadata goes too.
    forget: bool,
    /// What was erased so far.
    pub(crate) purged: Purged,
    /// All of it was erased, and the pages are swept from this one down.
    pub(crate) sweeping: Option<u32>,
}

/// A filter made ready: which lanes, and which of their events.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    pub(crate) lanes: Vec<LaneAt>,
    project: Option<Id>,
    epoch_below: Option<u64>,
    ids: Option<HashSet<Id>>,
}

impl Selection {
    /// Whether an event of one of the lanes is meant.
    pub(crate) fn takes(&self, id: &Id, project: Option<&Id>, epoch: u64) -> bool {
        self.epoch_below.is_none_or(|below| epoch < below)
            && self.project.as_ref().is_none_or(|of| project == Some(of))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(id))
    }

    /// Whether every event of the lanes is meant.
    fn takes_all(&self) -> bool {
        self.project.is_none() && self.epoch_below.is_none() && self.ids.is_none()
    }
}

/// Who holds a range of a lane: a batch or a sent row, by number.
#[derive(Clone, Copy)]
struct Holder {
    first: u64,
    last: u64,
    n: u64,
    sent: bool,
}

/// Events and bytes that were taken out.
#[derive(Clone, Copy, Default)]
struct Taken {
    events: u64,
    bytes: u64,
}

impl Store {
    /// Makes a filter ready.
    pub(crate) fn select(&self, filter: &Filter) -> Selection {
        Selection {
            lanes: self.lanes_of(filter),
            project: filter.project,
            epoch_below: filter.epoch_below,
            ids: filter.ids.as_ref().map(|ids| ids.iter().copied().collect()),
        }
    }

    fn lanes_of(&self, filter: &Filter) -> Vec<LaneAt> {
        let lanes = self.state.lanes.iter().enumerate().filter(|(_, state)| {
            let lane = &state.lane;
            filter.uid.is_none_or(|uid| uid == lane.uid)
                && filter.tool.as_ref().is_none_or(|tool| *tool == lane.tool)
                && filter
                    .destination
                    .as_ref()
                    .is_none_or(|destination| *destination == lane.destination)
        });
        lanes.map(|(at, _)| at).collect()
    }

    /// Makes a purge ready, of what is there now. Nothing is erased yet.
    pub(crate) fn begin_purge(&self, filter: &Filter, reason: PurgeReason) -> Purging {
        let selection = self.select(filter);
        let lanes = selection.lanes.iter().map(|&at| {
            let state = &self.state.lanes[at];
            (Arc::clone(&state.lane), state.next_seq)
        });
        Purging {
            lanes: lanes.collect(),
            at: 0,
            from: 0,
            parked: Some(0),
            forget: reason == PurgeReason::Forget && selection.takes_all(),
            selection,
            filter: filter.clone(),
            reason,
            purged: Purged::default(),
            sweeping: None,
        }
    }

    /// Erases a slice of it, in a transaction of its own; `false`: there was nothing left to erase.
    pub(crate) fn purge_on(&mut self, work: &mut Purging) -> rusqlite::Result<bool> {
        if let Some((lane, end)) = work.lanes.get(work.at) {
            // By its name: after a transaction that was undone its place may be another.
            let at = self.state.lane_names.get(&**lane).copied();
            let uid = lane.uid;
            let next = match at {
                Some(at) if work.from < *end => {
                    let (selection, reason) = (&work.selection, work.reason);
                    let (slice, next) = self.transaction(|store| {
                        store.purge_slice(at, (work.from, end - 1), selection, reason)
                    })?;
                    if slice.queued > 0 {
                        *Arc::make_mut(&mut self.purges).entry(uid).or_default() += 1;
                    }
                    work.purged.queued += slice.queued;
                    work.purged.sent_bodies += slice.sent_bodies;
                    next
                }
                _ => None,
            };
            (work.at, work.from) = match next {
                Some(next) => (work.at, next),
                None => (work.at + 1, 0),
            };
            return Ok(true);
        }
        work.selection.lanes = self.lanes_of(&work.filter);
        if let Some(from) = work.parked {
            let (rows, next) = self.transaction(|store| store.purge_parked(&work.selection, from))?;
            work.purged.parked += rows;
            work.parked = next;
            return Ok(true);
        }
        if work.forget {
            self.transaction(|store| store.forget_sent(&work.lanes))?;
            work.forget = false;
            return Ok(true);
        }
        Ok(false)
    }

    /// Purges the segments of a lane from a sequence number on up to another, a slice of them; says where the next one
    /// begins.
    fn purge_slice(
        &mut self,
        lane: LaneAt,
        (first, end): (u64, u64),
        selection: &Selection,
        reason: PurgeReason,
    ) -> rusqlite::Result<(Purged, Option<u64>)> {
        let number = self.state.lanes[lane].number;
        let next = self.slice_end(number, first, end)?;
        let last = next.map_or(end, |next| next - 1);
        self.scan_to(lane, last)?;
        let holders = self.holders(lane, first, last)?;
        let (mut waiting, mut held): (Taken, HashMap<(u64, u64), Taken>) = Default::default();
        let (mut sent, mut bodies): (HashMap<u64, Taken>, u64) = Default::default();
        self.edit_range(lane, first, last, |frame, stamp| {
            if !selection.takes(frame.id, frame.project, stamp.epoch) {
                return Edit::Keep;
            }
            let at = holders.partition_point(|holder| holder.last < frame.seq);
            let holder = holders.get(at).filter(|holder| holder.first <= frame.seq);
            let taken = match holder {
                None => &mut waiting,
                Some(holder) if holder.sent => {
                    bodies += u64::from(!frame.stripped);
                    sent.entry(holder.n).or_default()
                }
                Some(holder) => held.entry((holder.n, holder.first)).or_default(),
            };
            taken.events += 1;
            match holder {
                // The sent log keeps the ids: they tell duplicates, and are the user's own evidence.
                Some(holder) if holder.sent && reason != PurgeReason::Forget => {
                    taken.bytes += frame.payload.len() as u64;
                    Edit::Strip
                }
                _ => {
                    taken.bytes += frame_cost(frame);
                    Edit::Drop
                }
            }
        })?;
        let mut queued = waiting.events;
        self.book_purged(lane, waiting);
        for ((n, first), taken) in held {
            queued += taken.events;
            self.book_purged(lane, taken);
            self.shrink_batch(n, lane, first, taken)?;
        }
        for (n, taken) in sent {
            self.shrink_entry(n, taken.bytes)?;
        }
        self.refresh_head(lane)?;
        Ok((
            Purged {
                queued,
                parked: 0,
                sent_bodies: bodies,
            },
            next,
        ))
    }

    /// Where the slice after the one that begins there begins.
    fn slice_end(&self, number: u32, first: u64, end: u64) -> rusqlite::Result<Option<u64>> {
        let mut select = self.connection.prepare_cached(
            // In the heap, of which nine bytes say where, they are half a page at most.
            "SELECT key, iif(length(body) = 9, 8192, length(body)) FROM segment
             WHERE key BETWEEN ?1 AND ?2 ORDER BY key",
        )?;
        let mut rows = select.query((key(number, first), key(number, end)))?;
        let (mut segments, mut bytes) = (0, 0);
        while let Some(row) = rows.next()? {
            if segments == SLICE || bytes >= SLICE_BYTES {
                return Ok(Some(seq_of(row.get(0)?)));
            }
            (segments, bytes) = (segments + 1, bytes + count(row, 1)?);
        }
        Ok(None)
    }

    fn book_purged(&mut self, lane: LaneAt, taken: Taken) {
        self.state.lanes[lane].tallies.purged += taken.events;
        self.state.take_queued(lane, taken.events, taken.bytes);
    }

    /// Who holds what of a range of a lane, in order.
    fn holders(&self, lane: LaneAt, first: u64, last: u64) -> rusqlite::Result<Vec<Holder>> {
        let mut holders = Vec::new();
        let mut select = self.connection.prepare_cached(
            "SELECT batch, first, last FROM member WHERE lane = ?1 AND last >= ?2 AND first <= ?3 ORDER BY first",
        )?;
        let mut rows = select.query((self.state.lanes[lane].number, stored(first), stored(last)))?;
        while let Some(row) = rows.next()? {
            let n = count(row, 0)?;
            let sent = !self.state.batches.contains_key(&n);
            holders.push(Holder {
                first: count(row, 1)?,
                last: count(row, 2)?,
                n,
                sent,
            });
        }
        Ok(holders)
    }

    /// Takes events out of a batch, which gets a new id for it; an empty one ends.
    fn shrink_batch(&mut self, n: u64, lane: LaneAt, first: u64, taken: Taken) -> rusqlite::Result<()> {
        let Some(batch) = self.state.batches.get_mut(&n) else {
            return Ok(());
        };
        if batch.lease.is_some() {
            let destination = &mut self.state.destinations[batch.destination];
            destination.leased = destination.leased.saturating_sub(taken.events);
            destination.leased_bytes = destination.leased_bytes.saturating_sub(taken.bytes);
        }
        batch.events = batch.events.saturating_sub(taken.events);
        batch.bytes = batch.bytes.saturating_sub(taken.bytes);
        batch.id = new_id();
        let lease = batch.lease;
        let (id, events, bytes, root, refused) =
            (batch.id, batch.events, batch.bytes, batch.root, batch.refused);
        let number = self.state.lanes[lane].number;
        if let Some(member) = batch
            .members
            .iter_mut()
            .find(|member| member.lane == lane && member.first == first)
        {
            member.events = member.events.saturating_sub(taken.events);
            member.bytes = member.bytes.saturating_sub(taken.bytes);
            let (events, bytes) = (member.events, member.bytes);
            batch.members.retain(|member| member.events > 0);
            let place = (stored(n), number, stored(first));
            if events == 0 {
                self.execute(
                    "DELETE FROM member WHERE batch = ?1 AND lane = ?2 AND first = ?3",
                    place,
                )?;
            } else {
                self.execute(
                    "UPDATE member SET events = ?4, bytes = ?5 WHERE batch = ?1 AND lane = ?2 AND first = ?3",
                    (place.0, place.1, place.2, stored(events), stored(bytes)),
                )?;
            }
        }
        let state = &mut self.state.lanes[lane];
        state.held = state.held.saturating_sub(taken.events);
        let members = self.state.batches.get(&n).map(|batch| batch.members.clone());
        let oldest = self.oldest_of(&members.unwrap_or_default())?;
        if let (Some(batch), Some(oldest)) = (self.state.batches.get_mut(&n), oldest) {
            batch.oldest = oldest;
        }
        let received = oldest.map(|oldest| {
            (
                oldest.received.wall_ms,
                stored(oldest.received.boot_ms),
                oldest.boot,
            )
        });
        let (wall_ms, boot_ms, boot) = received.unwrap_or_default();
        self.execute(
            "UPDATE batch SET id = ?2, events = ?3, bytes = ?4, wall_ms = ?5, boot_ms = ?6, boot = ?7 WHERE n = ?1",
            (stored(n), id, stored(events), stored(bytes), wall_ms, boot_ms, boot),
        )?;
        if let Some(of) = self.state.roots.get_mut(&root) {
            of.events = of.events.saturating_sub(taken.events);
            if refused != 0 {
                of.refused = of.refused.saturating_sub(taken.events);
                of.waiting.retain(|&waiting| waiting != n);
            }
        }
        self.write_root(root)?;
        if events == 0
            && let Some(batch) = self.remove_batch(n, true)?
        {
            self.add_losses(batch.uid, batch.destination, batch.losses)?;
            if let Some(lease) = lease {
                self.ghosts.insert(lease, batch.destination);
            }
            if refused == 0 {
                self.piece_gone(root)?;
            }
        }
        Ok(())
    }

    /// Takes bytes out of what a sent entry counts for.
    fn shrink_entry(&mut self, n: u64, bytes: u64) -> rusqlite::Result<()> {
        let at = self.state.sent.partition_point(|entry| entry.n < n);
        if let Some(entry) = self.state.sent.get_mut(at).filter(|entry| entry.n == n) {
            let (uid, bytes) = (entry.uid, bytes.min(entry.kept));
            entry.kept -= bytes;
            self.state.less_sent(uid, bytes);
        }
        self.execute(
            "UPDATE sent SET kept = max(0, kept - ?2) WHERE n = ?1",
            [stored(n), stored(bytes)],
        )
        .map(|_| ())
    }
}
