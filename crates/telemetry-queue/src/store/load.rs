//! Reading the small tables into memory: at the start, and again after a rollback.
//!
//! The waiting events of a lane are written down nowhere: they are what its segments hold and no batch and no
//! sent row has as a member.

use std::sync::Arc;

use rusqlite::Row;

use super::Store;
use super::state::{Batch, LaneAt, Member, Root, Scan, SentEntry, State, Tallies};
use crate::file::fit_cache;
use crate::schema;
use crate::segment::Stamp;
use crate::types::{Book, Id, Lane, Losses, Moment};

/// A column that holds a count.
pub(crate) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

/// A count as SQLite stores it.
pub(crate) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A small count.
pub(crate) fn small<T: TryFrom<i64> + Default>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    Ok(T::try_from(row.get::<_, i64>(column)?).unwrap_or_default())
}

/// Three columns that hold a stamp (without epoch).
pub(crate) fn stamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Stamp> {
    let received = Moment {
        wall_ms: row.get(column)?,
        boot_ms: count(row, column + 1)?,
    };
    Ok(Stamp {
        received,
        boot: small(row, column + 2)?,
        epoch: 0,
    })
}

/// Three columns that hold losses.
pub(crate) fn losses(row: &Row<'_>, column: usize) -> rusqlite::Result<Losses> {
    Ok(Losses {
        evicted: count(row, column)?,
        expired: count(row, column + 1)?,
        quota: count(row, column + 2)?,
    })
}

/// Four columns that hold a member of a lane: `first`, `last`, `events`, `bytes`.
pub(crate) fn member(row: &Row<'_>, column: usize, lane: LaneAt) -> rusqlite::Result<Member> {
    Ok(Member {
        lane,
        first: count(row, column)?,
        last: count(row, column + 1)?,
        events: count(row, column + 2)?,
        bytes: count(row, column + 3)?,
    })
}

impl Store {
    /// Reads everything at the start; returns the books that do not balance.
    pub(crate) fn load(&mut self) -> rusqlite::Result<Vec<Book>> {
        self.load_state()?;
        fit_cache(&self.connection, self.state.lanes.len())?;
        for lane in &mut self.state.lanes {
            let booked = lane.tallies.queued;
            lane.scan = Some(Scan {
                next: 0,
                end: lane.next_seq,
                counted: 0,
                booked,
            });
        }
        Ok(self
            .state
            .lanes
            .iter()
            .map(super::state::LaneState::book)
            .filter(|book| !book.balanced())
            .collect())
    }

    pub(super) fn load_state(&mut self) -> rusqlite::Result<()> {
        let mut state = State::default();
        self.load_lanes(&mut state)?;
        self.load_batches(&mut state)?;
        self.load_members(&mut state)?;
        self.load_sent(&mut state)?;
        self.load_rest(&mut state)?;
        for lane in state.changed.drain(..) {
            state.lanes[lane].dirty = false;
        }
        self.state = state;
        for lane in 0..self.state.lanes.len() {
            self.refresh_head(lane)?;
        }
        Ok(())
    }

    fn load_lanes(&self, state: &mut State) -> rusqlite::Result<()> {
        let mut select = self.connection.prepare(
            "SELECT n, uid, destination, tool, next_seq, accepted, delivered, parked, queued, evicted, expired,
                    purged, lost, bytes, parked_bytes FROM lane ORDER BY n",
        )?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let destination = match state.destination_names.get_key_value(row.get_ref(2)?.as_str()?) {
                Some((name, _)) => Arc::clone(name),
                None => Arc::from(row.get_ref(2)?.as_str()?),
            };
            let lane = Lane {
                uid: small(row, 1)?,
                destination,
                tool: Arc::from(row.get_ref(3)?.as_str()?),
            };
            let at = state.add_lane(small(row, 0)?, Arc::new(lane));
            let (queued, bytes, parked_bytes) = (count(row, 8)?, count(row, 13)?, count(row, 14)?);
            state.add_queued(at, queued, bytes);
            let lane = &mut state.lanes[at];
            lane.next_seq = count(row, 4)?;
            lane.tallies = Tallies {
                accepted: count(row, 5)?,
                delivered: count(row, 6)?,
                parked: count(row, 7)?,
                queued,
                evicted: count(row, 9)?,
                expired: count(row, 10)?,
                purged: count(row, 11)?,
                lost: count(row, 12)?,
            };
            lane.parked_bytes = parked_bytes;
            state.tools[lane.tool].parked_bytes += parked_bytes;
            state.parked_rows += lane.tallies.parked;
            state.destinations[lane.destination].accepted += lane.tallies.accepted;
            if let Some(first) = self.first_key(lane.number)? {
                lane.waiting
                    .insert(schema::seq_of(first), lane.next_seq.saturating_sub(1));
            }
        }
        Ok(())
    }

    fn load_batches(&self, state: &mut State) -> rusqlite::Result<()> {
        let mut select = self
            .connection
            .prepare("SELECT n, events, refused, delivered, status, mixed FROM root")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let root = Root {
                events: count(row, 1)?,
                refused: count(row, 2)?,
                delivered: count(row, 3)?,
                status: small(row, 4)?,
                mixed: count(row, 5)? != 0,
                ..Root::default()
            };
            state.roots.insert(count(row, 0)?, root);
        }
        let mut select = self.connection.prepare(
            "SELECT n, id, root, root_events, uid, destination, ord, refused, attempts, events, bytes,
                    wall_ms, boot_ms, boot, evicted, expired, quota FROM batch ORDER BY n",
        )?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let destination = state.destination(&Arc::from(row.get_ref(5)?.as_str()?));
            let batch = Batch {
                n: count(row, 0)?,
                id: row.get::<_, Id>(1)?,
                root: count(row, 2)?,
                root_events: small(row, 3)?,
                uid: small(row, 4)?,
                destination,
                order: row.get(6)?,
                refused: small(row, 7)?,
                attempts: small(row, 8)?,
                events: count(row, 9)?,
                bytes: count(row, 10)?,
                oldest: stamp(row, 11)?,
                losses: losses(row, 14)?,
                members: Vec::new(),
                lease: None,
                unheard: false,
            };
            state.next_batch = batch.n + 1;
            if batch.refused == 0 {
                state.destinations[destination]
                    .batches
                    .insert(batch.order, batch.n);
            }
            if let Some(root) = state.roots.get_mut(&batch.root) {
                if batch.refused == 0 {
                    root.open += 1;
                } else {
                    root.waiting.push(batch.n);
                }
            }
            state.batches.insert(batch.n, batch);
        }
        Ok(())
    }

    fn load_members(&self, state: &mut State) -> rusqlite::Result<()> {
        let mut select = self.connection.prepare(
            "SELECT batch, lane, first, last, events, bytes FROM member ORDER BY batch, lane, first",
        )?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let Some(&lane) = state.lane_numbers.get(&small(row, 1)?) else {
                continue;
            };
            let member = member(row, 2, lane)?;
            state.lanes[lane].waiting.remove(member.first, member.last);
            if let Some(batch) = state.batches.get_mut(&count(row, 0)?) {
                state.lanes[lane].held += member.events;
                batch.members.push(member);
            } else {
                state.lanes[lane].logged += member.events;
            }
        }
        Ok(())
    }

    fn load_sent(&self, state: &mut State) -> rusqlite::Result<()> {
        let mut select = self
            .connection
            .prepare("SELECT n, kept, wall_ms, boot_ms, boot, uid FROM sent ORDER BY n")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let entry = SentEntry {
                n: count(row, 0)?,
                kept: count(row, 1)?,
                uid: small(row, 5)?,
                at: stamp(row, 2)?,
            };
            state.next_batch = state.next_batch.max(entry.n + 1);
            state.add_sent(entry);
        }
        state.next_batch = state.next_batch.max(1);
        Ok(())
    }

    fn load_rest(&self, state: &mut State) -> rusqlite::Result<()> {
        let mut select = self
            .connection
            .prepare("SELECT uid, destination, evicted, expired, quota FROM loss")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let destination = state.destination(&Arc::from(row.get_ref(1)?.as_str()?));
            state
                .losses
                .insert((small(row, 0)?, destination), losses(row, 2)?);
        }
        let mut select = self.connection.prepare("SELECT name, state FROM destination")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            state
                .destination_states
                .insert(Arc::from(row.get_ref(0)?.as_str()?), row.get(1)?);
        }
        let newest: Option<i64> = self
            .connection
            .query_row("SELECT max(n) FROM parked", [], |row| row.get(0))?;
        state.next_parked = newest.unwrap_or(0).unsigned_abs() + 1;
        state.parked_oldest = self.oldest_parked()?;
        state.next_in_heap = self.next_in_heap()?;
        Ok(())
    }
}
