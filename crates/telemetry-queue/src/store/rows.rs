//! Rows for people, a bounded page at a time.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::Store;
use super::load::{count, small, stamp, stored};
use super::purge::Selection;
use super::state::Batch;
use crate::command::Rows;
use crate::schema::{MAX_SEQ, SEQ_BITS, key, seq_of};
use crate::types::{Id, Page, Parked, Row, RowState};

/// Segments that one page looks at.
const SEGMENTS: usize = 128;

/// Parked rows that one page looks at.
const PARKED: u32 = 1024;

/// Payload bytes of one page, about.
const BYTES: usize = 1024 * 1024;

/// Marks a page's beginning among the parked rows.
const IN_PARKED: u64 = 1 << 63;

impl Store {
    /// One page. Its places are segments' keys in order of lanes, then parked rows.
    pub(crate) fn page(&self, rows: &Rows) -> rusqlite::Result<Page> {
        let selection = self.select(&rows.filter);
        let wants = |state| rows.states.is_empty() || rows.states.contains(&state);
        let mut page = Page::default();
        let after = rows.after.unwrap_or(0);
        let limit = rows.limit.max(1) as usize;
        if after & IN_PARKED == 0 {
            if wants(RowState::Waiting) || wants(RowState::Claimed) {
                page.next = self.queued_page(&selection, after, limit, &wants, &mut page.rows)?;
                if page.next.is_some() {
                    return Ok(page);
                }
            }
            if wants(RowState::Parked) && self.state.parked_rows > 0 {
                if page.rows.is_empty() {
                    page.next = self.parked_page(&selection, 0, limit, &mut page.rows)?;
                } else {
                    page.next = Some(IN_PARKED);
                }
            }
        } else {
            page.next = self.parked_page(&selection, after & !IN_PARKED, limit, &mut page.rows)?;
        }
        Ok(page)
    }

    fn queued_page(
        &self,
        selection: &Selection,
        after: u64,
        limit: usize,
        wants: &impl Fn(RowState) -> bool,
        page: &mut Vec<Row>,
    ) -> rusqlite::Result<Option<u64>> {
        let mut by_number = selection.lanes.clone();
        by_number.sort_unstable_by_key(|&lane| self.state.lanes[lane].number);
        let (mut segments, mut bytes) = (0, 0);
        for at in by_number {
            let lane = &self.state.lanes[at];
            let from = u64::try_from(key(lane.number, 0)).unwrap_or(0);
            if after >= from + (1 << SEQ_BITS) {
                continue;
            }
            let from = seq_of(i64::try_from(after.saturating_sub(from)).unwrap_or(0));
            let mut held: Vec<(u64, u64, &Batch)> = Vec::new();
            for batch in self.state.batches.values() {
                let members = batch.members.iter().filter(|member| member.lane == at);
                held.extend(members.map(|member| (member.first, member.last, batch)));
            }
            held.sort_unstable_by_key(|range| range.0);
            let mut next = None;
            self.each_segment(lane.number, from, MAX_SEQ, |key, segment| {
                segments += 1;
                for frame in segment.frames() {
                    if frame.seq < from {
                        continue;
                    }
                    if segments > SEGMENTS || bytes > BYTES || page.len() >= limit {
                        next = Some(frame.seq);
                        return ControlFlow::Break(());
                    }
                    let held = held.get(held.partition_point(|range| range.1 < frame.seq));
                    let batch = held.filter(|range| range.0 <= frame.seq).map(|range| range.2);
                    let state = match batch {
                        Some(_) => RowState::Claimed,
                        None if lane.waiting.contains(frame.seq) => RowState::Waiting,
                        None => continue,
                    };
                    if !wants(state) || !selection.takes(frame.id, frame.project, segment.stamp().epoch) {
                        continue;
                    }
                    bytes += frame.payload.len();
                    page.push(Row {
                        id: *frame.id,
                        lane: std::sync::Arc::clone(&lane.lane),
                        received: segment.stamp().received,
                        state,
                        batch: batch.map(|batch| batch.lease.unwrap_or(batch.id)),
                        attempts: batch.map_or(0, |batch| batch.attempts),
                        payload: frame.payload.to_vec(),
                        parked: None,
                    });
                }
                debug_assert!(key >= 0);
                ControlFlow::Continue(())
            })?;
            if let Some(seq) = next {
                return Ok(u64::try_from(key(lane.number, seq)).ok());
            }
        }
        Ok(None)
    }

    fn parked_page(
        &self,
        selection: &Selection,
        after: u64,
        limit: usize,
        page: &mut Vec<Row>,
    ) -> rusqlite::Result<Option<u64>> {
        let lanes: HashMap<u32, usize> = selection
            .lanes
            .iter()
            .map(|&lane| (self.state.lanes[lane].number, lane))
            .collect();
        let mut select = self.connection.prepare_cached(
            "SELECT n, lane, id, project, epoch, wall_ms, boot_ms, boot, parked_wall_ms, status, answer, payload
             FROM parked WHERE n > ?1 ORDER BY n LIMIT ?2",
        )?;
        let mut rows = select.query((stored(after), PARKED))?;
        let (mut seen, mut last, mut bytes) = (0, after, 0);
        while let Some(row) = rows.next()? {
            if page.len() >= limit || bytes > BYTES {
                return Ok(Some(IN_PARKED | last));
            }
            (seen, last) = (seen + 1, count(row, 0)?);
            let Some(&lane) = lanes.get(&small(row, 1)?) else {
                continue;
            };
            let id: Id = row.get(2)?;
            let project: Option<Id> = row.get(3)?;
            if !selection.takes(&id, project.as_ref(), row.get::<_, i64>(4)?.cast_unsigned()) {
                continue;
            }
            let payload: Vec<u8> = row.get(11)?;
            bytes += payload.len();
            page.push(Row {
                id,
                lane: std::sync::Arc::clone(&self.state.lanes[lane].lane),
                received: stamp(row, 5)?.received,
                state: RowState::Parked,
                batch: None,
                attempts: 0,
                payload,
                parked: Some(Parked {
                    at_ms: row.get(8)?,
                    status: small(row, 9)?,
                    answer: row.get(10)?,
                }),
            });
        }
        Ok((seen == PARKED).then_some(IN_PARKED | last))
    }
}
