//! What the queue does while a request is under way: it settles the batches before, and claims those after, where
//! full ones wait. So neither waits for the other; one request is in flight all the same (DELIVERY.md).
//!
//! A claim and a settlement are never dropped half way: they are not cancel safe, and the lease would stay. What was
//! claimed and does not go after all is put back, as if it had not been claimed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use telemetry_queue::{Claimed, Moment, Outcome, QueueError, Settled};
use tracing::debug;

use super::Flusher;
use super::settle::in_one_turn;
use crate::flush::cut;
use crate::flush::state::Condition;
use crate::flush::trigger::{self, Next};

/// Batches that are claimed before they can be sent, and delivered ones that are not settled yet, at most so many of
/// each (I6): a settlement takes as long as the transaction before it and its own, and a request is shorter.
const DEPTH: usize = 2;

/// A settlement, a claim, or both.
type Work = Pin<Box<dyn Future<Output = Result<(Option<Settled>, Option<Claimed>), QueueError>> + Send>>;

/// A batch that was delivered and is not settled yet.
struct Delivered {
    batch: Claimed,
    outcome: Outcome,
    at: Moment,
}

/// The batches before and after the one that is being sent.
#[derive(Default)]
pub(super) struct Ahead {
    /// To be settled, in this order.
    delivered: VecDeque<Delivered>,
    /// To be sent, in this order.
    claimed: VecDeque<Claimed>,
    /// What the queue is doing for the first of the delivered ones, or for a further claimed one.
    work: Option<Work>,
    /// The queue could not do it: nothing more is asked of it beside a request before that is mended.
    stuck: bool,
    /// The last claim found nothing.
    dry: bool,
}

impl Ahead {
    /// What the queue answers; waits for ever where it was asked nothing. Cancel safe.
    pub(super) async fn worked(&mut self) -> Result<(Option<Settled>, Option<Claimed>), QueueError> {
        let done = match &mut self.work {
            Some(work) => work.await,
            None => std::future::pending().await,
        };
        self.work = None;
        done
    }
}

impl Flusher {
    /// The next batch to be sent, if one is at hand.
    pub(super) fn at_hand(&mut self) -> Option<Claimed> {
        self.ahead.dry = false;
        self.ahead.claimed.pop_front()
    }

    /// One more batch to be sent.
    pub(super) fn hold_ready(&mut self, batch: Option<Claimed>) {
        self.ahead.claimed.extend(batch);
    }

    /// Asks the queue for what can be done now: the settlement of the oldest delivered batch, and a claim where a
    /// full batch waits and no half of another goes first.
    pub(super) fn work_ahead(&mut self) {
        if self.ahead.work.is_some() || self.ahead.stuck {
            return;
        }
        let claim = self.ahead.claimed.len() < DEPTH && !self.ahead.dry && self.full_batch_waits();
        let now = self.shared.clock.now();
        let limits = self.limits(now);
        let queue = self.shared.queue.clone();
        let settle = self.ahead.delivered.front();
        let settle = settle.map(|before| (before.batch.id, before.outcome.clone(), before.at));
        let work: Work = match settle {
            None if !claim => return,
            None => {
                let name = Arc::clone(&self.settings.name);
                Box::pin(async move { Ok((None, queue.claim(&name, limits, now).await?)) })
            }
            Some((id, outcome, at)) => {
                let text = self.text_to_keep();
                let limits = claim.then_some(limits);
                Box::pin(async move {
                    let (settled, claimed) = in_one_turn(&queue, id, outcome, text, limits, at).await?;
                    Ok((Some(settled), claimed))
                })
            }
        };
        self.ahead.dry |= claim;
        self.ahead.work = Some(work);
    }

    fn full_batch_waits(&mut self) -> bool {
        let waiting = self.waiting();
        let batch = cut(&self.settings);
        trigger::is_full(&waiting, &batch)
            && waiting.open_batches == 0
            && self.state.condition == Condition::Idle
            && !self.state.doubted
            && self.next_with(&waiting) == Next::Send
    }

    /// Takes the queue's answer.
    pub(super) fn take_work(&mut self, done: Result<(Option<Settled>, Option<Claimed>), QueueError>) {
        match done {
            Ok((settled, claimed)) => {
                if let Some(settled) = settled
                    && let Some(before) = self.ahead.delivered.pop_front()
                {
                    let Delivered { batch, outcome, at } = before;
                    self.was_settled(&batch, &outcome, settled, at);
                }
                if claimed.is_some() {
                    self.ahead.dry = false;
                }
                self.hold_ready(claimed);
            }
            Err(error) => {
                debug!(destination = %self.settings.name, %error, "the queue cannot work ahead");
                self.ahead.stuck = true;
            }
        }
    }

    /// A batch was delivered. Whether it is settled at once, or beside the next request, depends on what is at hand.
    /// At the end the next batch is, if the trigger wants one.
    pub(super) async fn was_delivered(&mut self, mut batch: Claimed, outcome: Outcome, at: Moment) {
        // The endpoint has the payloads: nobody here needs them any more (I6).
        batch.arena = Vec::new();
        self.ahead.delivered.push_back(Delivered { batch, outcome, at });
        while self.ahead.work.is_some()
            && (self.ahead.delivered.len() > DEPTH || self.ahead.claimed.is_empty())
        {
            let done = self.ahead.worked().await;
            self.take_work(done);
            self.work_ahead();
        }
        if self.ahead.claimed.is_empty() {
            let last = self.ahead.delivered.pop_back();
            self.settle_delivered().await;
            if let Some(Delivered { batch, outcome, at }) = last {
                let next = self.settle(&batch, outcome, at).await;
                self.hold_ready(next);
            }
        } else if self.ahead.stuck {
            self.settle_delivered().await;
        }
    }

    /// Settles what was delivered, one after the other; the queue may be asked beside a request again.
    async fn settle_delivered(&mut self) {
        while let Some(Delivered { batch, outcome, at }) = self.ahead.delivered.pop_front() {
            self.end(&batch, outcome, false, at).await;
        }
        self.ahead.stuck = false;
    }

    /// Nothing more is sent for now: settles what was delivered, and puts back what was claimed.
    pub(super) async fn end_ahead(&mut self) {
        if self.ahead.work.is_some() {
            let done = self.ahead.worked().await;
            self.take_work(done);
        }
        self.settle_delivered().await;
        while let Some(batch) = self.ahead.claimed.pop_back() {
            let now = self.shared.clock.now();
            self.end(&batch, Outcome::PutBack, false, now).await;
        }
    }
}
