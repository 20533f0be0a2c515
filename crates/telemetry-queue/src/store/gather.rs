//! Choosing the events of a new batch.
//!
//! A batch holds one uid. Uids share a destination by bytes (start-time fair queueing: the uid that was served
//! least goes next, and one that had nothing to send gains no credit meanwhile); within a uid the tools take turns
//! of [`QUANTUM`] bytes (surplus round robin), so that a noisy one does not hold back the others.

use std::ops::ControlFlow;

use super::Store;
use super::segments::frame_cost;
use super::state::{DestinationAt, LaneAt, LaneState, Member, oldest};
use crate::segment::Stamp;
use crate::types::{ClaimLimits, ClaimedEvent};

/// Bytes that a tool takes in its turn: a sixteenth of the default batch, so that sixteen busy tools share one.
const QUANTUM: u64 = 16 * 1024;

/// What a claim would take.
pub(crate) struct Gathered {
    pub(crate) uid: u32,
    pub(crate) members: Vec<Member>,
    pub(crate) events: Vec<ClaimedEvent>,
    pub(crate) arena: Vec<u8>,
    pub(crate) bytes: u64,
    pub(crate) oldest: Stamp,
    /// The lanes that were read, each with the stamp of what waits there next.
    pub(crate) heads: Vec<(LaneAt, Option<Stamp>)>,
    /// The lane whose turn it is in the next batch.
    pub(crate) next_lane: usize,
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
    /// The uid whose turn it is among those with waiting events, but for this one.
    pub(crate) fn next_uid(&self, destination: DestinationAt, but: Option<u32>) -> Option<u32> {
        let destination = &self.state.destinations[destination];
        destination
            .uids
            .iter()
            .filter(|turn| but != Some(turn.uid) && !destination.held.contains(&turn.uid))
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
                events: Vec::with_capacity(
                    usize::try_from(
                        self.state.lanes[lane]
                            .waiting_events()
                            .min(u64::from(limits.max_events)),
                    )
                    .unwrap_or(0),
                ),
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
        // As much as there is, or the batch may have: neither grows step by step.
        let lanes_hold = |of: fn(&LaneState) -> u64| {
            parts
                .iter()
                .map(|part| of(&self.state.lanes[part.lane]))
                .sum::<u64>()
        };
        let bytes = lanes_hold(|lane| lane.bytes).min(budget.bytes);
        let mut arena = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        let mut last_lane = None;
        'filling: while parts.iter().any(|part| !part.done) {
            for part in parts.iter_mut().filter(|part| !part.done) {
                last_lane = Some(part.lane);
                match self.take(part, &mut budget, quantum, &mut arena)? {
                    Stop::Turn => {}
                    // All that waits there was taken: as many as the books have, or the way to some is damaged.
                    Stop::Empty
                        if part.events.len() as u64 != self.state.lanes[part.lane].waiting_events() =>
                    {
                        return Err(crate::error::damaged());
                    }
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
            events: match parts.len() {
                1 => parts.pop().map(|part| part.events).unwrap_or_default(),
                _ => parts.into_iter().flat_map(|part| part.events).collect(),
            },
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
}
