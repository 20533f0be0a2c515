//! The rooms of one daemon, joined by the channels between them. Nothing runs yet, and no socket is open: `run.rs`
//! spawns what has to, a simulation does it under a clock of its own.

use std::sync::Arc;

use telemetry_queue::Queue;
use tokio::sync::{mpsc, watch};
use tracing::info;

use super::known_tools;
use crate::config::{self, Checked, Loaded, Mode};
use crate::consent::{Consent, Policies};
use crate::control::tail::Tail;
use crate::control::{ReloadRequest, Service};
use crate::counters::Counters;
use crate::desk::{Desk, Identity};
use crate::failure::Failure;
use crate::flush::{self, Flush, trigger};
use crate::phase::{Ender, PhaseReader};
use crate::world::World;
use crate::{gateway, ingest};

/// The rooms, and the ends that whoever runs them holds.
#[expect(missing_docs, reason = "handles of the rooms that their types name")]
pub struct Rooms {
    pub queue: Queue,
    pub consent: Arc<Consent>,
    pub identity: Arc<Identity>,
    /// Tells of every change of consent since this erased what was withdrawn before.
    pub withdrawn: watch::Receiver<Arc<Policies>>,
    pub ender: Ender,
    pub phase: PhaseReader,
    pub flushers: Flush,
    pub flush: flush::Handle,
    /// What every connection is given.
    pub connections: Arc<ingest::Shared>,
    pub settings: watch::Sender<Arc<Checked>>,
    pub loaded: watch::Sender<Arc<Loaded>>,
    /// Reloads that somebody asks for.
    pub reloads: mpsc::Receiver<ReloadRequest>,
    /// How many connections are open.
    pub opened: watch::Receiver<usize>,
    /// Where the gateway says that it listens.
    pub gateway: watch::Sender<gateway::State>,
}

impl Rooms {
    /// Makes them. What was withdrawn while nobody ran is erased in it, before anybody can come in and before
    /// anything can be sent (I3).
    ///
    /// # Errors
    /// When the queue cannot be asked, or cannot erase.
    pub async fn new(world: &World, loaded: Loaded, queue: Queue) -> Result<Self, Failure> {
        let checked = Arc::new(loaded.checked.clone());
        let known = known_tools(&queue).await?;
        let consent = Arc::new(Consent::open(
            world.places.clone(),
            &world.variables,
            &checked,
            &known,
            Arc::clone(&world.clock),
        ));
        // Before the purge: what is withdrawn between it and the first look of whoever erases from then on is not missed.
        let withdrawn = consent.changes();
        let purged = crate::control::purge_withdrawn_at_start(&queue, &consent, world.clock.now()).await?;
        if purged.queued + purged.parked > 0 {
            info!(
                rows = purged.queued + purged.parked,
                "consent was withdrawn while no daemon ran: rows erased"
            );
        }
        let named = world
            .environment
            .get(telemetry_protocol::place::STATE_DIR_VARIABLE);
        let desk = Desk::open(
            &world.places,
            named.is_some(),
            &consent,
            &queue.books(None).await?,
        );
        let identity = Arc::clone(&desk.identity);

        let (ender, phase) = Ender::new();
        let counters = Arc::new(Counters::default());
        let tail = Tail::default();
        // What manifests bring stands beside what the config says.
        let beside = Arc::new(config::with_inline(&checked, &consent.manifests()));
        let (settings, settings_reader) = watch::channel(beside);
        let (loaded, loaded_reader) = watch::channel(Arc::new(loaded));
        let (reload, reloads) = mpsc::channel::<ReloadRequest>(4);
        let (open, opened) = watch::channel(0);
        let (gateway, gateway_reader) = watch::channel(gateway::State::default());

        let shared = flush::Shared {
            queue: queue.clone(),
            consent: Arc::clone(&consent),
            clock: Arc::clone(&world.clock),
            phase: phase.clone(),
            counters: Arc::clone(&counters),
            tail: tail.clone(),
            seed: world.seed,
            percent: trigger::percent(world.seed),
            by_user: world.places.mode == Mode::System,
        };
        let (flushers, flush) = flush::new(shared, settings_reader.clone());
        let service = Arc::new(Service {
            queue: queue.clone(),
            consent: Arc::clone(&consent),
            clock: Arc::clone(&world.clock),
            counters: Arc::clone(&counters),
            tail: tail.clone(),
            settings: settings_reader.clone(),
            loaded: loaded_reader,
            flush: flush.clone(),
            phase: phase.clone(),
            ender: ender.clone(),
            reload,
            places: world.places.clone(),
            socket: world.socket.clone(),
            moved: world.moved.clone(),
            gateway: gateway_reader,
            open: opened.clone(),
            identity: Arc::clone(&identity),
        });
        let connections = Arc::new(ingest::Shared::new(ingest::Parts {
            queue: queue.clone(),
            consent: Arc::clone(&consent),
            clock: Arc::clone(&world.clock),
            phase: phase.clone(),
            counters,
            tail,
            settings: settings_reader,
            service,
            desk: Arc::new(desk),
            uid: (world.places.mode == Mode::User).then_some(world.uid),
            open,
            seed: world.seed.rotate_left(32),
        }));
        Ok(Self {
            queue,
            consent,
            identity,
            withdrawn,
            ender,
            phase,
            flushers,
            flush,
            connections,
            settings,
            loaded,
            reloads,
            opened,
            gateway,
        })
    }
}
