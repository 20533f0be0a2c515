//! Settling: the only way by which an endpoint's answer changes the queue.

use std::sync::Arc;

use super::Store;
use super::load::stored;
use crate::command::Settle;
use crate::types::{Id, Outcome, Settled};

/// How much of an error or of an answer is kept.
pub(crate) const ANSWER: usize = 1024;

impl Store {
    /// Ends a lease by its outcome. An id that is not under lease settles nothing.
    pub(crate) fn settle(&mut self, settle: &Settle) -> rusqlite::Result<Settled> {
        let Some(&n) = self.state.leases.get(&settle.batch) else {
            self.ghosts.remove(&settle.batch);
            return Ok(Settled::default());
        };
        let Some(batch) = self.state.batches.get(&n) else {
            return Ok(Settled::default());
        };
        let unheard = batch.unheard;
        if let Some(state) = &settle.state {
            let name = self.state.destinations[batch.destination].name.clone();
            self.set_destination_state(&name, state)?;
        }
        match &settle.outcome {
            Outcome::Delivered { status, meta } => self.delivered(n, *status, meta),
            Outcome::Retry { error } => self.retry(n, error),
            Outcome::Split { status, answer } => self.split(n, *status, clip(answer)),
            Outcome::Bisect { status, answer } => self.bisect(n, *status, clip(answer)),
            Outcome::PutBack if unheard => self.dissolve(n).map(|()| Settled::default()),
            Outcome::Release | Outcome::PutBack => {
                self.state.release(n);
                Ok(Settled::default())
            }
        }
    }

    /// The destination of what is under lease by this id, although it may have been purged meanwhile.
    pub(crate) fn destination_of(&mut self, id: &Id) -> Option<Arc<str>> {
        let batch = self.state.leases.get(id).and_then(|n| self.state.batches.get(n));
        let at = batch
            .map(|batch| batch.destination)
            .or_else(|| self.ghosts.remove(id))?;
        Some(Arc::clone(&self.state.destinations[at].name))
    }

    fn retry(&mut self, n: u64, error: &str) -> rusqlite::Result<Settled> {
        let Some(batch) = self.state.batches.get_mut(&n) else {
            return Ok(Settled::default());
        };
        batch.attempts = batch.attempts.saturating_add(1);
        let attempts = batch.attempts;
        let mut end = error.len().min(ANSWER);
        while !error.is_char_boundary(end) {
            end -= 1;
        }
        self.execute(
            "UPDATE batch SET attempts = ?2, error = ?3 WHERE n = ?1",
            (stored(n), attempts, &error[..end]),
        )?;
        self.state.release(n);
        Ok(Settled::default())
    }

    fn delivered(&mut self, n: u64, status: u16, meta: &str) -> rusqlite::Result<Settled> {
        let lease = self.state.batches.get(&n).and_then(|batch| batch.lease);
        let Some(mut batch) = self.remove_batch(n, false)? else {
            return Ok(Settled::default());
        };
        // The log shows the id that the endpoint was given.
        batch.id = lease.unwrap_or(batch.id);
        for member in &batch.members {
            self.state.lanes[member.lane].tallies.delivered += member.events;
            self.state.take_queued(member.lane, member.events, member.bytes);
        }
        let parked = self.piece_delivered(batch.root, batch.events)?;
        self.log_sent(&batch, status, meta)?;
        Ok(Settled {
            parked,
            refuses_everything: false,
        })
    }
}

fn clip(answer: &[u8]) -> &[u8] {
    &answer[..answer.len().min(ANSWER)]
}
