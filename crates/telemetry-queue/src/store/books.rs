//! The books, and what is kept for destinations. I5: lanes are written in the transaction that changed them.

use std::sync::Arc;

use super::Store;
use super::load::stored;
use crate::types::Book;

impl Store {
    /// Writes the rows of the lanes that changed.
    pub(crate) fn write_lanes(&mut self) -> rusqlite::Result<()> {
        for at in std::mem::take(&mut self.state.changed) {
            let lane = &mut self.state.lanes[at];
            lane.dirty = false;
            let tallies = lane.tallies;
            let (number, next_seq, bytes, parked_bytes) =
                (lane.number, lane.next_seq, lane.bytes, lane.parked_bytes);
            self.execute(
                "UPDATE lane SET next_seq = ?2, accepted = ?3, delivered = ?4, parked = ?5, queued = ?6,
                   evicted = ?7, expired = ?8, purged = ?9, lost = ?10, bytes = ?11, parked_bytes = ?12
                 WHERE n = ?1",
                (
                    number,
                    stored(next_seq),
                    stored(tallies.accepted),
                    stored(tallies.delivered),
                    stored(tallies.parked),
                    stored(tallies.queued),
                    stored(tallies.evicted),
                    stored(tallies.expired),
                    stored(tallies.purged),
                    stored(tallies.lost),
                    stored(bytes),
                    stored(parked_bytes),
                ),
            )?;
        }
        Ok(())
    }

    /// The books of all lanes, or of one uid's.
    pub(crate) fn books(&self, uid: Option<u32>) -> Vec<Book> {
        let lanes = self
            .state
            .lanes
            .iter()
            .filter(|lane| uid.is_none_or(|uid| uid == lane.lane.uid));
        lanes.map(super::state::LaneState::book).collect()
    }

    /// Stores a destination's text; an empty one goes.
    pub(crate) fn set_destination_state(&mut self, name: &Arc<str>, state: &str) -> rusqlite::Result<()> {
        if self
            .state
            .destination_states
            .get(name)
            .is_some_and(|kept| kept == state)
        {
            return Ok(());
        }
        if state.is_empty() {
            self.execute("DELETE FROM destination WHERE name = ?1", [&**name])?;
            self.state.destination_states.remove(name);
        } else {
            self.execute(
                "INSERT OR REPLACE INTO destination (name, state) VALUES (?1, ?2)",
                [&**name, state],
            )?;
            self.state
                .destination_states
                .insert(Arc::clone(name), state.to_owned());
        }
        Ok(())
    }
}
