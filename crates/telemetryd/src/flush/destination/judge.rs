//! From the verdict to what follows: the destination's state, the log's one line, the batch's outcome.
//! Whether to try again is the delivery room's verdict, when is `again`; here they are put to use.

use std::time::Duration;

use telemetry_delivery::{Report, Verdict, limits, size_bound};
use telemetry_queue::{Claimed, Moment, Outcome};
use tracing::{error, info, warn};

use super::Flusher;
use super::users::{IN_DOUBT, USERS};
use crate::flush::again;
use crate::flush::state::Condition;
use crate::phase::Phase;

impl Flusher {
    /// From the verdict to the state and the outcome.
    pub(super) fn judge(&mut self, batch: &Claimed, report: &Report, meta: String, now: Moment) -> Outcome {
        let status = report.status.unwrap_or(0);
        let answer = report.answer.clone();
        let unsent = matches!(report.verdict, Verdict::Split | Verdict::Unfit) && report.status.is_none();
        if report.verdict != Verdict::Delivered && !unsent {
            self.shared.counters.failures.add(1);
        }
        match report.verdict {
            Verdict::Delivered => {
                if self.state.condition != Condition::Idle {
                    info!(destination = %self.settings.name, "destination is back");
                }
                self.early.backoff_before();
                self.state.succeeded(now);
                self.state.refused_alone.remove(&batch.uid);
                Outcome::Delivered { status, meta }
            }
            Verdict::Split => {
                // Without a status it was never sent: it is larger encoded than batches were cut for.
                if report.status.is_some() {
                    self.state.answered();
                }
                let bound = size_bound(self.settings.encoding);
                let encoded: u64 = batch
                    .events
                    .iter()
                    .map(|e| (e.payload.len() + e.tool.len()) as u64 + u64::from(bound.per_event))
                    .sum();
                if batch.events.len() > 1 {
                    self.state
                        .learn_too_large(encoded + u64::from(bound.per_batch), now);
                }
                Outcome::Split { status, answer }
            }
            // Nothing was sent.
            Verdict::Unfit => Outcome::Split { status, answer },
            Verdict::Bisect => {
                self.state.answered();
                match self.refused_alone(batch.uid) {
                    // `one` holds what waits.
                    true => Outcome::Retry {
                        error: report.detail.clone(),
                    },
                    false => Outcome::Bisect { status, answer },
                }
            }
            Verdict::Retry(_) | Verdict::Captive => {
                let captive = report.verdict == Verdict::Captive;
                let condition = if captive {
                    Condition::Captive
                } else {
                    Condition::Backoff
                };
                self.back_off(condition, None, report, now);
                Outcome::Retry {
                    error: report.detail.clone(),
                }
            }
            Verdict::Hold(reason) => {
                self.hold(Condition::Held, &reason.to_string(), report, now);
                Outcome::Retry {
                    error: report.detail.clone(),
                }
            }
            Verdict::Closed => {
                self.hold(Condition::Closed, "gone", report, now);
                Outcome::Retry {
                    error: report.detail.clone(),
                }
            }
            Verdict::Cancelled => Outcome::Release,
        }
    }

    /// Counts a refusal where a request has one event. Whether this user's are all refused, as far as can be told: eight
    /// in a row, which is what the queue asks of a batch. Those before were parked one by one; this one and the rest wait.
    fn refused_alone(&mut self, uid: u32) -> bool {
        if limits(self.settings.encoding).max_events > 1 {
            return false;
        }
        let users = &mut self.state.refused_alone;
        // Who is one too many is not counted: its events are parked, and none is lost.
        if users.len() < USERS || users.contains_key(&uid) {
            let refused = users.entry(uid).or_default();
            *refused = refused.saturating_add(1);
        }
        self.are_refused_alone(uid)
    }

    /// Whether this user's single events are all refused.
    pub(super) fn are_refused_alone(&self, uid: u32) -> bool {
        let refused = self.state.refused_alone.get(&uid);
        refused.is_some_and(|refused| *refused >= IN_DOUBT)
    }

    fn back_off(&mut self, condition: Condition, reason: Option<String>, report: &Report, now: Moment) {
        let retry = self.settings.retry;
        let seed = self.draw();
        let wait = again::after_a_failure(&self.state, &retry, now, seed);
        if self.state.condition != condition {
            warn!(destination = %self.settings.name, error = %report.detail, "destination cannot be reached; events wait");
        }
        self.wait(condition, reason, report, wait, now);
    }

    /// The slowest pace.
    pub(super) fn hold(&mut self, condition: Condition, reason: &str, report: &Report, now: Moment) {
        let retry = self.settings.retry;
        let wait = again::while_held(&retry, self.draw());
        if self.state.condition != condition {
            error!(destination = %self.settings.name, %reason, error = %report.detail, "destination is held until somebody mends it; events wait");
        }
        self.wait(condition, Some(reason.to_owned()), report, wait, now);
    }

    /// Nothing goes for `wait`, nor before the server's `Retry-After` is over.
    fn wait(
        &mut self,
        condition: Condition,
        reason: Option<String>,
        report: &Report,
        wait: Duration,
        now: Moment,
    ) {
        let (retry, seed) = (self.settings.retry, self.draw());
        let why = (reason, report.detail.clone());
        let waits = (wait, report.retry_after);
        again::fail(&mut self.state, condition, why, waits, &retry, now, seed);
        if let Some((attempts, next_try)) = self.early.backoff_before()
            && self.state.is_away()
        {
            self.state.attempts = attempts;
            if report.retry_after.is_none() {
                self.state.next_try = next_try;
            }
        }
        self.failed();
    }

    fn failed(&mut self) {
        self.flush_until = None;
        self.early.clear();
        self.drained = *self.shared.phase.borrow() >= Phase::Draining;
    }
}
