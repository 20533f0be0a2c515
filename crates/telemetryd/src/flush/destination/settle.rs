//! The end of a lease: a settlement, kept up until the queue takes it, or a release and what consent has
//! withdrawn (I2, I3).

use telemetry_delivery::{Report, Verdict};
use telemetry_queue::{Claimed, Moment, Outcome, PurgeReason, Queue};
use tracing::{error, info};

use super::{Flusher, SETTLE_AGAIN, keep, sleep};
use crate::flush::gate::BatchGate;
use crate::flush::state::Condition;
use crate::flush::trigger::Next;
use crate::phase::Phase;

impl Flusher {
    /// Ends the lease unsent, and erases what may not go any more.
    pub(super) async fn withdraw(&mut self, gate: &BatchGate<'_>, batch: &Claimed) {
        let now = self.shared.clock.now();
        self.settle(batch, Outcome::Release, now).await;
        for filter in gate.withdrawn() {
            match self.shared.queue.purge(filter, PurgeReason::Consent, now).await {
                Ok(purged) => info!(
                    rows = purged.queued + purged.parked,
                    "consent was withdrawn: rows erased"
                ),
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
        let halves = matches!(outcome, Outcome::Split { .. } | Outcome::Bisect { .. });
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
        let status = match &outcome {
            Outcome::Delivered { status, .. } => Some(*status),
            _ => None,
        };
        let dismissed = self.is_dismissed();
        let queue: Queue = self.shared.queue.clone();
        let mut said = false;
        loop {
            let text = (!dismissed).then(|| self.state.text());
            let settled = if more {
                queue
                    .settle_and_claim(batch.id, outcome.clone(), text, limits, now)
                    .await
            } else {
                queue
                    .settle(batch.id, outcome.clone(), text, now)
                    .await
                    .map(|settled| (settled, None))
            };
            match settled {
                Ok((settled, next)) => {
                    self.shared
                        .tail
                        .settled(batch, status, settled.parked, now.wall_ms);
                    if settled.refuses_everything {
                        let refused = Report {
                            verdict: Verdict::Bisect,
                            status: None,
                            detail: "every event of a batch was refused with one status".to_owned(),
                            answer: Vec::new(),
                            retry_after: None,
                            request_bytes: 0,
                        };
                        self.hold(Condition::Held, "refuses_everything", &refused, now);
                        if !dismissed {
                            keep(&self.shared.queue, &self.settings.name, &self.state).await;
                        }
                    }
                    // What is shown is kept: a kill after this does not take it back.
                    self.publish();
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
}
