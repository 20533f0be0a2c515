//! One destination's flusher: waits for the trigger, claims, asks consent again, sends, settles.
//!
//! One request is in flight (DELIVERY.md). A claim and a settlement are never dropped half way: they are
//! not cancel safe, and the lease would stay. A send may be dropped: that closes its connection.

mod judge;
mod settle;

use std::sync::Arc;
use std::time::Duration;

use telemetry_delivery::{Batch, Client, Destination, Event, Gate, Losses, Meta, Report, Verdict};
use telemetry_queue::{ClaimLimits, Claimed, Moment, Outcome, Queue, View, Waiting};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};
use uuid::Uuid;

use super::gate::BatchGate;
use super::state::State;
use super::trigger::{self, Inputs, Next};
use super::{Order, Shared, States, claim_limits};
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
    /// An attempt failed, or was held, since the drain began.
    drained: bool,
    /// A connection may be open.
    awake: bool,
    /// Random numbers drawn so far.
    drawn: u64,
    /// The destination is gone from the config: nobody gives orders any more.
    dismissed: bool,
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
            dismissed: false,
        };
        flusher.publish();
        flusher
    }

    /// Runs until the daemon stops or the destination is gone from the config.
    pub(super) async fn run(mut self) {
        let mut phase = self.shared.phase.clone();
        while !self.dismissed {
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
        self.state.forget_learned(self.settings.batch.max_bytes, now);
        claim_limits(&self.settings, &self.state, now)
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
            loop {
                match self.orders.try_recv() {
                    Ok(order) => self.obey(order).await,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        self.dismissed = true;
                        if let Some(batch) = next.take() {
                            self.settle(&batch, Outcome::Release, self.shared.clock.now())
                                .await;
                        }
                        break;
                    }
                }
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
            self.shared.counters.cancelled.add(1);
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
        tokio::pin!(closed);
        let (mut flush, mut settings) = (false, None);
        let report = {
            let Self {
                client,
                orders,
                state,
                states,
                settings: current,
                shared,
                ..
            } = self;
            let sending = client.send(&request, gate);
            tokio::pin!(sending);
            loop {
                tokio::select! {
                    report = &mut sending => break report,
                    // Dropping the send closes its connection: a withdrawal cancels what is in flight.
                    () = &mut closed => break cancelled(),
                    // A pause holds from when it is answered: what goes next waits, though this request goes on.
                    Some(order) = orders.recv() => match order {
                        Order::Pause(hold, told) => {
                            state.pause(shared.clock.now(), hold);
                            publish(states, &current.name, state);
                            keep(&shared.queue, &current.name, state).await;
                            let _ = told.send(());
                        }
                        Order::Resume(told) => {
                            state.resume();
                            publish(states, &current.name, state);
                            keep(&shared.queue, &current.name, state).await;
                            let _ = told.send(());
                        }
                        Order::Flush => flush = true,
                        changed @ Order::Settings(..) => settings = Some(changed),
                    },
                }
            }
        };
        for order in flush.then_some(Order::Flush).into_iter().chain(settings) {
            self.obey(order).await;
        }
        (report, meta)
    }

    async fn obey(&mut self, order: Order) {
        let mut told = None;
        match order {
            Order::Flush => {
                let waiting = self.waiting();
                self.flush_until = Some(waiting.left + waiting.events + waiting.leased);
                return;
            }
            Order::Pause(hold, answer) => {
                self.state.pause(self.shared.clock.now(), hold);
                told = Some(answer);
            }
            Order::Resume(answer) => {
                self.state.resume();
                told = Some(answer);
            }
            Order::Settings(settings, client) => {
                // What a file holds that the settings name may have been mended, though they read the same.
                self.state.release();
                if *settings != self.settings {
                    self.client = *client;
                    self.settings = *settings;
                }
            }
        }
        self.publish();
        keep(&self.shared.queue, &self.settings.name, &self.state).await;
        if let Some(told) = told {
            let _ = told.send(());
        }
    }

    fn publish(&mut self) {
        publish(&self.states, &self.settings.name, &self.state);
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

/// Shows the state, if it has changed.
fn publish(states: &States, name: &Arc<str>, state: &State) {
    states.send_if_modified(|states| {
        if states.get(name) == Some(state) {
            return false;
        }
        states.insert(Arc::clone(name), state.clone());
        true
    });
}

/// Keeps the state beside the queue.
async fn keep(queue: &Queue, name: &Arc<str>, state: &State) {
    if let Err(error) = queue.set_destination_state(name, state.text()).await {
        warn!(destination = %name, %error, "cannot keep the destination's state");
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
