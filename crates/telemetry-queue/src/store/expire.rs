//! Expiry: nothing is kept for ever. Looked at in the writer's turns, never by a timer (I11).

use super::Store;
use super::evict::Dropped;
use crate::types::Losses;

/// Events that one turn expires at most; what is left goes in the next, or between commands.
const SLICE: u64 = 4096;

impl Store {
    /// One slice of everything that age and the sent log's limits take away.
    pub(crate) fn age_out(&mut self) -> rusqlite::Result<()> {
        self.expire()?;
        if self.parked_is_over() {
            self.expire_parked()?;
        }
        // On a full disk what frees pages is kept apart from what needs them.
        if !self.sparing && self.sent_is_over() {
            self.trim_sent()?;
        }
        Ok(())
    }

    /// Whether [`age_out`](Self::age_out) has something to do.
    pub(crate) fn is_over_age(&self) -> bool {
        self.expiry_is_due() || self.parked_is_over() || self.sent_is_over()
    }

    /// Whether something may have expired.
    pub(crate) fn expiry_is_due(&self) -> bool {
        self.ages.now.boot_ms >= self.next_expiry
    }

    /// Expires waiting events, members of batches that are not under lease among them.
    pub(crate) fn expire(&mut self) -> rusqlite::Result<()> {
        if !self.expiry_is_due() {
            return Ok(());
        }
        self.flush_segments()?;
        let limit = self.limits.max_age_ms;
        let due: Vec<u64> = self
            .state
            .batches
            .values()
            .filter(|batch| batch.lease.is_none() && self.ages.age(&batch.oldest) > limit)
            .map(|batch| batch.n)
            .collect();
        for n in due {
            self.dissolve(n)?;
        }
        let mut left = SLICE;
        for lane in 0..self.state.lanes.len() {
            while left > 0
                && self.state.lanes[lane]
                    .head
                    .is_some_and(|head| self.ages.age(&head) > limit)
            {
                let ages = self.ages;
                let dropped = self.drop_waiting(lane, |stamp, _| {
                    let more = left > 0 && ages.age(stamp) > limit;
                    left -= u64::from(more);
                    more
                })?;
                self.book_expired(lane, dropped)?;
                self.refresh_head(lane)?;
                if dropped.events == 0 {
                    break;
                }
            }
        }
        self.next_expiry = if left == 0 { 0 } else { self.earliest_expiry() };
        Ok(())
    }

    fn earliest_expiry(&self) -> u64 {
        let limit = self.limits.max_age_ms;
        let heads = self.state.lanes.iter().filter_map(|lane| lane.head);
        let batches = self.state.batches.values().map(|batch| batch.oldest);
        // What comes later expires later than something that would come now.
        let now = self.ages.now.boot_ms.saturating_add(limit);
        heads
            .chain(batches)
            .map(|stamp| self.ages.not_before(&stamp, limit))
            .fold(now, u64::min)
    }

    fn book_expired(&mut self, lane: usize, dropped: Dropped) -> rusqlite::Result<()> {
        let state = &mut self.state.lanes[lane];
        state.tallies.expired += dropped.events;
        let (uid, destination) = (state.lane.uid, state.destination);
        self.state.take_queued(lane, dropped.events, dropped.bytes);
        self.add_losses(
            uid,
            destination,
            Losses {
                expired: dropped.events,
                ..Losses::default()
            },
        )
    }
}
