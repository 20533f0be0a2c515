//! One destination's flusher: waits for the trigger, claims, asks consent again, sends, settles.
//!
//! One request is in flight (DELIVERY.md). A claim and a settlement are never dropped half way: they are
//! not cancel safe, and the lease would stay. A send may be dropped: that closes its connection.

use std::sync::Arc;
use std::time::Duration;

use telemetry_delivery::{
    Batch, Client, Destination, Event, Gate, Losses, Meta, Report, Verdict, backoff, size_bound, spread,
};
use telemetry_queue::{ClaimLimits, Claimed, Moment, Outcome, PurgeReason, Queue, View, Waiting};
use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use super::gate::BatchGate;
use super::state::{Condition, Deadline, State};
use super::trigger::{self, Inputs, Next};
use super::{Order, Shared, States};
use crate::phase::Phase;

/// A wait is cut into pieces of this length, so that it ends in time after a suspend, which timers do not
/// count. Only while something waits.
const PIECE: Duration = Duration::from_secs(60);
/// A settlement that fails (full disk, I/O error) is tried again after so long; the lease goes on.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);

/// A destination's flusher.
pub(super) struct Flusher {
    shared: Arc<Shared>,
    settings: Destination,
    client: Client,
    state: State,
    states: States,
    orders: mpsc::Receiver<Order>,
    view: watch::Receiver<Arc<View>>,
    /// Flush until so many rows have left.
    flush_until: Option<u64>,
    /// An attempt failed since the drain began.
    drained: bool,
    /// A connection may be open.
    awake: bool,
    /// Random numbers drawn so far.
    drawn: u64,
}

impl Flusher {
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: Destination,
        client: Client,
        state: State,
        states: States,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        let view = shared.queue.view();
        let mut flusher = Self {
            shared,
            settings,
            client,
            state,
            states,
            orders,
            view,
            flush_until: None,
            drained: false,
            awake: false,
            drawn: 0,
        };
        flusher.publish();
        flusher
    }

    /// Runs until the daemon stops or the destination is gone from the config.
    pub(super) async fn run(mut self) {
        let mut phase = self.shared.phase.clone();
        loop {
            match self.next() {
                Next::Send => {
                    self.awake = true;
                    self.burst().await;
                    continue;
                }
                Next::Leave => break,
                wait => {
                    self.rest();
                    let timer = match wait {
                        Next::Wait(left) => Some(left.min(PIECE)),
                        _ => None,
                    };
                    tokio::select! {
                        order = self.orders.recv() => match order {
                            Some(order) => self.obey(order).await,
                            None => break,
                        },
                        changed = self.view.changed() => if changed.is_err() { break },
                        _ = phase.changed() => {}
                        () = sleep(timer) => {}
                    }
                }
            }
        }
        self.rest();
    }

    fn rest(&mut self) {
        if self.awake {
            self.client.rest();
            self.awake = false;
        }
        if self.state.sending {
            self.state.sending = false;
            self.publish();
        }
    }

    fn waiting(&mut self) -> Waiting {
        let view = self.view.borrow_and_update();
        let found = view
            .destinations
            .binary_search_by(|(name, _)| (**name).cmp(&*self.settings.name));
        found
            .map(|at| view.destinations[at].1.clone())
            .unwrap_or_default()
    }

    fn next(&mut self) -> Next {
        let waiting = self.waiting();
        self.next_with(&waiting)
    }

    fn next_with(&mut self, waiting: &Waiting) -> Next {
        let now = self.shared.clock.now();
        let was_paused = self.state.paused;
        self.state.end_pause(now);
        if was_paused && !self.state.paused {
            self.publish();
        }
        self.flush_until = self.flush_until.filter(|until| waiting.left < *until);
        trigger::next(&Inputs {
            now,
            waiting,
            state: &self.state,
            batch: &self.settings.batch,
            percent: self.shared.percent,
            flush: self.flush_until.is_some(),
            drained: self.drained,
            phase: *self.shared.phase.borrow(),
        })
    }

    fn limits(&mut self, now: Moment) -> ClaimLimits {
        let bound = size_bound(self.settings.encoding);
        ClaimLimits {
            max_events: self.settings.batch.max_events,
            max_bytes: self.state.max_bytes(self.settings.batch.max_bytes, now),
            per_batch: bound.per_batch,
            per_event: bound.per_event,
        }
    }

    /// Claims and sends until the trigger says that it is enough.
    async fn burst(&mut self) {
        let now = self.shared.clock.now();
        let limits = self.limits(now);
        let name = Arc::clone(&self.settings.name);
        let mut next = match self.shared.queue.claim(&name, limits, now).await {
            Ok(claimed) => claimed,
            Err(error) => {
                warn!(destination = %name, %error, "cannot claim a batch");
                sleep(Some(SETTLE_AGAIN)).await;
                return;
            }
        };
        if next.is_none() {
            // What waits is under lease or on its way out: the view will say when that changes.
            let _ = tokio::time::timeout(SETTLE_AGAIN, self.view.changed()).await;
            return;
        }
        self.state.sending = true;
        self.publish();
        while let Some(batch) = next.take() {
            next = self.one(batch).await;
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order).await;
            }
        }
    }

    /// Sends one batch and settles it; returns the next one if the trigger wants it at once.
    async fn one(&mut self, batch: Claimed) -> Option<Claimed> {
        let consent = Arc::clone(&self.shared.consent);
        let gate = BatchGate::new(&consent, &batch);
        if !gate.open() {
            self.withdraw(&gate, &batch).await;
            return None;
        }
        let now = self.shared.clock.now();
        let (report, meta) = self.send(&batch, &gate, now).await;
        #[cfg(feature = "kill-points")]
        crate::kill_points::at("after-send");
        self.shared
            .counters
            .requests
            .add(u64::from(report.request_bytes > 0));
        let now = self.shared.clock.now();
        debug!(destination = %self.settings.name, events = batch.events.len(), status = ?report.status, "request ended");
        if report.verdict == Verdict::Cancelled {
            self.withdraw(&gate, &batch).await;
            return None;
        }
        let outcome = self.judge(&batch, &report, meta, now);
        self.settle(&batch, outcome, now).await
    }

    async fn send(&mut self, batch: &Claimed, gate: &BatchGate<'_>, now: Moment) -> (Report, String) {
        let request = request_of(batch, now);
        let meta = Meta::new(&self.settings, &request).to_text();
        let mut policy = self.shared.consent.changes();
        let mut phase = self.shared.phase.clone();
        let closed = async {
            loop {
                tokio::select! {
                    changed = policy.changed() => if changed.is_err() || !gate.open() { return },
                    () = crate::phase::reached(&mut phase, Phase::Stopping) => return,
                }
            }
        };
        let report = tokio::select! {
            report = self.client.send(&request, gate) => report,
            // Dropping the send closes its connection: a withdrawal cancels what is in flight.
            () = closed => cancelled(),
        };
        (report, meta)
    }

    /// Ends the lease unsent, and erases what may not go any more.
    async fn withdraw(&mut self, gate: &BatchGate<'_>, batch: &Claimed) {
        let now = self.shared.clock.now();
        if let Err(error) = self
            .shared
            .queue
            .settle(batch.id, Outcome::Release, None, now)
            .await
        {
            warn!(%error, "cannot end a lease");
        }
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

    /// From the verdict to the state and the outcome.
    fn judge(&mut self, batch: &Claimed, report: &Report, meta: String, now: Moment) -> Outcome {
        let status = report.status.unwrap_or(0);
        let answer = report.answer.clone();
        if report.verdict != Verdict::Delivered {
            self.shared.counters.failures.add(1);
        }
        match report.verdict {
            Verdict::Delivered => {
                if matches!(self.state.condition, Condition::Backoff | Condition::Captive) {
                    info!(destination = %self.settings.name, "destination is back");
                }
                self.state.succeeded(now);
                Outcome::Delivered { status, meta }
            }
            Verdict::Split => {
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
            Verdict::Bisect => Outcome::Bisect { status, answer },
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

    fn back_off(&mut self, condition: Condition, reason: Option<String>, report: &Report, now: Moment) {
        let retry = self.settings.retry;
        let wait = if self.state.long_healthy(now) {
            spread(&retry, self.draw()).max(backoff(1, report.retry_after, &retry, 0))
        } else {
            backoff(self.state.attempts + 1, report.retry_after, &retry, self.draw())
        };
        if self.state.condition != condition {
            warn!(destination = %self.settings.name, error = %report.detail, "destination cannot be reached; events wait");
        }
        let until = Deadline::after(now, wait);
        self.state.retry_after = report.retry_after.map(|asked| {
            Deadline::after(
                now,
                backoff(
                    1,
                    Some(asked),
                    &telemetry_delivery::Retry {
                        initial: Duration::ZERO,
                        max: Duration::ZERO,
                        spread: Duration::ZERO,
                    },
                    0,
                ),
            )
        });
        self.state.failed(condition, reason, report.detail.clone(), until);
        self.failed();
    }

    /// The slowest pace: half of `retry.max` and up to the other half, so that a fleet that was refused
    /// together does not knock together.
    fn hold(&mut self, condition: Condition, reason: &str, report: &Report, now: Moment) {
        let retry = self.settings.retry;
        let jitter = backoff(u32::MAX, report.retry_after, &retry, self.draw()) / 2;
        let until = Deadline::after(now, retry.max / 2 + jitter);
        if self.state.condition != condition {
            error!(destination = %self.settings.name, %reason, error = %report.detail, "destination is held until somebody mends it; events wait");
        }
        self.state
            .failed(condition, Some(reason.to_owned()), report.detail.clone(), until);
        self.failed();
    }

    fn failed(&mut self) {
        self.flush_until = None;
        self.drained = *self.shared.phase.borrow() >= Phase::Draining;
    }

    async fn settle(&mut self, batch: &Claimed, outcome: Outcome, now: Moment) -> Option<Claimed> {
        let waiting = self.waiting();
        let halves = matches!(outcome, Outcome::Split { .. } | Outcome::Bisect { .. });
        let more = halves
            || (matches!(outcome, Outcome::Delivered { .. }) && self.next_with(&waiting) == Next::Send);
        let limits = self.limits(now);
        let status = match &outcome {
            Outcome::Delivered { status, .. } => Some(*status),
            _ => None,
        };
        self.publish();
        let queue: &Queue = &self.shared.queue;
        let mut said = false;
        loop {
            let text = Some(self.state.text());
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
                        self.publish();
                        self.keep().await;
                    }
                    return next;
                }
                Err(error) if error.kind == telemetry_queue::ErrorKind::Closed => return None,
                Err(error) => {
                    if !said {
                        error!(destination = %self.settings.name, %error, "cannot settle a batch; trying again");
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

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Flush => {
                let waiting = self.waiting();
                self.flush_until = Some(waiting.left + waiting.events + waiting.leased);
                return;
            }
            Order::Pause(hold) => {
                let now = self.shared.clock.now();
                self.state.paused = true;
                self.state.paused_until = hold.map(|hold| Deadline::after(now, hold));
            }
            Order::Resume => {
                self.state.paused = false;
                self.state.paused_until = None;
                self.state.release();
            }
            Order::Settings(settings, client) => {
                if *settings != self.settings {
                    self.client = *client;
                    self.settings = *settings;
                    self.state.release();
                }
            }
        }
        self.publish();
        self.keep().await;
    }

    /// Keeps the state beside the queue.
    async fn keep(&mut self) {
        if let Err(error) = self
            .shared
            .queue
            .set_destination_state(&self.settings.name, self.state.text())
            .await
        {
            warn!(destination = %self.settings.name, %error, "cannot keep the destination's state");
        }
    }

    fn publish(&mut self) {
        let state = self.state.clone();
        self.states.send_if_modified(|states| {
            if states.get(&self.settings.name) == Some(&state) {
                return false;
            }
            states.insert(Arc::clone(&self.settings.name), state);
            true
        });
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        // Distinct seeds for each draw and destination, from the one that the daemon was given.
        let name = self
            .settings
            .name
            .bytes()
            .fold(0_u64, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
        self.shared.seed ^ name ^ self.drawn.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// What the delivery room sees of a claimed batch.
pub(crate) fn request_of(batch: &Claimed, now: Moment) -> Batch<'_> {
    let events = batch.events.iter().map(|event| {
        let age_ms = if event.this_boot {
            now.boot_ms.saturating_sub(event.received.boot_ms)
        } else {
            u64::try_from(now.wall_ms.saturating_sub(event.received.wall_ms)).unwrap_or(0)
        };
        let payload = &batch.arena[event.payload.clone()];
        Event {
            id: Uuid::from_bytes(event.id),
            tool: &event.tool,
            payload,
            age_ms,
        }
    });
    let losses = batch.losses;
    Batch {
        id: Uuid::from_bytes(batch.id),
        sent_at_ms: now.wall_ms,
        losses: Losses {
            evicted: losses.evicted,
            expired: losses.expired,
            quota: losses.quota,
        },
        events: events.collect(),
    }
}

fn cancelled() -> Report {
    Report {
        verdict: Verdict::Cancelled,
        status: None,
        detail: String::new(),
        answer: Vec::new(),
        retry_after: None,
        request_bytes: 0,
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
