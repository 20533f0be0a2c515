//! One simulated machine: a daemon, its clients, its endpoint, its clock and its disk, and the hand that moves them.
//!
//! Nothing moves time but [`Machine::pass`]: tokio's clock is paused, and does not go on by itself when everybody waits
//! (the queue's thread is a real one, whose answers tokio does not wait for). Between two moves everything comes to
//! rest first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use telemetry_queue::{Book, Filter, RowState};
use telemetryd::clock::Clock as _;
use telemetryd::config::{Environment, Mode};
use telemetryd::flush::trigger;
use tempfile::TempDir;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::disk::{self, Synced};
use crate::endpoint::{Endpoint, Manner, lock};
use crate::known::{Known, Terms, Word};
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
    synced: Synced,
    written: u64,
    pub(crate) lives: u32,
    /// Milliseconds that have passed, asleep or awake.
    pub(crate) passed_ms: u64,
    home: TempDir,
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
        known.terms.max_events = self.settings.max_events;
        known.terms.max_wait = self.settings.max_wait;
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

    fn state(&self) -> PathBuf {
        self.estate.places.state.clone()
    }

    /// The daemon starts: nothing that it finds may be wrong.
    pub(crate) async fn start(&mut self) -> Result<(), String> {
        let (life, report) = self.estate.start().await?;
        self.life = Some(life);
        self.lives += 1;
        if report.set_aside.is_some() || report.lost > 0 || !report.unbalanced.is_empty() {
            self.broke(format!("the daemon found its queue like this: {report:?}"));
        }
        self.rest().await
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

    /// Says these lines as this user, and waits for the answers; a moment passes where one takes long.
    pub(crate) async fn say(&mut self, uid: u32, lines: &[String]) -> Result<Vec<Value>, String> {
        let Some(life) = &mut self.life else {
            return Ok(Vec::new());
        };
        let said = life.say(uid, lines);
        for round in 0..1000 {
            self.rest().await?;
            if said.is_finished() {
                let answers = said.await.unwrap_or_default();
                // It may have died of this very request.
                if disk::sprung(self.estate.lane) {
                    self.rest().await?;
                }
                return Ok(answers);
            }
            if round < 500 {
                // The queue pauses between two slices of a purge, by a clock that is nobody's here.
                #[expect(clippy::disallowed_methods, reason = "there is nothing else to wait for")]
                std::thread::sleep(Duration::from_micros(300));
            } else {
                let moment = Duration::from_millis(100);
                self.pass(moment, moment).await?;
            }
        }
        Err(format!("no answer to {lines:?}"))
    }

    /// One request of control as root or the user; whether it was answered well.
    pub(crate) async fn ask(&mut self, uid: u32, request: &Value) -> Result<bool, String> {
        let lives = self.lives;
        let answers = self.say(uid, &[request.to_string()]).await?;
        let well = answers.first().is_some_and(|answer| answer["ok"] == true);
        if !well && self.lives == lives {
            self.broke(format!("{request} was answered with {answers:?}"));
        }
        Ok(well)
    }

    /// Whether this user's events of this tool are taken.
    pub(crate) fn is_allowed(&self, uid: u32, tool: usize) -> bool {
        !self.machine_off && !self.denied.contains(&(uid, tool))
    }

    /// New events of a tool.
    pub(crate) async fn write(
        &mut self,
        uid: u32,
        tool: usize,
        count: usize,
        ack: &str,
    ) -> Result<(), String> {
        let (now, boot) = (self.estate.laptop.now(), self.estate.laptop.boot_number());
        let mut ids = Vec::new();
        for _ in 0..count {
            self.written += 1;
            let mut bytes = self.random.u128(..).to_be_bytes();
            bytes[6] = 0x70 | (bytes[6] & 0x0f);
            bytes[8] = 0x80 | (bytes[8] & 0x3f);
            let id = Uuid::from_bytes(bytes);
            lock(&self.known).written(id, self.written, uid, tool, now, boot);
            ids.push(id);
        }
        self.tell(format!(
            "{uid} writes {count} events of {} up to number {}, ack {ack}",
            TOOLS[tool], self.written
        ));
        self.send(&ids, ack).await
    }

    /// Sends these events, for the first time or again.
    pub(crate) async fn send(&mut self, ids: &[Uuid], ack: &str) -> Result<(), String> {
        let Some(first) = ids.first() else { return Ok(()) };
        let (uid, tool) = {
            let known = lock(&self.known);
            let event = &known.events[first];
            (event.uid, event.tool)
        };
        let lines: Vec<String> = ids.iter().map(|id| self.line(id, ack)).collect();
        lock(&self.known).said_again(ids);
        let lives = self.lives;
        let answers = self.say(uid, &lines).await?;
        let allowed = self.is_allowed(uid, tool);
        if ack == "none" {
            if !answers.is_empty() {
                self.broke(format!("nothing was to be answered: {answers:?}"));
            }
            if !allowed && self.lives == lives {
                lock(&self.known).forbid("written while it was off", |event| {
                    event.uid == uid && event.tool == tool && event.word == Word::Nothing
                });
            }
            return Ok(());
        }
        if answers.len() != ids.len() && self.lives == lives {
            self.broke(format!("{} lines had {} answers", ids.len(), answers.len()));
        }
        let mut wrong = Vec::new();
        let mut synced = false;
        {
            let mut known = lock(&self.known);
            for (id, answer) in ids.iter().zip(&answers) {
                let Some(event) = known.events.get_mut(id) else {
                    continue;
                };
                let status = answer["status"].as_str().unwrap_or_default();
                match status {
                    "queued" | "synced" | "duplicate" if allowed => {
                        event.word = Word::Acknowledged;
                        synced |= ack == "synced";
                    }
                    "declined" if !allowed => event.word = Word::Refused,
                    _ if answer["error"] == "shutting_down" => {}
                    _ => wrong.push(format!("event {} was answered with {answer}", event.number)),
                }
            }
        }
        for wrong in wrong {
            self.broke(wrong);
        }
        if synced && self.lives == lives {
            self.note_synced();
        }
        Ok(())
    }

    fn line(&self, id: &Uuid, ack: &str) -> String {
        let known = lock(&self.known);
        let event = &known.events[id];
        json!({
            "tool": TOOLS[event.tool], "event": "ran", "id": id.to_string(), "ack": ack,
            "properties": { "mark": mark(event.number), "pad": "x".repeat(self.settings.pad) },
        })
        .to_string()
    }

    /// The daemon is killed where it stands.
    pub(crate) async fn kill(&mut self, power: Option<u64>) -> Result<(), String> {
        if disk::is_set(self.estate.lane) {
            disk::clear(self.estate.lane);
        }
        self.trap("before-commit", 1);
        if let Some(life) = &self.life {
            // Whatever makes it write.
            let _ = life
                .queue
                .set_destination_state(&Arc::from("nobody"), "{}".to_owned())
                .await;
        }
        self.bury(power).await
    }

    /// The daemon dies when the queue comes to this point for the nth time.
    pub(crate) fn trap(&self, point: &'static str, nth: u32) {
        disk::set(self.estate.lane, point, nth, &self.state(), &self.next_state());
    }

    fn next_state(&self) -> PathBuf {
        self.home.path().join(format!("state-{}", self.lives))
    }

    /// It is dead: what it leaves is what the next one finds. `power`: the power went, with this much luck.
    async fn bury(&mut self, power: Option<u64>) -> Result<(), String> {
        self.tell(if power.is_some() {
            "the power goes"
        } else {
            "killed"
        });
        if let Some(life) = self.life.take() {
            // It says that it is closed: it has died.
            let _ = life.end().await;
        }
        disk::clear(self.estate.lane);
        lock(&self.known).killed();
        let (old, new) = (self.state(), self.next_state());
        if let Some(luck) = power {
            self.synced.cut(&new, luck).map_err(|error| error.to_string())?;
            self.estate.laptop.reboot(1000 * (luck % 1000));
            lock(&self.known).power_cut();
        }
        std::fs::remove_dir_all(old).map_err(|error| error.to_string())?;
        let name = new.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mode = self.estate.places.mode;
        self.estate.environment = environment(self.home.path(), &name);
        self.estate.places = places(&self.estate.environment, mode, self.estate.uid);
        if let Some(word) = self.word_meanwhile.take() {
            std::fs::write(self.word_file(), word).map_err(|error| error.to_string())?;
        }
        Box::pin(self.start()).await?;
        if power.is_some() {
            self.note_synced();
        }
        Ok(())
    }

    /// It ends as a service manager ends it, and is started again.
    pub(crate) async fn restart(&mut self) -> Result<(), String> {
        self.tell("it ends, and starts again");
        let lives = self.lives;
        lock(&self.known).hurried = [true; 2];
        if let Some(life) = &self.life {
            life.drain();
        }
        for _ in 0..20 {
            self.rest().await?;
            if self.lives != lives {
                return Ok(());
            }
            if self.life.as_ref().is_some_and(Life::has_drained) {
                break;
            }
            self.pass(Duration::from_millis(500), Duration::from_millis(500))
                .await?;
            if self.lives != lives {
                return Ok(());
            }
        }
        if let Some(life) = &self.life {
            life.stop();
        }
        self.rest().await?;
        if self.lives != lives {
            return Ok(());
        }
        disk::clear(self.estate.lane);
        if let Some(life) = self.life.take()
            && let Err(error) = life.end().await
        {
            self.broke(format!("it did not end well: {error}"));
        }
        lock(&self.known).killed();
        self.start().await
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

    /// Marks of events that are on the disk somewhere in the queue.
    pub(crate) fn marks_on_disk(&self) -> BTreeSet<u64> {
        let mut found = BTreeSet::new();
        for name in ["queue.db", "queue.db-wal"] {
            let bytes = std::fs::read(self.state().join(name)).unwrap_or_default();
            for at in memchr::memmem::find_iter(&bytes, MARK) {
                let digits = bytes.get(at + MARK.len()..at + MARK.len() + 8);
                let number: Option<u64> =
                    digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
                found.extend(number);
            }
        }
        found
    }

    /// How it treats one destination from now on.
    pub(crate) fn behave(&self, destination: usize, manner: Manner) {
        self.endpoint
            .stir(|seen| seen.manners[destination] = Some(manner));
    }
}

/// What an event's mark begins with.
const MARK: &str = "zebra-";

fn mark(number: u64) -> String {
    format!("{MARK}{number:08}")
}

fn environment(home: &Path, state: &str) -> Environment {
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
