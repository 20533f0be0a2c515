//! Segments in the file: finding, reading, writing and trimming them.

use std::ops::ControlFlow;

use super::Store;
use super::state::LaneAt;
use crate::error::damaged;
use crate::schema::{MAX_SEQ, key};
use crate::segment::{Builder, Frame, Payload, Segment, Stamp, cost};
use crate::types::Id;

/// The segments that overlap a range of a lane: from the last that begins at or before it.
const OVERLAPPING: &str = "SELECT key, body FROM segment
  WHERE key >= coalesce((SELECT max(key) FROM segment WHERE key BETWEEN ?1 AND ?2), ?2) AND key <= ?3 ORDER BY key";

/// What becomes of one event of an edited range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Keep,
    Drop,
    /// Payload and project go, the id stays.
    Strip,
}

impl Store {
    /// Visits the segments of a lane that overlap `first..=last`, in order; the visitor sees their events outside
    /// of the range, too.
    pub(crate) fn each_segment(
        &self,
        lane: u32,
        first: u64,
        last: u64,
        mut visit: impl FnMut(i64, &Segment<'_>) -> ControlFlow<()>,
    ) -> rusqlite::Result<()> {
        let mut select = self.connection.prepare_cached(OVERLAPPING)?;
        let mut rows = select.query([key(lane, 0), key(lane, first), key(lane, last)])?;
        let mut last_key = None;
        while let Some(row) = rows.next()? {
            let key = row.get(0)?;
            if last_key.replace(key).is_some_and(|last| last >= key) {
                // A page that was written to another's place: each of its rows is whole.
                return Err(damaged());
            }
            let body = row.get_ref(1)?.as_blob()?;
            if self
                .read_segment(key, body, |segment| visit(key, segment))?
                .is_break()
            {
                break;
            }
        }
        Ok(())
    }

    /// Visits the events of a range of a lane, in order.
    pub(crate) fn each_event(
        &self,
        lane: u32,
        first: u64,
        last: u64,
        mut visit: impl FnMut(&Frame<'_>, Stamp) -> ControlFlow<()>,
    ) -> rusqlite::Result<()> {
        self.each_segment(lane, first, last, |_, segment| {
            for frame in segment.frames() {
                if frame.seq > last {
                    return ControlFlow::Break(());
                }
                if frame.seq >= first {
                    visit(&frame, segment.stamp())?;
                }
            }
            ControlFlow::Continue(())
        })
    }

    /// The id of one event, where there is one.
    pub(crate) fn id_at(&self, lane: LaneAt, seq: u64) -> rusqlite::Result<Option<Id>> {
        let lane = &self.state.lanes[lane];
        if let Some(open) = &lane.open
            && seq >= open.base()
        {
            return Ok(open.id_at(seq));
        }
        let mut found = None;
        self.each_event(lane.number, seq, seq, |frame, _| {
            found = Some(*frame.id);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// The key of a lane's first segment.
    pub(crate) fn first_key(&self, lane: u32) -> rusqlite::Result<Option<i64>> {
        self.connection
            .prepare_cached("SELECT min(key) FROM segment WHERE key BETWEEN ?1 AND ?2")?
            .query_row([key(lane, 0), key(lane, MAX_SEQ)], |row| row.get(0))
    }

    /// Writes the segment that a lane is filling, at the lane's place.
    pub(crate) fn flush_segment(&mut self, lane: LaneAt) -> rusqlite::Result<()> {
        let state = &mut self.state.lanes[lane];
        if let Some(open) = state.open.take()
            && open.len() > 0
        {
            let key = key(state.number, open.base());
            let body = open.finish(key);
            self.insert_segment(key, &body)?;
            self.keep_buffer(body);
        }
        Ok(())
    }

    pub(super) fn insert_segment(&self, key: i64, body: &[u8]) -> rusqlite::Result<()> {
        self.execute("INSERT INTO segment (key, body) VALUES (?1, ?2)", (key, body))?;
        Ok(())
    }

    /// Keeps the buffer of a segment that was written for another.
    pub(super) fn keep_buffer(&mut self, body: Vec<u8>) {
        if self.spare.len() < 8 {
            self.spare.push(body);
        }
    }

    /// Erases every event of a range of a lane. The books are the caller's.
    pub(crate) fn drop_range(&mut self, lane: LaneAt, first: u64, last: u64) -> rusqlite::Result<()> {
        self.let_go = true;
        let number = self.state.lanes[lane].number;
        let start = self.segment_of(number, first)?;
        let end = self.segment_of(number, last)?;
        // Segments that begin before the range or may end behind it are trimmed, those between go whole.
        if let Some(start) = start
            && start < key(number, first)
        {
            self.trim(start, first, last)?;
        }
        if let Some(end) = end
            && end >= key(number, first)
        {
            self.erase_segments(key(number, first), end)?;
            self.trim(end, first, last)?;
        }
        Ok(())
    }

    /// The key of the segment that would hold a sequence number.
    fn segment_of(&self, lane: u32, seq: u64) -> rusqlite::Result<Option<i64>> {
        self.connection
            .prepare_cached("SELECT max(key) FROM segment WHERE key BETWEEN ?1 AND ?2")?
            .query_row([key(lane, 0), key(lane, seq)], |row| row.get(0))
    }

    /// Erases the events of a range from one segment.
    fn trim(&mut self, at: i64, first: u64, last: u64) -> rusqlite::Result<()> {
        let change = {
            let mut select = self
                .connection
                .prepare_cached("SELECT body FROM segment WHERE key = ?1")?;
            let mut rows = select.query([at])?;
            let Some(row) = rows.next()? else { return Ok(()) };
            self.read_segment(at, row.get_ref(0)?.as_blob()?, |segment| {
                rewritten(at, segment, |frame| {
                    if (first..=last).contains(&frame.seq) {
                        Edit::Drop
                    } else {
                        Edit::Keep
                    }
                })
            })?
        };
        self.apply(at, change)
    }

    /// Decides about each event of a range of a lane, and writes what changed. The books are the caller's.
    /// Reads and rewrites at once: bound the range.
    pub(crate) fn edit_range(
        &mut self,
        lane: LaneAt,
        first: u64,
        last: u64,
        mut decide: impl FnMut(&Frame<'_>, Stamp) -> Edit,
    ) -> rusqlite::Result<()> {
        let mut changes = Vec::new();
        self.each_segment(self.state.lanes[lane].number, first, last, |key, segment| {
            let stamp = segment.stamp();
            let change = rewritten(key, segment, |frame| {
                if (first..=last).contains(&frame.seq) {
                    decide(frame, stamp)
                } else {
                    Edit::Keep
                }
            });
            if !matches!(change, Change::None) {
                changes.push((key, change));
            }
            ControlFlow::Continue(())
        })?;
        changes
            .into_iter()
            .try_for_each(|(key, change)| self.apply(key, change))
    }

    fn apply(&mut self, at: i64, change: Change) -> rusqlite::Result<()> {
        match change {
            Change::None => {}
            Change::Gone => self.erase_segments(at, at + 1)?,
            Change::Body(body) => self.replace_segment(at, &body)?,
        }
        Ok(())
    }

    /// Finds a lane's oldest waiting event again.
    pub(crate) fn refresh_head(&mut self, lane: LaneAt) -> rusqlite::Result<()> {
        let state = &self.state.lanes[lane];
        let mut head = None;
        let mut passed = 0;
        if state.waiting_events() > 0 {
            for &(first, last) in state.waiting.as_slice() {
                self.each_event(state.number, first, last, |_, stamp| {
                    head = Some(stamp);
                    ControlFlow::Break(())
                })?;
                if head.is_some() {
                    break;
                }
                passed = last;
            }
        }
        let state = &mut self.state.lanes[lane];
        if let Some(open) = &state.open
            && head.is_none()
            && open.len() > 0
        {
            head = Some(open.stamp());
        } else if passed > 0 {
            state.waiting.remove(0, passed);
        }
        if state.waiting_events() == 0 {
            state.waiting.clear();
        }
        state.head = head;
        self.state.destinations[state.destination].dirty = true;
        Ok(())
    }
}

/// What editing does to a segment.
enum Change {
    None,
    Gone,
    Body(Vec<u8>),
}

/// A segment after a decision about each of its events.
fn rewritten(key: i64, segment: &Segment<'_>, mut decide: impl FnMut(&Frame<'_>) -> Edit) -> Change {
    let mut builder = Builder::new(crate::schema::seq_of(key), segment.stamp());
    let mut changed = false;
    for mut frame in segment.frames() {
        match decide(&frame) {
            Edit::Keep => builder.push(&frame),
            Edit::Drop => changed = true,
            Edit::Strip if frame.stripped => builder.push(&frame),
            Edit::Strip => {
                changed = true;
                frame.stripped = true;
                frame.payload = Payload::default();
                frame.project = None;
                builder.push(&frame);
            }
        }
    }
    match (changed, builder.len()) {
        (false, _) => Change::None,
        (true, 0) => Change::Gone,
        (true, _) => Change::Body(builder.finish(key)),
    }
}

/// What an event counts for against the limits.
pub(crate) fn frame_cost(frame: &Frame<'_>) -> u64 {
    cost(frame.payload.len())
}
