//! The end of a lease: a settlement, kept up until the queue takes it, or a release and what consent has
//! withdrawn (I2, I3).

use telemetry_queue::{ClaimLimits, Claimed, Id, Moment, Outcome, PurgeReason, Queue, QueueError, Settled};
use tracing::{error, info};

use super::{Flusher, SETTLE_AGAIN, sleep};
use crate::flush::gate::BatchGate;
use crate::flush::trigger::Next;
use crate::phase::Phase;

impl Flusher {
    /// Ends the lease unsent, and erases what may not go any more.
    pub(super) async fn withdraw(&mut self, gate: &BatchGate<'_>, batch: &Claimed) {
        let now = self.shared.clock.now();
        self.settle(batch, Outcome::Release, now).await;
        for filter in gate.withdrawn() {
            let tool = filter.tool.clone().unwrap_or_default();
            match self.shared.queue.purge(filter, PurgeReason::Consent, now).await {
                Ok(purged) => {
                    self.shared.consent.erased(batch.uid, &tool, &purged);
                    info!(
                        rows = purged.queued + purged.parked,
                        "consent was withdrawn: rows erased"
                    );
                }
                Err(error) => {
                    error!(%error, "cannot erase rows after a withdrawal; they will not be sent");
                    sleep(Some(SETTLE_AGAIN)).await;
                }
            }
        }
    }

    /// Ends the lease by its outcome; returns the next batch if the trigger wants it at once.
    pub(super) async fn settle(&mut self, batch: &Claimed, outcome: Outcome, now: Moment) -> Option<Claimed> {
        let waiting = self.waiting();
        // One event has no halves.
        let halves =
            batch.events.len() > 1 && matches!(outcome, Outcome::Split { .. } | Outcome::Bisect { .. });
        let more = halves
            || (matches!(outcome, Outcome::Delivered { .. }) && self.next_with(&waiting) == Next::Send);
        self.end(batch, outcome, more, now).await
    }

    /// Ends the lease by its outcome; claims the next batch where there is to be `more`.
    pub(super) async fn end(
        &mut self,
        batch: &Claimed,
        outcome: Outcome,
        more: bool,
        now: Moment,
    ) -> Option<Claimed> {
        let limits = self.limits(now);
        let claim = more.then_some(limits);
        let queue: Queue = self.shared.queue.clone();
        let mut said = false;
        loop {
            let text = self.text_to_keep();
            match in_one_turn(&queue, batch.id, outcome.clone(), text, claim, now).await {
                Ok((settled, next)) => {
                    if settled.refuses_everything {
                        self.refused_whole(batch, now).await;
                    }
                    self.was_settled(batch, &outcome, settled, now);
                    return next;
                }
                Err(error) if error.kind == telemetry_queue::ErrorKind::Closed => return None,
                Err(error) => {
                    if !said {
                        error!(destination = %self.settings.name, %error, "cannot settle a batch; trying again");
                        self.publish();
                        said = true;
                    }
                    sleep(Some(SETTLE_AGAIN)).await;
                    if *self.shared.phase.borrow() == Phase::Stopping {
                        return None;
                    }
                }
            }
        }
    }

    /// What is kept of the state beside a settlement; nothing of a destination that is gone from the config.
    pub(super) fn text_to_keep(&mut self) -> Option<String> {
        (!self.is_dismissed()).then(|| self.state.text())
    }

    /// Tells whoever watches, and shows the state. What is shown is kept: a kill after this does not take it back.
    pub(super) fn was_settled(&mut self, batch: &Claimed, outcome: &Outcome, settled: Settled, at: Moment) {
        let status = match outcome {
            Outcome::Delivered { status, .. } => Some(*status),
            _ => None,
        };
        self.shared
            .tail
            .settled(batch, status, settled.parked, at.wall_ms);
        self.publish();
    }
}

/// Settles, and claims the next batch where there are limits for one, in one turn of the queue.
pub(super) async fn in_one_turn(
    queue: &Queue,
    batch: Id,
    outcome: Outcome,
    state: Option<String>,
    claim: Option<ClaimLimits>,
    at: Moment,
) -> Result<(Settled, Option<Claimed>), QueueError> {
    match claim {
        Some(limits) => queue.settle_and_claim(batch, outcome, state, limits, at).await,
        None => Ok((queue.settle(batch, outcome, state, at).await?, None)),
    }
}
