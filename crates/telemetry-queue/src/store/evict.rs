//! Full is a policy, not a fault: the oldest rows of whoever uses most go, and are booked.

use std::ops::ControlFlow;

use super::Store;
use super::segments::frame_cost;
use super::state::{LaneAt, ToolAt, older};
use crate::segment::Stamp;
use crate::types::Losses;

/// From this limit on the pages in use are looked at as well as the rows; below it the schema's own pages count
/// for too much.
const DISK_FROM: u64 = 32 * 1024 * 1024;

/// What the largest transaction may add to the WAL before that is brought into the file: a group's appends, the
/// evictions that make room for them, and the trimming of the sent log.
const TRANSACTION: u64 = 5 * 1024 * 1024;

/// The WAL is brought into the file at this size: a sixteenth of `max_bytes`, within reason. Each time costs two
/// fsyncs, and a page that was written often goes into the file once. Measured with 256 events a group: a larger WAL
/// than 16 MiB costs more, for the pages that the system has to find for it.
pub(crate) fn wal_limit(max_bytes: u64) -> u64 {
    (max_bytes / 16).clamp(256 * 1024, 16 * 1024 * 1024)
}

/// The WAL's size as it comes to be when all is well: what is more is given back to the disk. Less would mean to cut
/// it and let it grow each time anew, which was a quarter of the writer's time.
pub(crate) fn wal_size(max_bytes: u64) -> u64 {
    wal_limit(max_bytes) + TRANSACTION
}

/// What was dropped from a lane.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

impl Store {
    /// Evicts until the limits hold again, or only rows under lease are left.
    pub(crate) fn make_room(&mut self) -> rusqlite::Result<()> {
        for tool in self.tools_over_quota() {
            loop {
                let over = self.state.tools[tool]
                    .bytes
                    .saturating_sub(self.limits.max_bytes_per_tool);
                if over == 0 || !self.evict_from(tool, over)? {
                    break;
                }
            }
        }
        loop {
            let over = self.state.bytes.saturating_sub(self.limits.max_bytes);
            if over == 0 || !self.evict_from_largest(over)? {
                break;
            }
        }
        // Their pages are free for what comes.
        self.erase_in_heap()?;
        let over = self.disk_over()?;
        if over > 0 {
            self.evict_from_largest(over)?;
        }
        Ok(())
    }

    /// (uid, tool)s over their quota among those whose lanes changed.
    fn tools_over_quota(&self) -> Vec<ToolAt> {
        let quota = self.limits.max_bytes_per_tool;
        let mut tools: Vec<ToolAt> = Vec::new();
        for &lane in &self.state.changed {
            let tool = self.state.lanes[lane].tool;
            if self.state.tools[tool].bytes > quota && !tools.contains(&tool) {
                tools.push(tool);
            }
        }
        tools
    }

    /// Makes the tools that are over a new quota comply.
    pub(crate) fn apply_quotas(&mut self) -> rusqlite::Result<()> {
        for tool in 0..self.state.tools.len() {
            loop {
                let over = self.state.tools[tool]
                    .bytes
                    .saturating_sub(self.limits.max_bytes_per_tool);
                if over == 0 || !self.evict_from(tool, over)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Bytes by which the pages in use leave too little for the WAL under 1.25 × `max_bytes`.
    fn disk_over(&self) -> rusqlite::Result<u64> {
        let limit = self.limits.max_bytes;
        if limit < DISK_FROM || self.state.bytes < limit / 2 {
            return Ok(0);
        }
        let number = |sql| {
            self.connection
                .prepare_cached(sql)?
                .query_row([], |row| row.get::<_, i64>(0))
        };
        let pages = number("PRAGMA page_count")? - number("PRAGMA freelist_count")?;
        let used = pages.unsigned_abs() * number("PRAGMA page_size")?.unsigned_abs();
        Ok(used.saturating_sub(limit + limit / 4 - wal_size(limit)))
    }

    /// Evicts from the largest uid's largest tool, or the next that has what can be evicted.
    fn evict_from_largest(&mut self, over: u64) -> rusqlite::Result<bool> {
        let uids = by_use(self.state.uids.iter().map(|(&uid, used)| (used.bytes, uid)));
        for (place, &(used, uid)) in uids.iter().enumerate() {
            let tools = self.state.uids.get(&uid).map_or(&[][..], |used| &used.tools);
            let tools = by_use(tools.iter().map(|&tool| (self.state.tools[tool].bytes, tool)));
            // No more than makes it the second largest: then it is that one's turn. (In sixteenths, lest two equal
            // ones take turns event by event.)
            let lead = used - uids.get(place + 1).map_or(0, |next| next.0);
            for (place, &(bytes, tool)) in tools.iter().enumerate() {
                let lead = lead
                    .min(bytes - tools.get(place + 1).map_or(0, |next| next.0))
                    .max(over / 16)
                    .max(1);
                if bytes > 0 && self.evict_from(tool, over.min(lead))? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Evicts at least `over` bytes of a (uid, tool)'s oldest rows, as far as one lane's rows go without touching
    /// what is under lease; `false`: there was nothing.
    fn evict_from(&mut self, tool: ToolAt, over: u64) -> rusqlite::Result<bool> {
        self.flush_segments()?;
        // Whatever is oldest goes first: a batch that was formed and is not under lease is dissolved for it.
        loop {
            let lanes = self.state.tools[tool].lanes.clone();
            let waiting = lanes
                .iter()
                .filter_map(|&lane| self.state.lanes[lane].head.map(|head| (lane, head)))
                .reduce(|best, next| if older(&next.1, &best.1) { next } else { best });
            let formed = self.oldest_formed(&lanes, waiting.map(|(_, head)| head))?;
            match (formed, waiting) {
                (Some(n), _) => self.dissolve(n)?,
                (None, Some((lane, _))) => {
                    let mut left = over;
                    let dropped = self.drop_waiting(lane, |_, bytes| {
                        let more = left > 0;
                        left = left.saturating_sub(bytes);
                        more
                    })?;
                    self.book_evicted(lane, dropped)?;
                    return Ok(dropped.events > 0);
                }
                (None, None) => return Ok(false),
            }
        }
    }

    fn book_evicted(&mut self, lane: LaneAt, dropped: Dropped) -> rusqlite::Result<()> {
        let state = &mut self.state.lanes[lane];
        state.tallies.evicted += dropped.events;
        let (uid, destination) = (state.lane.uid, state.destination);
        self.state.take_queued(lane, dropped.events, dropped.bytes);
        self.add_losses(
            uid,
            destination,
            Losses {
                evicted: dropped.events,
                ..Losses::default()
            },
        )?;
        self.refresh_head(lane)
    }

    /// The batch that is not under lease and whose events in these lanes are the oldest, if they are older than
    /// what waits there.
    fn oldest_formed(&self, lanes: &[LaneAt], waiting: Option<Stamp>) -> rusqlite::Result<Option<u64>> {
        let mut oldest: Option<(u64, Stamp)> = None;
        for batch in self.state.batches.values().filter(|batch| batch.lease.is_none()) {
            for member in batch.members.iter().filter(|member| lanes.contains(&member.lane)) {
                let best = oldest.map(|oldest| oldest.1).or(waiting);
                if best.is_some_and(|best| !older(&batch.oldest, &best)) {
                    continue;
                }
                let mut first = None;
                self.each_event(
                    self.state.lanes[member.lane].number,
                    member.first,
                    member.last,
                    |_, stamp| {
                        first = Some(stamp);
                        ControlFlow::Break(())
                    },
                )?;
                if let Some(first) = first
                    && best.is_none_or(|best| older(&first, &best))
                {
                    oldest = Some((batch.n, first));
                }
            }
        }
        Ok(oldest.map(|oldest| oldest.0))
    }

    /// Erases a lane's oldest waiting events as long as `want` (told stamp and bytes) says so. The books are the
    /// caller's.
    pub(crate) fn drop_waiting(
        &mut self,
        lane: LaneAt,
        mut want: impl FnMut(&Stamp, u64) -> bool,
    ) -> rusqlite::Result<Dropped> {
        let mut dropped = Dropped::default();
        let mut end = None;
        let mut stopped = false;
        let number = self.state.lanes[lane].number;
        let ranges = self.state.lanes[lane].waiting.as_slice().to_vec();
        for &(first, last) in &ranges {
            self.each_event(number, first, last, |frame, stamp| {
                if !want(&stamp, frame_cost(frame)) {
                    stopped = true;
                    return ControlFlow::Break(());
                }
                dropped.events += 1;
                dropped.bytes += frame_cost(frame);
                end = Some(frame.seq);
                ControlFlow::Continue(())
            })?;
            if stopped {
                break;
            }
        }
        if let Some(end) = end {
            self.scan_to(lane, end)?;
            for &(first, last) in ranges.iter().take_while(|range| range.0 <= end) {
                self.drop_range(lane, first, last.min(end))?;
            }
            self.state.lanes[lane].waiting.remove(0, end);
        }
        Ok(dropped)
    }
}

/// Largest first.
fn by_use<T: Ord>(used: impl Iterator<Item = (u64, T)>) -> Vec<(u64, T)> {
    let mut used: Vec<_> = used.collect();
    used.sort_unstable_by(|one, other| other.cmp(one));
    used
}
