//! The way out of the queue: a flusher for each destination, told apart by name, kept in step with the
//! config. Bounded, woken by what changes, asleep when nothing waits (I6, I11).

pub mod again;
mod destination;
mod gate;
mod maps;
mod network;
pub mod state;
pub mod trigger;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use telemetry_delivery::{BatchLimits, Client, Destination, limits, size_bound};
use telemetry_queue::{ClaimLimits, Moment, Queue};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::error;

use self::destination::Flusher;
pub(crate) use self::destination::request_of;
pub(crate) use self::maps::Maps;
use self::state::State;
use crate::clock::Clock;
use crate::config::Checked;
use crate::consent::Consent;
use crate::control::tail::Tail;
use crate::counters::Counters;
use crate::phase::{Phase, PhaseReader};

/// How each destination is, for `status`.
pub type States = watch::Sender<BTreeMap<Arc<str>, State>>;

/// What every flusher is given.
pub struct Shared {
    /// Where rows come from.
    pub queue: Queue,
    /// Asked before each batch.
    pub consent: Arc<Consent>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The daemon's life.
    pub phase: PhaseReader,
    /// Numbers.
    pub counters: Arc<Counters>,
    /// Who watches live.
    pub tail: Tail,
    /// All randomness comes from here (I9).
    pub seed: u64,
    /// [`trigger::percent`] of this machine.
    pub percent: u32,
    /// The rows are many users', and one is not to hold up the others (I13).
    pub by_user: bool,
}

/// What somebody asks of a flusher. Who has to know that it holds is told.
enum Order {
    /// Everything that waits, or what this uid has.
    Flush(Option<u32>),
    Pause(Option<Duration>, oneshot::Sender<()>),
    Resume(oneshot::Sender<()>),
    Settings(Box<Destination>, Box<Client>),
}

/// What control asks of the flushers; `destination` absent: all of them.
#[derive(Clone, Debug)]
pub enum Command {
    /// Send what waits, past a backoff.
    Flush {
        /// Which.
        destination: Option<String>,
        /// Rows of this uid; `None`: everybody's.
        whose: Option<u32>,
    },
    /// Send nothing, for this long or until `resume`.
    Pause {
        /// Which.
        destination: Option<String>,
        /// How long.
        hold: Option<Duration>,
    },
    /// Send again, and take a hold for mended.
    Resume {
        /// Which.
        destination: Option<String>,
    },
}

/// Control's end.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<(Command, oneshot::Sender<()>)>,
    states: watch::Receiver<BTreeMap<Arc<str>, State>>,
    arranged: watch::Receiver<bool>,
}

impl Handle {
    /// Passes a command on and waits until it holds. After the end of the flushers it is nobody's.
    /// Cancel safe: once passed on, it is carried out.
    pub async fn order(&self, command: Command) {
        let (done, told) = oneshot::channel();
        if self.commands.send((command, done)).await.is_ok() {
            let _ = told.await;
        }
    }

    /// Asks for a flush of everything, without waiting. Where commands wait already, people are at it.
    pub fn flush_soon(&self) {
        let _ = self.commands.try_send((
            Command::Flush {
                destination: None,
                whose: None,
            },
            oneshot::channel().0,
        ));
    }

    /// Waits until what was kept of each destination is known again: nobody is to be told otherwise.
    pub async fn arranged(&self) {
        // The room is gone: nobody will be told anything.
        let _ = self.arranged.clone().wait_for(|arranged| *arranged).await;
    }

    /// How each destination is.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<BTreeMap<Arc<str>, State>> {
        self.states.clone()
    }
}

/// The room, before it runs.
pub struct Flush {
    shared: Arc<Shared>,
    settings: watch::Receiver<Arc<Checked>>,
    commands: mpsc::Receiver<(Command, oneshot::Sender<()>)>,
    states: States,
    arranged: watch::Sender<bool>,
}

/// Makes the room and its handle. Commands are few and people's: 16 may wait.
#[must_use]
pub fn new(shared: Shared, settings: watch::Receiver<Arc<Checked>>) -> (Flush, Handle) {
    let (sender, commands) = mpsc::channel(16);
    let states = watch::Sender::new(BTreeMap::new());
    let arranged = watch::Sender::new(false);
    let handle = Handle {
        commands: sender,
        states: states.subscribe(),
        arranged: arranged.subscribe(),
    };
    (
        Flush {
            shared: Arc::new(shared),
            settings,
            commands,
            states,
            arranged,
        },
        handle,
    )
}

impl Flush {
    /// Runs until every flusher has left: draining lets them finish, stopping sends them home.
    pub async fn run(mut self) {
        let mut flushers = JoinSet::new();
        let mut desks: HashMap<Arc<str>, mpsc::Sender<Order>> = HashMap::new();
        let mut ends: HashMap<Arc<str>, oneshot::Receiver<()>> = HashMap::new();
        self.arrange(&mut flushers, &mut desks, &mut ends).await;
        self.arranged.send_replace(true);
        let mut phase = self.shared.phase.clone();
        loop {
            let running = *phase.borrow() == Phase::Running;
            if !running && flushers.is_empty() {
                return;
            }
            tokio::select! {
                Some(ended) = flushers.join_next() => if let Err(error) = ended {
                    error!(%error, "a flusher ended on a defect; its events wait for the next start");
                },
                changed = self.settings.changed() => if changed.is_ok() {
                    self.arrange(&mut flushers, &mut desks, &mut ends).await;
                },
                Some((command, done)) = self.commands.recv() => {
                    // Who gives an order has seen these settings.
                    if self.settings.has_changed().unwrap_or(false) {
                        self.settings.mark_unchanged();
                        self.arrange(&mut flushers, &mut desks, &mut ends).await;
                    }
                    route(&desks, command, done).await;
                }
                _ = phase.changed() => {}
            }
        }
    }

    /// Brings the flushers in step with the config.
    async fn arrange(
        &self,
        flushers: &mut JoinSet<()>,
        desks: &mut HashMap<Arc<str>, mpsc::Sender<Order>>,
        ends: &mut HashMap<Arc<str>, oneshot::Receiver<()>>,
    ) {
        let checked = Arc::clone(&self.settings.borrow());
        desks.retain(|name, _| checked.destinations.contains_key(name));
        self.states
            .send_modify(|states| states.retain(|name, _| checked.destinations.contains_key(name)));
        let kept = self.shared.queue.destination_states().await.unwrap_or_default();
        for (name, settings) in &checked.destinations {
            let client = match Client::new(settings, crate::VERSION) {
                Ok(client) => client,
                Err(error) => {
                    // The config was checked with the same rules; this is a defect, and nothing is lost.
                    error!(destination = %name, %error, "cannot make a client");
                    continue;
                }
            };
            if let Some(desk) = desks.get(name) {
                let order = Order::Settings(Box::new(settings.clone()), Box::new(client));
                if desk.send(order).await.is_err() {
                    error!(destination = %name, "its flusher has ended; its events wait for the next start");
                }
                continue;
            }
            let text = kept
                .iter()
                .find(|(known, _)| known == name)
                .map_or("", |(_, text)| text);
            let clock = &self.shared.clock;
            let mut state = State::restore(text, clock.now(), clock.boot(), settings.retry.max);
            // A start is somebody's act: what held it may have been mended meanwhile.
            state.release();
            let (desk, orders) = mpsc::channel(16);
            let (shared, states) = (Arc::clone(&self.shared), self.states.clone());
            let flusher = Flusher::new(shared, settings.clone(), client, state, states, orders);
            let (running, end) = oneshot::channel::<()>();
            // One that was dismissed may still have a request under way: two of a name are never at it.
            let before = ends.insert(Arc::clone(name), end);
            flushers.spawn(async move {
                let _running = running;
                if let Some(end) = before {
                    let _ = end.await;
                }
                flusher.run().await;
            });
            desks.insert(Arc::clone(name), desk);
        }
    }
}

/// Passes a command on to its flushers; `done` is told when all of them have obeyed.
async fn route(desks: &HashMap<Arc<str>, mpsc::Sender<Order>>, command: Command, done: oneshot::Sender<()>) {
    let (Command::Flush { destination, .. }
    | Command::Pause { destination, .. }
    | Command::Resume { destination }) = &command;
    let mut told = Vec::new();
    for (name, desk) in desks {
        if destination.as_deref().is_none_or(|wanted| wanted == &**name) {
            let (obeyed, answer) = oneshot::channel();
            let order = match &command {
                Command::Flush { whose, .. } => {
                    // A full desk has a flush on it already.
                    let _ = desk.try_send(Order::Flush(*whose));
                    continue;
                }
                Command::Pause { hold, .. } => Order::Pause(*hold, obeyed),
                Command::Resume { .. } => Order::Resume(obeyed),
            };
            if desk.send(order).await.is_ok() {
                told.push(answer);
            }
        }
    }
    for answer in told {
        let _ = answer.await;
    }
    let _ = done.send(());
}

/// What a claim for this destination may take now.
#[must_use]
pub fn claim_limits(settings: &Destination, state: &State, now: Moment) -> ClaimLimits {
    let bound = size_bound(settings.encoding);
    let batch = cut(settings);
    ClaimLimits {
        max_events: batch.max_events,
        max_bytes: state.max_bytes(batch.max_bytes, now),
        per_batch: bound.per_batch,
        per_event: bound.per_event,
        in_a_row: None,
    }
}

/// How its batches are cut: as the config says, and never larger than the vendor takes.
fn cut(settings: &Destination) -> BatchLimits {
    let vendor = limits(settings.encoding);
    BatchLimits {
        max_events: settings.batch.max_events.min(vendor.max_events),
        max_bytes: settings.batch.max_bytes.min(vendor.max_bytes),
        ..settings.batch
    }
}
