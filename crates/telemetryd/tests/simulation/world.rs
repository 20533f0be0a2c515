//! One simulated machine: a daemon, its clients, its endpoint, its clock and its disk, and the hand that moves them.
//!
//! Nothing moves time but [`Machine::pass`]: tokio's clock is paused, and does not go on by itself when everybody waits
//! (the queue's thread is a real one, whose answers tokio does not wait for). Between two moves everything comes to
//! rest first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use telemetry_queue::{Book, Filter, RowState};
use telemetryd::clock::Clock as _;
use telemetryd::config::{Environment, Mode};
use telemetryd::flush::trigger;
use tempfile::TempDir;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::disk::{self, Synced};
use crate::endpoint::{Endpoint, Manner, lock};
use crate::known::{Known, Terms};
use crate::laptop::Laptop;
use crate::life::{Estate, Life, places};
use crate::plan::Settings;

/// The tools; each has a destination.
pub(crate) const TOOLS: [&str; 3] = ["alpha", "beta", "gamma"];
/// The destinations, by their numbers.
pub(crate) const DESTINATIONS: [&str; 2] = ["default", "other"];

/// Turns that everybody has before the hand looks around: a chain of tasks that wake each other is not longer.
const YIELDS: u32 = 3;

/// Where a tool's events go.
pub(crate) fn destination_of(tool: usize) -> usize {
    usize::from(tool == 1)
}

/// The machine.
pub(crate) struct Machine {
    pub(crate) random: fastrand::Rng,
    pub(crate) estate: Estate,
    pub(crate) endpoint: Endpoint,
    pub(crate) known: Arc<Mutex<Known>>,
    pub(crate) life: Option<Life>,
    pub(crate) settings: Settings,
    pub(crate) users: Vec<u32>,
    /// Tools that each user has denied, and whether the machine has.
    pub(crate) denied: BTreeSet<(u32, usize)>,
    pub(crate) machine_off: bool,
    /// What the file of the user's word is to hold when the next daemon starts.
    pub(crate) word_meanwhile: Option<String>,
    pub(crate) synced: Synced,
    pub(crate) written: u64,
    pub(crate) lives: u32,
    /// Milliseconds that have passed, asleep or awake.
    pub(crate) passed_ms: u64,
    pub(crate) home: TempDir,
    url: String,
}

impl Machine {
    /// A machine whose daemon has just been started for the first time.
    pub(crate) async fn new(seed: u64, lane: usize) -> Result<Self, String> {
        let mut random = fastrand::Rng::with_seed(seed);
        let system = random.bool();
        let settings = Settings::draw(&mut random);
        let home = scratch();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let laptop = Arc::new(Laptop::new());
        let terms = Terms {
            max_events: settings.max_events,
            max_wait: settings.max_wait,
            percent: trigger::percent(seed),
        };
        let known = Arc::new(Mutex::new(Known::new(terms)));
        let endpoint = Endpoint::new(Arc::clone(&known), Arc::clone(&laptop));
        tokio::spawn(endpoint.clone().serve(listener));
        let mode = if system { Mode::System } else { Mode::User };
        let uid = if system { 0 } else { 7 };
        let environment = environment(home.path(), "state-0");
        let estate = Estate {
            places: places(&environment, mode, uid),
            environment,
            laptop,
            seed,
            lane,
            uid,
        };
        let mut machine = Self {
            random,
            estate,
            endpoint,
            known,
            life: None,
            settings,
            users: if system { vec![1001, 1002, 1003] } else { vec![7] },
            denied: BTreeSet::new(),
            machine_off: false,
            word_meanwhile: None,
            synced: Synced::default(),
            written: 0,
            lives: 0,
            passed_ms: 0,
            home,
            url,
        };
        machine.furnish(system);
        machine.start().await?;
        machine.note_synced();
        Ok(machine)
    }

    fn furnish(&self, system: bool) {
        let at = |path: &str| self.home.path().join(path);
        let tools = if system {
            "config/tools.d"
        } else {
            "data/telemetryd/tools.d"
        };
        for folder in ["config", "machine", tools] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        for (number, tool) in TOOLS.iter().enumerate() {
            let destination = DESTINATIONS[destination_of(number)];
            let manifest = format!(
                "name = \"{tool}\"\nevents = \"any\"\nconsent = \"opt-out\"\ndestination = \"{destination}\"\n"
            );
            std::fs::write(at(tools).join(format!("{tool}.toml")), manifest).unwrap();
        }
        self.write_settings();
    }

    pub(crate) fn write_settings(&self) {
        let text = self.settings.text(&self.url);
        std::fs::write(self.home.path().join("config/config.toml"), text).unwrap();
        let mut known = lock(&self.known);
        known.reloaded(self.settings.max_events, self.settings.max_wait);
    }

    /// A line of the story.
    pub(crate) fn tell(&self, what: impl Into<String>) {
        let boot_ms = self.estate.laptop.now().boot_ms;
        lock(&self.known)
            .story
            .push(format!("{boot_ms}: {}", what.into()));
    }

    pub(crate) fn broke(&self, what: impl Into<String>) {
        lock(&self.known).broke(what.into());
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.estate.places.state.clone()
    }

    /// What is on the disk now survives a power cut.
    pub(crate) fn note_synced(&mut self) {
        self.synced = Synced::of(&self.state());
        lock(&self.known).synced();
    }

    fn signature(&self) -> (u64, usize, u64) {
        let stirred = lock(&self.endpoint.seen).stirred;
        let life = self.life.as_ref();
        let view = life.map_or(0, |life| {
            let view = life.queue.view();
            let shown = view.borrow();
            Arc::as_ptr(&shown) as usize
        });
        let sending = life.map_or(0, |life| {
            let states = life.flush.states();
            let states = states.borrow();
            states.values().filter(|state| state.sending).count() as u64
        });
        (stirred, view, sending)
    }

    /// Waits until nothing goes on but what waits for time to pass. A daemon that dies meanwhile is buried and started
    /// again.
    pub(crate) async fn rest(&mut self) -> Result<(), String> {
        self.rest_for(2).await
    }

    /// The same, where it is quiet enough after so many looks that saw nothing.
    async fn rest_for(&mut self, looks: u32) -> Result<(), String> {
        let mut quiet = 0;
        for round in 0..2000 {
            let before = self.signature();
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
            if let Some(life) = &self.life {
                // Behind everything that was asked of the queue before.
                let _ = life.queue.checked().await;
            }
            if disk::sprung(self.estate.lane) {
                return Box::pin(self.bury(None)).await;
            }
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
            let (stirred, view, sending) = self.signature();
            let held = lock(&self.endpoint.seen).held as u64;
            let busy = sending > held && round < 1000;
            match before == (stirred, view, sending) && !busy {
                true => quiet += 1,
                false => quiet = 0,
            }
            if quiet == looks {
                break;
            }
        }
        lock(&self.known).at_rest();
        Ok(())
    }

    /// Time passes, a piece at a time.
    pub(crate) async fn pass(&mut self, total: Duration, piece: Duration) -> Result<(), String> {
        let mut left = total;
        while !left.is_zero() {
            let now = left.min(piece);
            left -= now;
            let ms = u64::try_from(now.as_millis()).unwrap();
            self.passed_ms += ms;
            self.estate.laptop.pass(ms);
            tokio::time::advance(now).await;
            // Most pieces wake nobody.
            self.rest_for(1).await?;
        }
        self.rest().await
    }

    /// Where a user's daemon keeps that user's word.
    pub(crate) fn word_file(&self) -> PathBuf {
        self.home.path().join("config/consent.toml")
    }

    /// The machine's opt-out comes or goes.
    pub(crate) fn set_machine_off(&mut self, off: bool) {
        let file = self.home.path().join("machine/opt-out");
        match off {
            true => std::fs::write(file, "").unwrap(),
            false => drop(std::fs::remove_file(file)),
        }
        self.machine_off = off;
    }

    /// The queue's books, and the ids of what is parked.
    pub(crate) async fn books(&self) -> Result<(Vec<Book>, Vec<Uuid>), String> {
        let Some(life) = &self.life else {
            return Err("there is no daemon".to_owned());
        };
        let books = life.queue.books(None).await.map_err(|e| format!("{e:?}"))?;
        let mut parked = Vec::new();
        let mut after = None;
        loop {
            let page = life
                .queue
                .rows(Filter::default(), &[RowState::Parked], after, 1000)
                .await
                .map_err(|e| format!("{e:?}"))?;
            parked.extend(page.rows.iter().map(|row| Uuid::from_bytes(row.id)));
            after = page.next;
            if after.is_none() {
                return Ok((books, parked));
            }
        }
    }

    /// How it treats one destination from now on.
    pub(crate) fn behave(&self, destination: usize, manner: Manner) {
        self.endpoint
            .stir(|seen| seen.manners[destination] = Some(manner));
    }
}

/// Where everything of this machine is; the state moves with each life that ends badly.
pub(crate) fn environment(home: &Path, state: &str) -> Environment {
    let at = |path: &str| home.join(path);
    [
        ("TELEMETRYD_CONFIG_DIR", at("config")),
        ("TELEMETRYD_STATE_DIR", at(state)),
        ("TELEMETRYD_MACHINE_DIR", at("machine")),
        ("TELEMETRYD_SOCKET", at("socket")),
        ("XDG_DATA_HOME", at("data")),
    ]
    .into_iter()
    .collect()
}

/// In memory where there is such a place: what a power cut leaves is simulated, too.
fn scratch() -> TempDir {
    TempDir::new_in("/dev/shm").unwrap_or_else(|_| TempDir::new().unwrap())
}
