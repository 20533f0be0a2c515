//! One life of the daemon: its rooms as `run.rs` makes them, and what `run.rs` spawns, on a runtime whose clock is moved
//! by hand. Clients come in by the door that the spool uses.

use std::sync::Arc;

use serde_json::Value;
use telemetry_queue::{OpenReport, Owner, Queue};
use telemetryd::clock::Clock;
use telemetryd::config::{self, Environment, Mode, Places};
use telemetryd::ingest::{self, Peer};
use telemetryd::phase::Ender;
use telemetryd::run::{Keep, Rooms};
use telemetryd::world::World;
use telemetryd::{flush, withdrawals};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, JoinSet};

use crate::disk;
use crate::laptop::Laptop;

/// What does not change from one life to the next.
#[derive(Clone)]
pub(crate) struct Estate {
    pub(crate) environment: Environment,
    pub(crate) places: Places,
    pub(crate) laptop: Arc<Laptop>,
    pub(crate) seed: u64,
    pub(crate) lane: usize,
    pub(crate) uid: u32,
}

/// A daemon that runs.
pub(crate) struct Life {
    pub(crate) queue: Queue,
    pub(crate) flush: flush::Handle,
    ender: Ender,
    connections: Arc<ingest::Shared>,
    tasks: JoinSet<()>,
    flushing: JoinHandle<()>,
    owner: Owner,
}

impl Estate {
    fn world(&self) -> World {
        World {
            places: self.places.clone(),
            socket: self.places.socket.clone(),
            flags: config::Flags::default(),
            environment: self.environment.clone(),
            variables: Arc::default(),
            moved: None,
            clock: Arc::clone(&self.laptop) as Arc<dyn Clock>,
            seed: self.seed,
            uid: self.uid,
            inherited: None,
            probe: Some(disk::probe_of(self.lane)),
        }
    }

    /// A daemon starts.
    pub(crate) async fn start(&self) -> Result<(Life, OpenReport), String> {
        let world = Arc::new(self.world());
        let loaded = world.load().map_err(|failure| format!("{failure:?}"))?;
        let options = telemetry_queue::Options {
            directory: world.places.state.clone(),
            boot_id: self.laptop.boot(),
            limits: loaded.checked.queue,
            job: false,
            probe: world.probe,
        };
        let (queue, owner, report) = telemetry_queue::open(options, self.laptop.now())
            .map_err(|error| format!("the queue cannot be opened: {error:?}"))?;
        let checking = queue.begin_check().await;
        checking.map_err(|error| format!("the queue cannot be checked: {error:?}"))?;
        let rooms = Rooms::new(&world, loaded, queue.clone())
            .await
            .map_err(|failure| format!("{failure:?}"))?;
        let Rooms {
            consent,
            identity,
            withdrawn,
            ender,
            flushers,
            flush,
            connections,
            settings,
            loaded,
            mut reloads,
            ..
        } = rooms;
        let mut tasks = JoinSet::new();
        let flushing = tokio::spawn(flushers.run());
        flush.arranged().await;
        let clock = Arc::clone(&world.clock);
        tasks.spawn(withdrawals::each(
            withdrawn,
            queue.clone(),
            Arc::clone(&consent),
            identity,
            clock,
        ));
        let watched = Arc::clone(&consent);
        tasks.spawn(async move { watched.watch().await });
        let of_keep = queue.clone();
        tasks.spawn(async move {
            let keep = Keep {
                world: &world,
                consent: &consent,
                queue: &of_keep,
                settings: &settings,
                loaded: &loaded,
                level: None,
            };
            while let Some(answer) = reloads.recv().await {
                let _ = answer.send(keep.reload().await);
            }
            // As long as the daemon lives.
            std::future::pending::<()>().await;
        });
        let life = Life {
            queue,
            flush,
            ender,
            connections,
            tasks,
            flushing,
            owner,
        };
        Ok((life, report))
    }
}

impl Life {
    /// A client says these lines and reads until the daemon closes.
    pub(crate) fn say(&mut self, uid: u32, lines: &[String]) -> JoinHandle<Vec<Value>> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let connections = Arc::clone(&self.connections);
        let peer = Peer { uid, pid: None };
        self.tasks
            .spawn(async move { ingest::inside(theirs, peer, &connections).await });
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        tokio::spawn(async move {
            let (mut read, mut write) = ours.into_split();
            let mut answers = String::new();
            let saying = async {
                let _ = write.write_all(text.as_bytes()).await;
                drop(write);
            };
            let (_, _) = tokio::join!(saying, read.read_to_string(&mut answers));
            answers
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect()
        })
    }

    /// Asks it to end: what waits has one attempt.
    pub(crate) fn drain(&self) {
        self.ender.end(None);
        self.ender.drain();
    }

    pub(crate) fn has_drained(&self) -> bool {
        self.flushing.is_finished()
    }

    /// The flushers leave.
    pub(crate) fn stop(&self) {
        self.ender.stop();
    }

    /// Nothing of it goes on. What the queue's thread says at its end.
    pub(crate) async fn end(self) -> Result<(), String> {
        let Self {
            queue,
            flush,
            ender,
            connections,
            mut tasks,
            flushing,
            owner,
        } = self;
        tasks.shutdown().await;
        flushing.abort();
        let _ = flushing.await;
        drop((queue, flush, ender, connections));
        owner.close().map_err(|error| format!("{error:?}"))
    }
}

/// The modes' places under one root.
pub(crate) fn places(environment: &Environment, mode: Mode, uid: u32) -> Places {
    Places::find(mode, environment, uid, &|_| false).unwrap()
}
