//! Claiming: a batch that was formed before, else a new one of the oldest waiting events.
//!
//! A batch holds one uid. Uids share a destination by bytes (start-time fair queueing: the uid that was served
//! least goes next, and one that had nothing to send gains no credit meanwhile); within a uid the tools take turns
//! of [`QUANTUM`] bytes (surplus round robin), so that a noisy one does not hold back the others.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Store;
use super::batches::{ORDER_STEP, new_id};
use super::segments::frame_cost;
use super::state::{Batch, DestinationAt, LaneAt, Member, oldest};
use crate::command::Claim;
use crate::segment::{Frame, Stamp};
use crate::types::{ClaimLimits, Claimed, ClaimedEvent, Id, Losses};

/// Bytes that a tool takes in its turn: a sixteenth of the default batch, so that sixteen busy tools share one.
const QUANTUM: u64 = 16 * 1024;

/// What a claim would take.
pub(crate) struct Gathered {
    pub(crate) uid: u32,
    pub(crate) members: Vec<Member>,
    pub(crate) events: Vec<ClaimedEvent>,
    pub(crate) arena: Vec<u8>,
    bytes: u64,
    oldest: Stamp,
    /// The lanes that were read, each with the stamp of what waits there next.
    heads: Vec<(LaneAt, Option<Stamp>)>,
    /// The lane whose turn it is in the next batch.
    next_lane: usize,
}

/// What a batch may still take.
struct Budget {
    events: u32,
    bytes: u64,
    per_event: u64,
    first: bool,
}

/// One lane's part of a batch in the making.
struct Part {
    lane: LaneAt,
    members: Vec<Member>,
    events: Vec<ClaimedEvent>,
    /// The range of the lane's waiting events that is being read, and from where.
    range: usize,
    from: u64,
    /// What stands at `from`, once that is known.
    next: Option<Stamp>,
    oldest: Option<Stamp>,
    done: bool,
}

/// Why a part stopped taking.
#[derive(PartialEq, Eq)]
enum Stop {
    Turn,
    Full,
    Empty,
}

impl Store {
    /// Takes a batch under lease.
    pub(crate) fn claim(&mut self, claim: &Claim) -> rusqlite::Result<Option<Claimed>> {
        let Some(&destination) = self.state.destination_names.get(&claim.destination) else {
            return Ok(None);
        };
        self.flush_segments()?;
        let formed = self.state.destinations[destination].batches.values();
        let ready = formed.copied().find(|n| {
            self.state
                .batches
                .get(n)
                .is_some_and(|batch| batch.lease.is_none())
        });
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
        let Some(uid) = self.next_uid(destination) else {
            return Ok(None);
        };
        let Some(gathered) = self.gather(destination, uid, claim.limits)? else {
            return Ok(None);
        };
        self.form(destination, gathered).map(Some)
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
        arena.extend_from_slice(frame.payload);
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

    /// The uid whose turn it is among those with waiting events.
    pub(crate) fn next_uid(&self, destination: DestinationAt) -> Option<u32> {
        let destination = &self.state.destinations[destination];
        destination
            .uids
            .iter()
            .filter(|turn| {
                turn.lanes
                    .iter()
                    .any(|&lane| self.state.lanes[lane].waiting_events() > 0)
            })
            .min_by_key(|turn| turn.served.max(destination.served))
            .map(|turn| turn.uid)
    }

    /// What a new batch of this uid would hold. Changes nothing.
    pub(crate) fn gather(
        &self,
        destination: DestinationAt,
        uid: u32,
        limits: ClaimLimits,
    ) -> rusqlite::Result<Option<Gathered>> {
        let Some(turn) = self.state.destinations[destination]
            .uids
            .iter()
            .find(|turn| turn.uid == uid)
        else {
            return Ok(None);
        };
        let lanes = turn.lanes.len();
        let in_turn = (0..lanes).map(|step| turn.lanes[(turn.next + step) % lanes]);
        let mut parts: Vec<Part> = in_turn
            .filter(|&lane| self.state.lanes[lane].waiting_events() > 0)
            .map(|lane| Part {
                lane,
                members: Vec::new(),
                events: Vec::new(),
                range: 0,
                from: 0,
                next: None,
                oldest: None,
                done: false,
            })
            .collect();
        let mut budget = Budget {
            events: limits.max_events.max(1),
            bytes: limits.max_bytes.saturating_sub(u64::from(limits.per_batch)),
            per_event: u64::from(limits.per_event),
            first: true,
        };
        let quantum = if parts.len() == 1 { u64::MAX } else { QUANTUM };
        let mut arena = Vec::new();
        let mut last_lane = None;
        'filling: while parts.iter().any(|part| !part.done) {
            for part in parts.iter_mut().filter(|part| !part.done) {
                last_lane = Some(part.lane);
                match self.take(part, &mut budget, quantum, &mut arena)? {
                    Stop::Turn => {}
                    Stop::Empty => part.done = true,
                    Stop::Full => break 'filling,
                }
            }
        }
        let after = last_lane.and_then(|lane| turn.lanes.iter().position(|&other| other == lane));
        let next_lane = after.map_or(0, |at| (at + 1) % lanes);
        parts.retain(|part| !part.events.is_empty());
        // The order in which the member rows are read back: a batch is the same whenever it is claimed.
        parts.sort_by_key(|part| part.lane);
        let Some(oldest) = parts.iter().fold(None, |all, part| oldest(all, part.oldest)) else {
            return Ok(None);
        };
        Ok(Some(Gathered {
            uid,
            bytes: parts
                .iter()
                .flat_map(|part| &part.members)
                .map(|member| member.bytes)
                .sum(),
            oldest,
            heads: parts.iter().map(|part| (part.lane, part.next)).collect(),
            members: parts
                .iter_mut()
                .flat_map(|part| std::mem::take(&mut part.members))
                .collect(),
            events: parts.into_iter().flat_map(|part| part.events).collect(),
            arena,
            next_lane,
        }))
    }

    /// Takes a lane's next events until its turn is over, the batch is full or nothing waits.
    fn take(
        &self,
        part: &mut Part,
        budget: &mut Budget,
        quantum: u64,
        arena: &mut Vec<u8>,
    ) -> rusqlite::Result<Stop> {
        let lane = &self.state.lanes[part.lane];
        let ranges = lane.waiting.as_slice();
        let name = lane.lane.tool.len() as u64 + budget.per_event;
        let (Some(&(first, _)), Some(&(_, last))) = (ranges.get(part.range), ranges.last()) else {
            return Ok(Stop::Empty);
        };
        let mut stop = Stop::Empty;
        let mut taken = 0;
        part.next = None;
        self.each_event(lane.number, part.from.max(first), last, |frame, stamp| {
            while ranges.get(part.range).is_some_and(|range| range.1 < frame.seq) {
                part.range += 1;
            }
            let Some(&(first, _)) = ranges.get(part.range) else {
                return ControlFlow::Break(());
            };
            if frame.seq < first {
                return ControlFlow::Continue(());
            }
            let encoded = frame.payload.len() as u64 + name;
            part.from = frame.seq;
            part.next = Some(stamp);
            if !budget.first && (budget.events == 0 || encoded > budget.bytes) {
                stop = Stop::Full;
                return ControlFlow::Break(());
            }
            if taken >= quantum {
                stop = Stop::Turn;
                return ControlFlow::Break(());
            }
            budget.first = false;
            budget.events -= 1;
            budget.bytes = budget.bytes.saturating_sub(encoded);
            taken += encoded;
            part.from = frame.seq + 1;
            part.next = None;
            // Of a lane the first counts: what was requeued comes behind younger ones, and expires with them.
            part.oldest.get_or_insert(stamp);
            part.events
                .push(self.claimed_event(&lane.lane.tool, frame, stamp, arena));
            match part.members.last_mut() {
                Some(member) if member.first >= first => {
                    member.last = frame.seq;
                    member.events += 1;
                    member.bytes += frame_cost(frame);
                }
                _ => part.members.push(Member {
                    lane: part.lane,
                    first: frame.seq,
                    last: frame.seq,
                    events: 1,
                    bytes: frame_cost(frame),
                }),
            }
            ControlFlow::Continue(())
        })?;
        Ok(stop)
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

/// A batch that would be formed, as a preview shows it.
pub(crate) fn unformed(destination: &Arc<str>, gathered: Gathered, losses: Losses) -> Claimed {
    Claimed {
        id: NO_ID,
        uid: gathered.uid,
        destination: Arc::clone(destination),
        attempts: 0,
        root_events: u32::try_from(gathered.events.len()).unwrap_or(u32::MAX),
        losses,
        arena: gathered.arena,
        events: gathered.events,
    }
}
