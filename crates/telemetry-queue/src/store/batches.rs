//! Batches as rows: made, dropped, dissolved; and the losses that they report.
//!
//! I8: a batch's id stands for its members. Whatever changes them gives it a new one.

use super::Store;
use super::load::stored;
use super::state::{Batch, Member};
use crate::types::{Id, Losses};

/// Distance between the order numbers of two new batches: room for 24 halvings of one.
pub(crate) const ORDER_STEP: i64 = 1 << 24;

/// A new batch's id.
pub(crate) fn new_id() -> Id {
    *uuid::Uuid::new_v4().as_bytes()
}

impl Store {
    /// A number that no batch and no sent row has.
    pub(crate) fn take_batch_number(&mut self) -> u64 {
        self.state.next_batch += 1;
        self.state.next_batch - 1
    }

    /// Writes a new batch with its members, whose events are taken out of the waiting ones.
    pub(crate) fn add_batch(&mut self, batch: Batch) -> rusqlite::Result<()> {
        let name = &self.state.destinations[batch.destination].name;
        let (oldest, losses) = (&batch.oldest, &batch.losses);
        self.execute(
            "INSERT INTO batch (n, id, root, root_events, uid, destination, ord, events, bytes,
               wall_ms, boot_ms, boot, evicted, expired, quota)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            rusqlite::params![
                stored(batch.n),
                batch.id,
                stored(batch.root),
                batch.root_events,
                batch.uid,
                &**name,
                batch.order,
                stored(batch.events),
                stored(batch.bytes),
                oldest.received.wall_ms,
                stored(oldest.received.boot_ms),
                oldest.boot,
                stored(losses.evicted),
                stored(losses.expired),
                stored(losses.quota),
            ],
        )?;
        for member in &batch.members {
            self.execute(
                "INSERT INTO member (batch, lane, first, last, events, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                (
                    stored(batch.n),
                    self.state.lanes[member.lane].number,
                    stored(member.first),
                    stored(member.last),
                    stored(member.events),
                    stored(member.bytes),
                ),
            )?;
            let lane = &mut self.state.lanes[member.lane];
            lane.waiting.remove(member.first, member.last);
            lane.held += member.events;
        }
        let destination = &mut self.state.destinations[batch.destination];
        destination.batches.insert(batch.order, batch.n);
        destination.dirty = true;
        self.state.batches.insert(batch.n, batch);
        Ok(())
    }

    /// Forgets a batch and its row; its member rows go where `members` says so. Its events are then in no batch:
    /// the caller says where they are.
    pub(crate) fn remove_batch(&mut self, n: u64, members: bool) -> rusqlite::Result<Option<Batch>> {
        self.state.release(n);
        let Some(batch) = self.state.batches.remove(&n) else {
            return Ok(None);
        };
        self.execute("DELETE FROM batch WHERE n = ?1", [stored(n)])?;
        if members {
            self.execute("DELETE FROM member WHERE batch = ?1", [stored(n)])?;
        }
        let destination = &mut self.state.destinations[batch.destination];
        if destination.batches.get(&batch.order) == Some(&n) {
            destination.batches.remove(&batch.order);
        }
        destination.dirty = true;
        for member in &batch.members {
            let lane = &mut self.state.lanes[member.lane];
            lane.held = lane.held.saturating_sub(member.events);
        }
        Ok(Some(batch))
    }

    /// Lets members wait again.
    pub(crate) fn let_wait(&mut self, members: &[Member]) -> rusqlite::Result<()> {
        for member in members {
            self.state.lanes[member.lane]
                .waiting
                .insert(member.first, member.last);
        }
        for member in members {
            self.refresh_head(member.lane)?;
        }
        Ok(())
    }

    /// Ends a batch without a settlement: its events wait again, its losses are to be reported by another.
    pub(crate) fn dissolve(&mut self, n: u64) -> rusqlite::Result<()> {
        let Some(batch) = self.remove_batch(n, true)? else {
            return Ok(());
        };
        self.add_losses(batch.uid, batch.destination, batch.losses)?;
        self.let_wait(&batch.members)?;
        if let Some(of) = self.state.roots.get_mut(&batch.root) {
            of.events = of.events.saturating_sub(batch.events);
            if batch.refused != 0 {
                of.refused = of.refused.saturating_sub(batch.events);
                of.waiting.retain(|&waiting| waiting != n);
            }
            self.write_root(batch.root)?;
        }
        if batch.refused == 0 {
            self.piece_gone(batch.root)?;
        }
        Ok(())
    }

    /// Adds to what (uid, destination) has to report.
    pub(crate) fn add_losses(&mut self, uid: u32, destination: usize, more: Losses) -> rusqlite::Result<()> {
        if more == Losses::default() {
            return Ok(());
        }
        let pool = self.state.losses.entry((uid, destination)).or_default();
        pool.evicted += more.evicted;
        pool.expired += more.expired;
        pool.quota += more.quota;
        let pool = *pool;
        self.execute(
            "INSERT OR REPLACE INTO loss (uid, destination, evicted, expired, quota) VALUES (?1, ?2, ?3, ?4, ?5)",
            (
                uid,
                &*self.state.destinations[destination].name,
                stored(pool.evicted),
                stored(pool.expired),
                stored(pool.quota),
            ),
        )?;
        Ok(())
    }

    /// Takes what (uid, destination) has to report, for a batch that will.
    pub(crate) fn take_losses(&mut self, uid: u32, destination: usize) -> rusqlite::Result<Losses> {
        let Some(losses) = self.state.losses.remove(&(uid, destination)) else {
            return Ok(Losses::default());
        };
        self.execute(
            "DELETE FROM loss WHERE uid = ?1 AND destination = ?2",
            (uid, &*self.state.destinations[destination].name),
        )?;
        Ok(losses)
    }
}
