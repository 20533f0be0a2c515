//! Forgetting: the sent log's metadata, which every other purge leaves.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Store;
use super::load::{count, stored};
use super::state::LaneAt;
use crate::segment::cost;
use crate::types::Lane;

/// What the sent log says of a batch's events of one lane.
struct Entry {
    batch: u64,
    first: u64,
    last: u64,
    events: u64,
    bytes: u64,
}

impl Store {
    /// Forgets the sent log's metadata of some lanes, each below a sequence number, whose bodies are erased already.
    /// What was delivered of what came later stays, and so do its members: without them it would count as waiting.
    pub(crate) fn forget_sent(&mut self, lanes: &[(Arc<Lane>, u64)]) -> rusqlite::Result<()> {
        for (name, end) in lanes {
            let Some(&lane) = self.state.lane_names.get(&**name) else {
                continue;
            };
            for entry in self.entries_below(lane, *end)? {
                self.forget_entry(lane, &entry, *end)?;
            }
        }
        Ok(())
    }

    fn entries_below(&self, lane: LaneAt, end: u64) -> rusqlite::Result<Vec<Entry>> {
        let mut select = self.connection.prepare_cached(
            "SELECT batch, first, last, events, bytes FROM member WHERE lane = ?1 AND first < ?2",
        )?;
        let mut rows = select.query((self.state.lanes[lane].number, stored(end)))?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let batch = count(row, 0)?;
            if !self.state.batches.contains_key(&batch) {
                entries.push(Entry {
                    batch,
                    first: count(row, 1)?,
                    last: count(row, 2)?,
                    events: count(row, 3)?,
                    bytes: count(row, 4)?,
                });
            }
        }
        Ok(entries)
    }

    fn forget_entry(&mut self, lane: LaneAt, entry: &Entry, end: u64) -> rusqlite::Result<()> {
        let number = self.state.lanes[lane].number;
        let (mut events, mut bytes) = (0, 0);
        if entry.last >= end {
            self.each_event(number, end, entry.last, |frame, _| {
                events += 1;
                bytes += super::segments::frame_cost(frame);
                ControlFlow::Continue(())
            })?;
        }
        if events == 0 {
            self.execute(
                "DELETE FROM member WHERE batch = ?1 AND lane = ?2 AND first = ?3",
                (stored(entry.batch), number, stored(entry.first)),
            )?;
        } else {
            self.execute(
                "UPDATE member SET first = ?4, events = ?5, bytes = ?6 WHERE batch = ?1 AND lane = ?2 AND first = ?3",
                (
                    stored(entry.batch),
                    number,
                    stored(entry.first),
                    stored(end),
                    stored(events),
                    stored(bytes),
                ),
            )?;
        }
        let gone = entry.events.saturating_sub(events);
        let of_payloads = entry.bytes.saturating_sub(bytes).saturating_sub(cost(0) * gone);
        self.execute(
            "UPDATE sent SET events = max(0, events - ?2), bytes = max(0, bytes - ?3) WHERE n = ?1",
            [stored(entry.batch), stored(gone), stored(of_payloads)],
        )?;
        let lane = &mut self.state.lanes[lane];
        lane.logged = lane.logged.saturating_sub(gone);
        let left: bool = self
            .connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM member WHERE batch = ?1)")?
            .query_row([stored(entry.batch)], |row| row.get(0))?;
        if !left {
            self.execute("DELETE FROM sent WHERE n = ?1", [stored(entry.batch)])?;
            let at = self.state.sent.iter().position(|sent| sent.n == entry.batch);
            if let Some(sent) = at.and_then(|at| self.state.sent.remove(at)) {
                self.state.less_sent(sent.uid, sent.kept);
            }
        }
        Ok(())
    }
}
