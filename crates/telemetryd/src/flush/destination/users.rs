//! Users whose events a destination refuses whole, in a machine-wide daemon: their rows wait, everybody else's go on
//! (I13). A user's own daemon holds the destination instead: all that is there is that user's (DELIVERY.md, "what the
//! answer means").
//!
//! Where nobody's events are taken any more it is the destination's fault, and costs little all the same: while
//! nothing was delivered since the last such refusal, batches are as small as one that can prove it again.

use std::num::NonZeroU32;
use std::time::Duration;

use telemetry_delivery::{Report, Verdict};
use telemetry_queue::{Claimed, Moment, Waiting};
use tracing::{error, warn};

use super::{Flusher, keep};
use crate::flush::again;
use crate::flush::state::{Condition, Deadline, HeldUser, REFUSES_EVERYTHING};

/// Events of a batch while the destination is doubted: the fewest that are refused as a whole (the queue's `cut.rs`).
pub(super) const IN_DOUBT: u32 = 8;
/// Pieces of one user's batch that was cut which go in a row while another user's events wait: these wait for a few
/// requests, not for a thousand.
pub(super) const PIECES: NonZeroU32 = NonZeroU32::new(8).expect("eight is not zero");
/// Users that are held apart, as many as may be connected by default (I6). One more, and it is the destination.
pub(super) const USERS: usize = 1024;

impl Flusher {
    /// All events of a batch were refused with one status, or as many one by one where a request has one event.
    pub(super) async fn refused_whole(&mut self, batch: &Claimed, now: Moment) {
        let detail = match self.are_refused_alone(batch.uid) {
            true => "events are refused one after the other",
            false => "every event of a batch was refused with one status",
        };
        if !self.shared.by_user || self.state.held_users.len() >= USERS {
            let refused = Report {
                verdict: Verdict::Bisect,
                status: None,
                detail: detail.to_owned(),
                answer: Vec::new(),
                retry_after: None,
                request_bytes: 0,
            };
            self.hold(Condition::Held, REFUSES_EVERYTHING, &refused, now);
        } else {
            let retry = self.settings.retry;
            let next_try = Deadline::after(now, again::while_held(&retry, self.draw()));
            let last_error = detail.to_owned();
            let held = HeldUser { next_try, last_error };
            if self.state.held_users.insert(batch.uid, held).is_none() {
                error!(
                    destination = %self.settings.name, uid = batch.uid, reason = REFUSES_EVERYTHING,
                    "a user's events are held: {detail}"
                );
            }
            self.state.doubted = true;
            self.early.forget(batch.uid);
            self.tell_held().await;
        }
        self.keep().await;
    }

    /// Lets those go whose time has come, and those who have nothing left of what was refused.
    pub(super) async fn release_due(&mut self, waiting: &Waiting) {
        if self.state.held_users.is_empty() {
            return;
        }
        let now = self.shared.clock.now();
        let before = self.state.held_users.len();
        self.state.held_users.retain(|uid, held| {
            held.next_try.left(now).is_some() && waiting.held_of(*uid).is_none_or(|events| events > 0)
        });
        if self.state.held_users.len() < before {
            // Who was refused once shows with few events whether that is over.
            self.state.doubted = true;
            self.tell_held().await;
            self.publish();
            self.keep().await;
        }
    }

    /// When the first of those is due who have rows.
    pub(super) fn first_due(&self, waiting: &Waiting) -> Option<Duration> {
        let now = self.shared.clock.now();
        let held = self.state.held_users.iter();
        let with_rows = held.filter(|(uid, _)| waiting.held_of(**uid).is_some_and(|events| events > 0));
        with_rows
            .map(|(_, held)| held.next_try.left(now).unwrap_or_default())
            .min()
    }

    /// Tells the queue whose rows are not to be claimed.
    pub(super) async fn tell_held(&mut self) {
        let users: Vec<u32> = self.state.held_users.keys().copied().collect();
        if let Err(error) = self.shared.queue.hold_users(&self.settings.name, users).await {
            warn!(destination = %self.settings.name, %error, "cannot hold users' rows");
        }
    }

    /// Keeps the state, of a destination that is there still.
    async fn keep(&mut self) {
        if !self.is_dismissed() {
            keep(&self.shared.queue, &self.settings.name, &self.state).await;
        }
    }
}
