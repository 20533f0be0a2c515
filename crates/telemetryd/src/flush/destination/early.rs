//! A user's own flush: in a machine-wide daemon `flush` sends what the caller has waiting, and nobody else's rows
//! before their time (I13).

use std::sync::Arc;
use std::time::Duration;

use telemetry_queue::{Claimed, Id, Moment, Waiting};
use tracing::warn;

use super::trigger::{self, Next};
use super::{Flusher, SETTLE_AGAIN, sleep};
use crate::flush::state::Deadline;

/// Users whose rows are to go early, and how many of each. As many as may be connected by default (I6); who comes
/// after that many waits for the batch's own time.
const USERS: usize = 1024;

/// Whose rows go before their time.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// Users, and how many events of each.
    wanted: Vec<(u32, u64)>,
    /// The batch that was claimed for one of them.
    claimed: Option<Id>,
    /// When one was last sent past a backoff.
    knocked: Option<Moment>,
    /// What the backoff was before that, until the answer is there: attempts, and the next try.
    before: Option<(u32, Option<Deadline>)>,
}

impl Early {
    fn add(&mut self, uid: u32, events: u64) {
        if let Some((_, left)) = self.wanted.iter_mut().find(|(known, _)| *known == uid) {
            *left = events;
        } else if self.wanted.len() < USERS {
            self.wanted.push((uid, events));
        }
    }

    /// So many of this user's events were claimed; `None`: there are no more. The next user comes to its turn.
    pub(super) fn claimed(&mut self, uid: u32, events: Option<usize>) {
        let Some(at) = self.wanted.iter().position(|(known, _)| *known == uid) else {
            return;
        };
        let (uid, left) = self.wanted.remove(at);
        let left = left.saturating_sub(events.map_or(u64::MAX, |events| events as u64));
        if left > 0 {
            self.wanted.push((uid, left));
        }
    }

    /// A batch goes back that was claimed to go early: its events go early all the same, once they may.
    pub(super) fn put_back(&mut self, batch: &Claimed) {
        if self.claimed == Some(batch.id) {
            self.claimed = None;
            let events = batch.events.len() as u64;
            let known = self.wanted.iter_mut().find(|(uid, _)| *uid == batch.uid);
            match known {
                Some((_, left)) => *left += events,
                None => self.add(batch.uid, events),
            }
        }
    }

    /// This user's rows go no more before their time.
    pub(super) fn forget(&mut self, uid: u32) {
        self.wanted.retain(|(known, _)| *known != uid);
    }

    /// Whether one may go past a backoff again: a user who asks in a loop knocks at the pace of a first retry.
    fn may_knock(&self, now: Moment, pace: Duration) -> bool {
        self.knocked
            .is_none_or(|last| now.boot_ms.saturating_sub(last.boot_ms) >= pace.as_millis() as u64)
    }

    /// What the backoff was before one went past it: one user's asking is not to make everybody wait longer.
    pub(super) fn backoff_before(&mut self) -> Option<(u32, Option<Deadline>)> {
        self.before.take()
    }

    /// An attempt failed: nothing goes early any more.
    pub(super) fn clear(&mut self) {
        self.wanted.clear();
        self.claimed = None;
    }
}

impl Flusher {
    /// What this user has waiting now goes early.
    pub(super) fn send_early(&mut self, uid: u32, events: u64) {
        // A hold stands above a flush.
        if events > 0 && !self.state.held_users.contains_key(&uid) {
            self.early.add(uid, events);
        }
    }

    /// Claims a batch of this uid's rows.
    pub(super) async fn claim_early(&mut self, uid: u32) {
        let now = self.shared.clock.now();
        if self.state.is_away() {
            self.early.knocked = Some(now);
            self.early.before = Some((self.state.attempts, self.state.next_try));
        }
        let limits = self.limits(now);
        let name = Arc::clone(&self.settings.name);
        match self.shared.queue.claim_of(&name, uid, limits, now).await {
            Ok(batch) => {
                self.early
                    .claimed(uid, batch.as_ref().map(|batch| batch.events.len()));
                self.early.claimed = batch.as_ref().map(|batch| batch.id);
                self.hold_ready(batch);
            }
            Err(error) => {
                warn!(destination = %name, %error, "cannot claim a batch");
                sleep(Some(SETTLE_AGAIN)).await;
            }
        }
    }

    /// Whether this batch was claimed to go early, and may.
    pub(super) fn goes_early(&self, batch: &Claimed, waiting: &Waiting) -> bool {
        let mut inputs = self.inputs(waiting);
        inputs.flush = true;
        self.early.claimed == Some(batch.id) && trigger::next(&inputs) == Next::Send
    }

    /// Whose rows are to go although nothing else is due.
    pub(super) fn early(&mut self, waiting: &Waiting) -> Option<u32> {
        if waiting.events == 0 {
            self.early.clear();
        }
        let &(uid, _) = self.early.wanted.first()?;
        let mut inputs = self.inputs(waiting);
        inputs.flush = !self.state.is_away() || self.early.may_knock(inputs.now, self.settings.retry.initial);
        (trigger::next(&inputs) == Next::Send).then_some(uid)
    }
}

#[cfg(test)]
mod tests {
    use telemetry_queue::{Claimed, ClaimedEvent, Losses, Moment};

    use super::Early;

    #[test]
    fn users_take_turns_until_each_has_what_it_asked_for() {
        let mut early = Early::default();
        early.add(1, 700);
        early.add(2, 10);
        early.claimed(1, Some(500));
        assert_eq!(early.wanted, [(2, 10), (1, 200)]);
        early.claimed(2, Some(10));
        early.claimed(1, None);
        assert!(early.wanted.is_empty());
    }

    #[test]
    fn what_is_put_back_goes_early_all_the_same() {
        let batch = |uid| Claimed {
            id: [7; 16],
            uid,
            destination: "default".into(),
            attempts: 0,
            root_events: 2,
            losses: Losses::default(),
            purges: 0,
            arena: Vec::new(),
            events: vec![event(), event()],
        };
        let mut early = Early::default();
        early.add(1, 5);
        early.claimed(1, Some(2));
        early.claimed = Some([7; 16]);
        early.put_back(&batch(1));
        assert_eq!(early.wanted, [(1, 5)]);
        early.put_back(&batch(1));
        assert_eq!(early.wanted, [(1, 5)], "once");
        early.claimed(1, Some(5));
        early.claimed = Some([7; 16]);
        early.put_back(&batch(1));
        assert_eq!(early.wanted, [(1, 2)]);
    }

    fn event() -> ClaimedEvent {
        ClaimedEvent {
            id: [0; 16],
            tool: "t".into(),
            epoch: 1,
            project: None,
            received: Moment::default(),
            this_boot: true,
            payload: 0..0,
        }
    }
}
