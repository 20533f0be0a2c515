//! Forgetting: the sent log's metadata, which every other purge leaves.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Store;
use super::load::{count, member, stored};
use super::segments::frame_cost;
use super::state::{LaneAt, Member};
use crate::segment::cost;
use crate::types::Lane;

impl Store {
    /// Forgets the sent log's metadata of some lanes, each below a sequence number, whose bodies are erased already.
    /// What was delivered of what came later stays, and so do its members: without them it would count as waiting.
    pub(crate) fn forget_sent(&mut self, lanes: &[(Arc<Lane>, u64)]) -> rusqlite::Result<()> {
        for (name, end) in lanes {
            let Some(&lane) = self.state.lane_names.get(&**name) else {
                continue;
            };
            for (batch, member) in self.delivered_before(lane, *end)? {
                self.forget_member(batch, member, *end)?;
            }
        }
        Ok(())
    }

    /// The members of delivered batches that begin below a sequence number of a lane, each with its batch.
    fn delivered_before(&self, lane: LaneAt, end: u64) -> rusqlite::Result<Vec<(u64, Member)>> {
        let mut select = self.connection.prepare_cached(
            "SELECT batch, first, last, events, bytes FROM member WHERE lane = ?1 AND first < ?2",
        )?;
        let mut rows = select.query((self.state.lanes[lane].number, stored(end)))?;
        let mut members = Vec::new();
        while let Some(row) = rows.next()? {
            let batch = count(row, 0)?;
            if !self.state.batches.contains_key(&batch) {
                members.push((batch, member(row, 1, lane)?));
            }
        }
        Ok(members)
    }

    fn forget_member(&mut self, batch: u64, member: Member, end: u64) -> rusqlite::Result<()> {
        let lane = member.lane;
        let number = self.state.lanes[lane].number;
        let (mut events, mut bytes) = (0, 0);
        if member.last >= end {
            self.each_event(number, end, member.last, |frame, _| {
                events += 1;
                bytes += frame_cost(frame);
                ControlFlow::Continue(())
            })?;
        }
        if events == 0 {
            self.execute(
                "DELETE FROM member WHERE batch = ?1 AND lane = ?2 AND first = ?3",
                (stored(batch), number, stored(member.first)),
            )?;
        } else {
            self.execute(
                "UPDATE member SET first = ?4, events = ?5, bytes = ?6 WHERE batch = ?1 AND lane = ?2 AND first = ?3",
                (
                    stored(batch),
                    number,
                    stored(member.first),
                    stored(end),
                    stored(events),
                    stored(bytes),
                ),
            )?;
        }
        let gone = member.events.saturating_sub(events);
        let of_payloads = member.bytes.saturating_sub(bytes).saturating_sub(cost(0) * gone);
        self.execute(
            "UPDATE sent SET events = max(0, events - ?2), bytes = max(0, bytes - ?3) WHERE n = ?1",
            [stored(batch), stored(gone), stored(of_payloads)],
        )?;
        let lane = &mut self.state.lanes[lane];
        lane.logged = lane.logged.saturating_sub(gone);
        let left: bool = self
            .connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM member WHERE batch = ?1)")?
            .query_row([stored(batch)], |row| row.get(0))?;
        if !left {
            self.execute("DELETE FROM sent WHERE n = ?1", [stored(batch)])?;
            let at = self.state.sent.iter().position(|sent| sent.n == batch);
            if let Some(sent) = at.and_then(|at| self.state.sent.remove(at)) {
                self.state.less_sent(sent.uid, sent.kept);
            }
        }
        Ok(())
    }
}
