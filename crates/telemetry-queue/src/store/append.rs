//! Appending: duplicates are found, the others are packed into segments.
//!
//! I1 is the writer's: nothing here is an answer before the commit. I6: 64 tools a uid, events no larger than the
//! queue.

use std::sync::Arc;

use super::Store;
use super::heap::HEAP;
use super::state::LaneAt;
use crate::dedupe::tag;
use crate::error::damaged;
use crate::file::fit_cache;
use crate::schema::{key, seq_of};
use crate::segment::{Builder, Frame, Payload, Stamp, cost};
use crate::types::{Append, Appended, Id, Lane, Losses};

/// Tools of one uid (QUEUE.md): further names are refused, so that a uid cannot grow the books without end.
const TOOLS_PER_UID: usize = 64;

/// Lanes in all: what is left of a segment's key above the sequence number, but for the heap's.
const LANES: u32 = HEAP - 1;

/// A lane of one append, and what was added to it so far.
struct Met<'a> {
    name: &'a Arc<Lane>,
    /// `None`: refused.
    lane: Option<LaneAt>,
    events: u64,
    bytes: u64,
}

impl Store {
    /// Appends; answers in the order of the events.
    pub(crate) fn append(&mut self, append: &Append) -> rusqlite::Result<Vec<Appended>> {
        let mut answers = Vec::with_capacity(append.events.len());
        let mut met: Vec<Met<'_>> = Vec::new();
        let mut last = 0;
        for event in &append.events {
            // Tools that take turns do so in the same order, as a rule.
            let same = |at: usize| met.get(at).is_some_and(|met| Arc::ptr_eq(met.name, &event.lane));
            let next = if last + 1 < met.len() { last + 1 } else { 0 };
            let known = [last, next].into_iter().find(|&at| same(at));
            last = match known.or_else(|| (0..met.len()).find(|&at| same(at))) {
                Some(at) => at,
                None => {
                    let lane = self.lane_for(&event.lane)?;
                    if let Some(lane) = lane {
                        self.know_ids(lane)?;
                    }
                    met.push(Met {
                        name: &event.lane,
                        lane,
                        events: 0,
                        bytes: 0,
                    });
                    met.len() - 1
                }
            };
            let lane = met[last].lane;
            let payload = append.arena.get(event.payload.clone());
            let (Some(lane), Some(payload)) = (lane, payload) else {
                answers.push(Appended::Refused);
                continue;
            };
            let bytes = cost(payload.len());
            if bytes > self.limits.max_bytes.min(self.limits.max_bytes_per_tool) {
                answers.push(Appended::Refused);
                continue;
            }
            let tag = tag(&self.hash_key, &event.id);
            if self.is_known(lane, tag, &event.id)? {
                answers.push(Appended::Duplicate);
                continue;
            }
            let stamp = Stamp {
                received: append.at,
                boot: self.ages.boot,
                epoch: event.epoch,
            };
            self.push(lane, tag, stamp, &event.id, event.project.as_ref(), payload)?;
            met[last].events += 1;
            met[last].bytes += bytes;
            answers.push(Appended::Queued);
        }
        for met in &met {
            self.book(met);
        }
        for (name, count) in &append.over_quota {
            if let Some(lane) = self.lane_for(name)? {
                let destination = self.state.lanes[lane].destination;
                let more = Losses {
                    quota: *count,
                    ..Losses::default()
                };
                self.add_losses(name.uid, destination, more)?;
            }
        }
        Ok(answers)
    }

    fn book(&mut self, met: &Met<'_>) {
        if let Some(at) = met.lane
            && met.events > 0
        {
            let lane = &mut self.state.lanes[at];
            lane.tallies.accepted += met.events;
            self.state.destinations[lane.destination].accepted += met.events;
            self.state.add_queued(at, met.events, met.bytes);
        }
    }

    /// Puts one event at the end of its lane; the sums are the caller's.
    pub(crate) fn push(
        &mut self,
        at: LaneAt,
        tag: u32,
        stamp: Stamp,
        id: &Id,
        project: Option<&Id>,
        payload: &[u8],
    ) -> rusqlite::Result<()> {
        let full = self.state.lanes[at].open.as_ref().is_some_and(|open| {
            !open.stamp().is_near(&stamp) || open.is_full_for(payload, project.is_some())
        });
        if full {
            self.flush_segment(at)?;
        }
        if self.state.lanes[at].ids.is_full() {
            self.forget_stale_ids(at)?;
        }
        let lane = &mut self.state.lanes[at];
        let seq = lane.next_seq;
        lane.next_seq += 1;
        lane.ids.insert(tag, seq);
        lane.waiting.insert(seq, seq);
        if lane.head.is_none() {
            lane.head = Some(stamp);
            self.state.destinations[lane.destination].dirty = true;
        }
        let open = lane.open.get_or_insert_with(|| {
            if !self.filling.contains(&at) {
                self.filling.push(at);
            }
            Builder::with_buffer(seq, stamp, self.spare.pop().unwrap_or_default())
        });
        open.push(&Frame {
            seq,
            id,
            project,
            stripped: false,
            payload: Payload::whole(payload),
        });
        Ok(())
    }

    /// The place of a lane, made where it is new; `None` where its uid has too many tools.
    pub(crate) fn lane_for(&mut self, lane: &Arc<Lane>) -> rusqlite::Result<Option<LaneAt>> {
        if let Some(&at) = self.state.lane_names.get(&**lane) {
            return Ok(Some(at));
        }
        let known = self
            .state
            .tool_names
            .contains_key(&(lane.uid, Arc::clone(&lane.tool)));
        let tools = self.state.uids.get(&lane.uid).map_or(0, |uid| uid.tools.len());
        let number = self
            .state
            .lane_numbers
            .keys()
            .max()
            .map_or(1, |number| number + 1);
        if (!known && tools >= TOOLS_PER_UID) || number > LANES {
            return Ok(None);
        }
        self.execute(
            "INSERT INTO lane (n, uid, destination, tool) VALUES (?1, ?2, ?3, ?4)",
            (number, lane.uid, &*lane.destination, &*lane.tool),
        )
        .map_err(|error| match error.sqlite_error_code() {
            // All lanes were read at the start: the index has one that the table has not.
            Some(rusqlite::ErrorCode::ConstraintViolation) => damaged(),
            _ => error,
        })?;
        let at = self.state.add_lane(number, Arc::clone(lane));
        fit_cache(&self.connection, self.state.lanes.len())?;
        Ok(Some(at))
    }

    /// Whether this (uid, tool) has an event of this id: queued or in the sent log for any destination, or parked.
    fn is_known(&self, lane: LaneAt, tag: u32, id: &Id) -> rusqlite::Result<bool> {
        for &lane in &self.state.tools[self.state.lanes[lane].tool].lanes {
            for seq in self.state.lanes[lane].ids.candidates(tag) {
                if self.id_at(lane, seq)?.as_ref() == Some(id) {
                    return Ok(true);
                }
            }
            for n in self.state.lanes[lane].parked_ids.candidates(tag) {
                if self.parked_id(n)?.as_ref() == Some(id) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Makes room in a lane's id table: entries from before its first segment go.
    pub(crate) fn forget_stale_ids(&mut self, at: LaneAt) -> rusqlite::Result<()> {
        let lane = &self.state.lanes[at];
        let mut live = lane.open.as_ref().map_or(lane.next_seq, Builder::base);
        if let Some(first) = self.first_key(lane.number)? {
            live = live.min(seq_of(first));
        }
        debug_assert!(key(lane.number, live) >= 0);
        self.state.lanes[at].ids.make_room(live);
        Ok(())
    }
}
