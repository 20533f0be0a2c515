//! Parked rows: what an endpoint refused, kept to be looked at, put back or forgotten.

use std::ops::ControlFlow;

use rusqlite::OptionalExtension as _;

use super::Store;
use super::load::{count, small, stamp, stored};
use super::purge::Selection;
use super::segments::frame_cost;
use super::state::LaneAt;
use crate::dedupe::tag;
use crate::segment::Stamp;
use crate::types::{Filter, Id};

/// Rows that one transaction moves or erases: with the largest events about 4 MiB.
const SLICE: u32 = 64;

/// A parked row that is to go.
struct Gone {
    n: u64,
    lane: LaneAt,
    bytes: u64,
}

/// An event on its way from a segment to the parked rows.
struct Moved {
    stamp: Stamp,
    id: Id,
    project: Option<Id>,
    bytes: u64,
    payload: Vec<u8>,
}

impl Store {
    /// Parks the events of a batch and ends it. Its root is the caller's. Returns how many.
    pub(crate) fn park(&mut self, n: u64, status: u16, answer: &[u8]) -> rusqlite::Result<u32> {
        let Some(batch) = self.remove_batch(n, true)? else {
            return Ok(0);
        };
        self.add_losses(batch.uid, batch.destination, batch.losses)?;
        let mut parked = 0;
        for member in &batch.members {
            self.scan_to(member.lane, member.last)?;
            let lane = &self.state.lanes[member.lane];
            let mut moved = Vec::new();
            self.each_event(lane.number, member.first, member.last, |frame, stamp| {
                moved.push(Moved {
                    stamp,
                    id: *frame.id,
                    project: frame.project.copied(),
                    bytes: frame_cost(frame),
                    payload: frame.payload.to_vec(),
                });
                ControlFlow::Continue(())
            })?;
            self.drop_range(member.lane, member.first, member.last)?;
            for event in moved {
                self.park_event(member.lane, &event, status, answer)?;
                parked += 1;
            }
            self.bound_parked(member.lane)?;
        }
        Ok(parked)
    }

    fn park_event(
        &mut self,
        lane: LaneAt,
        event: &Moved,
        status: u16,
        answer: &[u8],
    ) -> rusqlite::Result<()> {
        let n = self.state.next_parked;
        self.state.next_parked += 1;
        let now = self.ages.stamp();
        self.execute(
            "INSERT INTO parked (n, lane, id, project, epoch, wall_ms, boot_ms, boot, parked_wall_ms,
               parked_boot_ms, parked_boot, bytes, status, answer, payload)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            rusqlite::params![
                stored(n),
                self.state.lanes[lane].number,
                event.id,
                event.project,
                event.stamp.epoch.cast_signed(),
                event.stamp.received.wall_ms,
                stored(event.stamp.received.boot_ms),
                event.stamp.boot,
                now.received.wall_ms,
                stored(now.received.boot_ms),
                now.boot,
                stored(event.bytes),
                status,
                answer,
                event.payload,
            ],
        )?;
        self.state.take_queued(lane, 1, event.bytes);
        self.state.add_parked(lane, event.bytes);
        self.state.parked_oldest.get_or_insert(now);
        let tag = tag(&self.hash_key, &event.id);
        if self.state.lanes[lane].parked_ids.is_full() {
            let first: Option<i64> = self
                .connection
                .prepare_cached("SELECT min(n) FROM parked")?
                .query_row([], |row| row.get(0))?;
            let first = first.map_or(n, i64::unsigned_abs);
            self.state.lanes[lane].parked_ids.make_room(first);
        }
        self.state.lanes[lane].parked_ids.insert(tag, n);
        Ok(())
    }

    /// A (uid, tool)'s parked rows take no more than its queued ones may: the oldest are evicted.
    fn bound_parked(&mut self, lane: LaneAt) -> rusqlite::Result<()> {
        let tool = self.state.lanes[lane].tool;
        let lanes = self.state.tools[tool].lanes.clone();
        let mut over = self.state.tools[tool]
            .parked_bytes
            .saturating_sub(self.limits.max_bytes_per_tool);
        if over == 0 {
            return Ok(());
        }
        let mut gone = Vec::new();
        {
            let mut select = self
                .connection
                .prepare_cached("SELECT n, lane, bytes FROM parked ORDER BY n")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()?
                && over > 0
            {
                let Some(&lane) = self.state.lane_numbers.get(&small(row, 1)?) else {
                    continue;
                };
                if lanes.contains(&lane) {
                    let bytes = count(row, 2)?;
                    over = over.saturating_sub(bytes);
                    gone.push(Gone {
                        n: count(row, 0)?,
                        lane,
                        bytes,
                    });
                }
            }
        }
        for row in gone {
            self.state.lanes[row.lane].tallies.evicted += 1;
            self.erase_parked(&row)?;
        }
        Ok(())
    }

    fn erase_parked(&mut self, row: &Gone) -> rusqlite::Result<()> {
        self.let_go = true;
        self.state.take_parked(row.lane, row.bytes);
        self.execute("DELETE FROM parked WHERE n = ?1", [stored(row.n)])
            .map(|_| ())
    }

    /// Whether parked rows may be too old.
    pub(crate) fn parked_is_over(&self) -> bool {
        self.state
            .parked_oldest
            .is_some_and(|oldest| self.ages.age(&oldest) > self.limits.parked_max_age_ms)
    }

    /// Erases parked rows that are too old, a slice of them.
    pub(crate) fn expire_parked(&mut self) -> rusqlite::Result<()> {
        let limit = self.limits.parked_max_age_ms;
        let mut gone = Vec::new();
        {
            let mut select = self.connection.prepare_cached(
                "SELECT n, lane, bytes, parked_wall_ms, parked_boot_ms, parked_boot FROM parked ORDER BY n LIMIT ?1",
            )?;
            let mut rows = select.query([SLICE])?;
            while let Some(row) = rows.next()? {
                if self.ages.age(&stamp(row, 3)?) <= limit {
                    break;
                }
                if let Some(&lane) = self.state.lane_numbers.get(&small(row, 1)?) {
                    gone.push(Gone {
                        n: count(row, 0)?,
                        lane,
                        bytes: count(row, 2)?,
                    });
                }
            }
        }
        for row in &gone {
            self.state.lanes[row.lane].tallies.expired += 1;
            self.erase_parked(row)?;
        }
        self.state.parked_oldest = self.oldest_parked()?;
        Ok(())
    }

    /// When the oldest parked row was parked.
    pub(crate) fn oldest_parked(&self) -> rusqlite::Result<Option<Stamp>> {
        self.connection
            .prepare_cached(
                "SELECT parked_wall_ms, parked_boot_ms, parked_boot FROM parked ORDER BY n LIMIT 1",
            )?
            .query_row([], |row| stamp(row, 0))
            .optional()
    }

    /// The id of a parked row.
    pub(crate) fn parked_id(&self, n: u64) -> rusqlite::Result<Option<Id>> {
        self.connection
            .prepare_cached("SELECT id FROM parked WHERE n = ?1")?
            .query_row([stored(n)], |row| row.get(0))
            .optional()
    }

    /// Puts the ids of parked rows into the tables, once after the queue was opened.
    pub(crate) fn know_parked_ids(&mut self) -> rusqlite::Result<()> {
        if self.parked_ids_known {
            return Ok(());
        }
        let mut select = self
            .connection
            .prepare("SELECT n, lane, id FROM parked ORDER BY n")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(&lane) = self.state.lane_numbers.get(&small(row, 1)?) {
                let tag = tag(&self.hash_key, &row.get(2)?);
                self.state.lanes[lane].parked_ids.insert(tag, count(row, 0)?);
            }
        }
        self.parked_ids_known = true;
        Ok(())
    }

    /// Purges matching parked rows, a slice after row `after`: how many, and where the next slice begins.
    pub(crate) fn purge_parked(
        &mut self,
        selection: &Selection,
        after: u64,
    ) -> rusqlite::Result<(u64, Option<u64>)> {
        let (rows, next) = self.select_parked(selection, after)?;
        for row in &rows {
            self.state.lanes[row.lane].tallies.purged += 1;
            self.erase_parked(row)?;
        }
        Ok((rows.len() as u64, next))
    }

    fn select_parked(&self, selection: &Selection, after: u64) -> rusqlite::Result<(Vec<Gone>, Option<u64>)> {
        let mut found = Vec::new();
        let (mut seen, mut last) = (0, after);
        let mut select = self.connection.prepare_cached(
            "SELECT n, lane, bytes, id, project, epoch FROM parked WHERE n > ?1 ORDER BY n LIMIT ?2",
        )?;
        let mut rows = select.query((stored(after), SLICE))?;
        while let Some(row) = rows.next()? {
            (seen, last) = (seen + 1, count(row, 0)?);
            let Some(&lane) = self.state.lane_numbers.get(&small(row, 1)?) else {
                continue;
            };
            let project: Option<Id> = row.get(4)?;
            let epoch = row.get::<_, i64>(5)?.cast_unsigned();
            if selection.lanes.contains(&lane) && selection.takes(&row.get(3)?, project.as_ref(), epoch) {
                found.push(Gone {
                    n: last,
                    lane,
                    bytes: count(row, 2)?,
                });
            }
        }
        Ok((found, (seen == SLICE).then_some(last)))
    }

    /// Puts matching parked rows after row `after` back, a slice of them in a transaction of its own: how many, and
    /// where the next slice begins.
    pub(crate) fn requeue_on(&mut self, filter: &Filter, after: u64) -> rusqlite::Result<(u64, Option<u64>)> {
        let selection = self.select(filter);
        self.transaction(|store| {
            let (rows, next) = store.select_parked(&selection, after)?;
            for row in &rows {
                store.requeue_row(row)?;
            }
            store.make_room()?;
            Ok((rows.len() as u64, next))
        })
    }

    fn requeue_row(&mut self, row: &Gone) -> rusqlite::Result<()> {
        let (id, project, epoch, mut received, payload) = self
            .connection
            .prepare_cached(
                "SELECT id, project, epoch, wall_ms, boot_ms, boot, payload FROM parked WHERE n = ?1",
            )?
            .query_row([stored(row.n)], |row| {
                let epoch = row.get::<_, i64>(2)?.cast_unsigned();
                Ok((
                    row.get::<_, Id>(0)?,
                    row.get::<_, Option<Id>>(1)?,
                    epoch,
                    stamp(row, 3)?,
                    row.get::<_, Vec<u8>>(6)?,
                ))
            })?;
        received.epoch = epoch;
        self.erase_parked(row)?;
        let tag = tag(&self.hash_key, &id);
        self.push(row.lane, tag, received, &id, project.as_ref(), &payload)?;
        self.state.add_queued(row.lane, 1, row.bytes);
        let destination = self.state.lanes[row.lane].destination;
        self.state.destinations[destination].requeued += 1;
        Ok(())
    }
}
