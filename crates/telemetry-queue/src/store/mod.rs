//! The store: SQLite and what the writer knows by heart, changed together. One verb a file.
//!
//! I2, I5: whatever moves events moves their books in the same transaction. I7: only the writer thread has one.

use std::collections::BTreeMap;
use std::hash::RandomState;
use std::sync::Arc;

use rusqlite::Connection;

use crate::types::{Limits, Moment};

pub(crate) mod age;
pub(crate) mod append;
pub(crate) mod batches;
pub(crate) mod books;
pub(crate) mod check;
pub(crate) mod claim;
pub(crate) mod cut;
pub(crate) mod evict;
pub(crate) mod expire;
pub(crate) mod forget;
pub(crate) mod gather;
pub(crate) mod heap;
pub(crate) mod load;
pub(crate) mod parked;
pub(crate) mod preview;
pub(crate) mod purge;
pub(crate) mod rows;
pub(crate) mod segments;
pub(crate) mod sent;
pub(crate) mod settle;
pub(crate) mod state;
pub(crate) mod sums;
pub(crate) mod sweep;
pub(crate) mod view;

use age::Ages;
use state::State;

/// What belongs to the whole life of an open queue.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) connection: Connection,
    pub(crate) state: State,
    pub(crate) limits: Limits,
    pub(crate) ages: Ages,
    /// Keys the hash of ids.
    pub(crate) hash_key: RandomState,
    /// Lanes whose last segment is still being filled.
    pub(crate) filling: Vec<state::LaneAt>,
    /// Rows of the heap that this transaction erases before its commit.
    pub(crate) erased_in_heap: Vec<i64>,
    /// Buffers of segments that were written.
    pub(crate) spare: Vec<Vec<u8>>,
    /// Ids of parked rows are in the tables.
    pub(crate) parked_ids_known: bool,
    /// Nothing expires before this moment of the boot clock.
    pub(crate) next_expiry: u64,
    /// The disk was full: transactions are to stay small.
    pub(crate) sparing: bool,
    pub(crate) checked: check::Progress,
    pub(crate) probe: Option<fn(&'static str)>,
    /// Leases whose batches were purged whole: all that settling them does is to free their destinations.
    pub(crate) ghosts: std::collections::HashMap<crate::types::Id, state::DestinationAt>,
    /// Slices of purges since the queue was opened that erased queued rows, by uid.
    pub(crate) purges: Arc<BTreeMap<u32, u64>>,
    /// Events were erased for another reason than a purge (age, room, delivery), and may still be in the WAL.
    pub(crate) let_go: bool,
    /// Memory is not what the file holds: reading it again has failed.
    stale: bool,
    /// Leases as of the last commit, to go back to.
    leases: std::collections::HashMap<crate::types::Id, u64>,
}

impl Store {
    /// The store over an open connection; [`load`](Self::load) it before use.
    pub(crate) fn new(connection: Connection, limits: Limits, boot: u32, at: Moment) -> Self {
        Self {
            connection,
            state: State::default(),
            limits,
            ages: Ages::new(boot, at),
            hash_key: RandomState::new(),
            filling: Vec::new(),
            erased_in_heap: Vec::new(),
            spare: Vec::new(),
            parked_ids_known: false,
            next_expiry: 0,
            sparing: false,
            checked: check::Progress::default(),
            probe: None,
            ghosts: std::collections::HashMap::new(),
            purges: Arc::default(),
            let_go: false,
            stale: false,
            leases: std::collections::HashMap::new(),
        }
    }

    pub(crate) fn probe(&self, point: &'static str) {
        if let Some(probe) = self.probe {
            probe(point);
        }
    }

    /// Executes one cached statement.
    pub(crate) fn execute(&self, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute(params)
    }

    /// Begins a transaction.
    pub(crate) fn begin(&mut self) -> rusqlite::Result<()> {
        if self.stale {
            self.roll_back()?;
        }
        self.execute("BEGIN IMMEDIATE", []).map(|_| ())
    }

    /// Writes the lanes that changed, and commits.
    pub(crate) fn commit(&mut self) -> rusqlite::Result<()> {
        self.erase_in_heap()?;
        self.flush_segments()?;
        self.write_lanes()?;
        self.probe("before-commit");
        self.execute("COMMIT", [])?;
        self.leases.clone_from(&self.state.leases);
        self.probe("after-commit");
        Ok(())
    }

    /// Ends a lease that nobody knows of.
    pub(crate) fn end_lease(&mut self, id: &crate::types::Id) {
        self.leases.remove(id);
        if let Some(&n) = self.state.leases.get(id) {
            self.state.release(n);
        }
    }

    /// Undoes the transaction, in the file and in memory. Where that fails, nothing is begun before it succeeds.
    fn roll_back(&mut self) -> rusqlite::Result<()> {
        self.stale = true;
        if !self.connection.is_autocommit() {
            self.execute("ROLLBACK", [])?;
        }
        self.reload()
    }

    /// One transaction: committed when `work` succeeds, undone when it or the commit fails.
    pub(crate) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let result = self.begin().and_then(|()| {
            let value = work(self)?;
            self.commit()?;
            Ok(value)
        });
        if result.is_err() {
            self.roll_back()?;
        }
        result
    }

    /// Reads the memory's half again from the file, and keeps what only memory knows: id tables, leases, how far
    /// the first reading came, and sequence numbers that were given out already.
    fn reload(&mut self) -> rusqlite::Result<()> {
        let mut old = std::mem::take(&mut self.state);
        self.filling.clear();
        self.erased_in_heap.clear();
        if let Err(error) = self.load_state() {
            self.state = old;
            return Err(error);
        }
        let mut ahead = Vec::new();
        for (place, lane) in self.state.lanes.iter_mut().enumerate() {
            let Some(&at) = old.lane_names.get(&*lane.lane) else {
                continue;
            };
            let before = &mut old.lanes[at];
            if before.number != lane.number {
                continue;
            }
            lane.ids = std::mem::take(&mut before.ids);
            lane.parked_ids = std::mem::take(&mut before.parked_ids);
            lane.scan = before.scan;
            if before.next_seq > lane.next_seq {
                lane.next_seq = before.next_seq;
                ahead.push(place);
            }
        }
        for lane in ahead {
            self.state.mark(lane);
        }
        self.state.next_batch = self.state.next_batch.max(old.next_batch);
        self.state.next_parked = self.state.next_parked.max(old.next_parked);
        self.state.next_in_heap = self.state.next_in_heap.max(old.next_in_heap);
        for before in &old.destinations {
            let at = self.state.destination(&before.name);
            self.state.destinations[at].requeued = before.requeued;
            self.state.destinations[at].held.clone_from(&before.held);
        }
        for (id, n) in self.leases.clone() {
            self.state.lease_as(n, id);
        }
        // What had expired has not left after all.
        self.next_expiry = 0;
        self.stale = false;
        Ok(())
    }
}
