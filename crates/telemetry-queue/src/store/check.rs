//! The first reading of every lane's segments after the queue was opened: it verifies the checksums, counts the
//! rows behind the books (I5) and fills the tables of ids.
//!
//! Once it was begun it goes on between commands, a slice at a time, and then stops for good (I11). What must know
//! before goes ahead at once: an append needs all ids of its lane; whatever removes events or moves them out of the queue
//! counts them first, so that the count is of what was there when the queue was opened.

use std::ops::ControlFlow;

use super::Store;
use super::state::{LaneAt, Scan};
use crate::dedupe::tag;
use crate::ranges::Ranges;
use crate::schema::{key, seq_of};
use crate::types::Checked;

/// Segments read between two commands: about 256 KiB, some hundred microseconds.
const SLICE: usize = 32;

/// What the check found so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    rows: u64,
    differences: Vec<(crate::types::Lane, u64, u64)>,
    /// What `quick_check` said, where it was not `ok`.
    pub(crate) integrity: Option<String>,
    /// `quick_check` has still to come to its end.
    pub(crate) integrity_pending: bool,
    /// The rows are not what the books say: `quick_check` is to tell why.
    pub(crate) doubt: bool,
}

impl Progress {
    /// Whether rows that were counted are not as many as the books said.
    pub(crate) fn differs(&self) -> bool {
        !self.differences.is_empty()
    }
}

impl Store {
    /// How far the check came.
    pub(crate) fn checked(&self) -> Checked {
        Checked {
            complete: self.state.lanes.iter().all(|lane| lane.scan.is_none())
                && !self.checked.integrity_pending
                && !self.checked.doubt,
            rows: self.checked.rows,
            differences: self.checked.differences.clone(),
            integrity: self.checked.integrity.clone(),
        }
    }

    /// Reads on, one slice; `false` when there is nothing left to read.
    pub(crate) fn scan_on(&mut self) -> rusqlite::Result<bool> {
        if let Some(lane) = self.state.lanes.iter().position(|lane| lane.scan.is_some()) {
            self.scan_slice(lane)?;
            return Ok(true);
        }
        let pending = !self.parked_ids_known;
        self.know_parked_ids()?;
        Ok(pending)
    }

    /// Reads whatever is needed to know all ids of a lane's (uid, tool).
    pub(crate) fn know_ids(&mut self, lane: LaneAt) -> rusqlite::Result<()> {
        self.know_parked_ids()?;
        let tool = self.state.lanes[lane].tool;
        for at in 0..self.state.tools[tool].lanes.len() {
            let lane = self.state.tools[tool].lanes[at];
            while self.state.lanes[lane].scan.is_some() {
                self.scan_slice(lane)?;
            }
        }
        Ok(())
    }

    /// Reads a lane up to a sequence number, before what is there changes.
    pub(crate) fn scan_to(&mut self, lane: LaneAt, seq: u64) -> rusqlite::Result<()> {
        while self.state.lanes[lane].scan.is_some_and(|scan| scan.next <= seq) {
            self.scan_slice(lane)?;
        }
        Ok(())
    }

    fn scan_slice(&mut self, at: LaneAt) -> rusqlite::Result<()> {
        let Some(Scan { next, end, .. }) = self.state.lanes[at].scan else {
            return Ok(());
        };
        let queued = self.queued_ranges(at);
        let number = self.state.lanes[at].number;
        let mut seen = Vec::new();
        let (mut segments, mut counted, mut reached) = (0, 0, end);
        if next < end {
            self.each_segment(number, next, end - 1, |key, segment| {
                if segments == SLICE {
                    reached = seq_of(key);
                    return ControlFlow::Break(());
                }
                segments += 1;
                for frame in segment.frames().filter(|frame| (next..end).contains(&frame.seq)) {
                    seen.push((tag(&self.hash_key, frame.id), frame.seq));
                    counted += u64::from(queued.contains(frame.seq));
                }
                ControlFlow::Continue(())
            })?;
        }
        debug_assert!(key(number, reached) >= 0);
        let lane = &mut self.state.lanes[at];
        for &(tag, seq) in &seen {
            if lane.ids.is_full() && lane.ids.len() == 0 {
                lane.ids.make_room(seq);
            }
            lane.ids.insert(tag, seq);
        }
        self.checked.rows += counted;
        let Some(scan) = &mut lane.scan else { return Ok(()) };
        scan.counted += counted;
        scan.next = reached;
        if reached >= end {
            if scan.counted != scan.booked {
                self.checked.doubt = true;
                self.checked
                    .differences
                    .push(((*lane.lane).clone(), scan.counted, scan.booked));
            }
            lane.scan = None;
        }
        Ok(())
    }

    /// The queued sequence numbers of a lane, in batches or not.
    fn queued_ranges(&self, at: LaneAt) -> Ranges {
        let mut queued = self.state.lanes[at].waiting.clone();
        for batch in self.state.batches.values() {
            for member in batch.members.iter().filter(|member| member.lane == at) {
                queued.insert(member.first, member.last);
            }
        }
        queued
    }
}
