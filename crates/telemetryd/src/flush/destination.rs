//! One destination's flusher: waits for the trigger, then sends what waits in a burst of batches.

mod ahead;
mod around;
mod burst;
mod early;
mod judge;
mod orders;
mod settle;
mod users;

use std::sync::Arc;
use std::time::Duration;

use telemetry_delivery::{Batch, Client, Destination, Event, Losses, limits};
use telemetry_queue::{ClaimLimits, Claimed, Moment, Queue, View, Waiting};
use tokio::sync::{mpsc, watch};
use tracing::warn;
use uuid::Uuid;

use self::ahead::Ahead;
use self::around::Around;
use self::early::Early;
use self::orders::Errand;
use super::state::State;
use super::trigger::{self, Inputs, Next};
use super::{Maps, Order, Shared, States, claim_limits};

/// A wait is cut into pieces of this length, so that it ends in time after a suspend, which timers do not
/// count, and so that a suspend is seen. Only while something waits.
const PIECE: Duration = Duration::from_secs(60);
/// A settlement that fails (full disk, I/O error) is tried again after so long; the lease goes on.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);

/// A destination's flusher.
pub(super) struct Flusher {
    shared: Arc<Shared>,
    settings: Destination,
    /// Away while a request is under way.
    client: Option<Client>,
    state: State,
    states: States,
    orders: mpsc::Receiver<Order>,
    view: watch::Receiver<Arc<View>>,
    /// Flush until so many rows have left.
    flush_until: Option<u64>,
    /// Whose rows go early.
    early: Early,
    /// What the queue does for the last order.
    errand: Option<Errand>,
    /// The machine's sleep and its network.
    around: Around,
    /// An attempt failed, or was held, since the drain began.
    drained: bool,
    /// A connection may be open.
    awake: bool,
    /// Random numbers drawn so far.
    drawn: u64,
    /// The destination is gone from the config: nobody gives orders any more.
    dismissed: bool,
    /// Batches before and after the one that is being sent.
    ahead: Ahead,
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
            client: Some(client),
            state,
            states,
            orders,
            view,
            flush_until: None,
            early: Early::default(),
            errand: None,
            around: Around::default(),
            drained: false,
            awake: false,
            drawn: 0,
            dismissed: false,
            ahead: Ahead::default(),
        };
        flusher.publish();
        flusher
    }

    /// Runs until the daemon stops or the destination is gone from the config.
    pub(super) async fn run(mut self) {
        let mut phase = self.shared.phase.clone();
        if self.shared.by_user {
            // Whom another flusher of this name has held.
            self.tell_held().await;
        }
        while !self.dismissed {
            let waiting = self.waiting();
            self.release_due(&waiting).await;
            let waiting = self.waiting();
            self.look_around(&waiting);
            match (self.next_with(&waiting), self.early(&waiting)) {
                (Next::Send, _) => {
                    self.awake = true;
                    self.go_on_to_the_end(&waiting);
                    self.burst(None).await;
                    continue;
                }
                (Next::Leave, _) => break,
                (_, Some(uid)) => {
                    self.awake = true;
                    self.burst(Some(uid)).await;
                    continue;
                }
                (wait, None) => {
                    self.rest();
                    let timer = match wait {
                        Next::Wait(left) => Some(left),
                        _ => None,
                    };
                    let timer = timer.into_iter().chain(self.first_due(&waiting)).min();
                    let timer = timer.map(|left| left.min(PIECE));
                    tokio::select! {
                        order = self.orders.recv() => match order {
                            Some(order) => self.obey(order).await,
                            None => break,
                        },
                        changed = self.view.changed() => if changed.is_err() { break },
                        () = self.around.network_is_back() => self.try_sooner(),
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
            if let Some(client) = &mut self.client {
                client.rest();
            }
            if self.view.borrow().events == 0 {
                telemetry_memory::give_back();
            }
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
        trigger::next(&self.inputs(waiting))
    }

    fn inputs<'w>(&'w self, waiting: &'w Waiting) -> Inputs<'w> {
        Inputs {
            now: self.shared.clock.now(),
            waiting,
            state: &self.state,
            batch: &self.settings.batch,
            percent: self.shared.percent,
            flush: self.flush_until.is_some(),
            drained: self.drained,
            phase: *self.shared.phase.borrow(),
        }
    }

    fn limits(&mut self, now: Moment) -> ClaimLimits {
        self.state.forget_learned(self.settings.batch.max_bytes, now);
        let mut limits = claim_limits(&self.settings, &self.state, now);
        limits.in_a_row = self.shared.by_user.then_some(users::PIECES);
        if self.state.doubted {
            limits.max_events = limits.max_events.min(users::IN_DOUBT);
        }
        limits
    }

    /// Where one request takes one event (or few), what waits when the first goes makes up the burst: it would have been
    /// one batch.
    fn go_on_to_the_end(&mut self, waiting: &Waiting) {
        if limits(self.settings.encoding).max_events < self.settings.batch.max_events {
            let until = waiting.left + waiting.events + waiting.leased;
            // What came after that goes in its own time, however many batches the burst takes.
            self.flush_until.get_or_insert(until);
        }
    }

    fn publish(&mut self) {
        if !self.is_dismissed() {
            publish(&self.states, &self.settings.name, &self.state);
        }
    }

    /// Whether the destination is gone from the config: what is shown and kept of its name is another's from then on.
    fn is_dismissed(&mut self) -> bool {
        self.dismissed |= self.orders.is_closed();
        self.dismissed
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
pub(crate) fn request_of<'b>(batch: &'b Claimed, maps: &'b Maps, now: Moment) -> Batch<'b> {
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
            map: maps.get(&event.tool),
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

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
