//! One destination's flusher: waits for the trigger, claims, asks consent again, sends, settles.
//!
//! One request is in flight (DELIVERY.md). A claim and a settlement are never dropped half way: they are
//! not cancel safe, and the lease would stay. A send may be dropped: that closes its connection.

mod judge;
mod settle;

use std::sync::Arc;
use std::time::Duration;

use telemetry_delivery::{
    Batch, Client, Destination, Event, Gate, Losses, Meta, Report, Verdict, size_bound,
};
use telemetry_queue::{ClaimLimits, Claimed, Moment, View, Waiting};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};
use uuid::Uuid;

use super::gate::BatchGate;
use super::state::{Deadline, State};
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
