//! A laptop that is shut and opened again, simulated: the clock that counts suspend jumps, and timers do not. What is
//! due when it wakes goes within `retry.spread`, and ages say how long ago an event really was.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use telemetry_queue::{Append, Lane, Moment, NewEvent, Owner, Queue};
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{Collector, DEADLINE, eventually};
use telemetryd::clock::{Clock, SystemClock};
use telemetryd::config::{self, Environment, Flags, Mode, Places};
use telemetryd::consent::{Consent, Known};
use telemetryd::control::tail::Tail;
use telemetryd::counters::Counters;
use telemetryd::flush;
use telemetryd::phase::Ender;
use tokio::sync::watch;

const HOUR_MS: u64 = 60 * 60 * 1000;

/// The machine's clocks, and how long it was asleep besides.
#[derive(Debug, Default)]
struct Laptop {
    slept_ms: AtomicU64,
    /// How often somebody asked whether it slept.
    looks: AtomicU64,
}

impl Laptop {
    fn sleep(&self, ms: u64) {
        self.slept_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for Laptop {
    fn now(&self) -> Moment {
        let (awake, slept) = (SystemClock.now(), self.slept_ms.load(Ordering::Relaxed));
        Moment {
            wall_ms: awake.wall_ms.saturating_add_unsigned(slept),
            boot_ms: awake.boot_ms + slept,
        }
    }

    fn suspended_ms(&self) -> u64 {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.slept_ms.load(Ordering::Relaxed)
    }
}

/// The way out of the daemon, on a laptop.
struct Way {
    laptop: Arc<Laptop>,
    queue: Queue,
    states: flush::Handle,
    ender: Ender,
    flushing: Option<std::thread::JoinHandle<()>>,
    owner: Option<Owner>,
    endpoint: Collector,
    _home: tempfile::TempDir,
}

impl Way {
    fn new(endpoint: Collector, of_destination: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for folder in ["config", "data/telemetryd/tools.d"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        let manifest = "name = \"demo\"\nevents = \"any\"\nconsent = \"opt-out\"\n";
        std::fs::write(at("data/telemetryd/tools.d/demo.toml"), manifest).unwrap();
        let config = format!(
            "[destinations.default]\nurl = \"{}\"\n{of_destination}",
            endpoint.url()
        );
        std::fs::write(at("config/config.toml"), config).unwrap();
        let environment: Environment = [
            ("TELEMETRYD_CONFIG_DIR", at("config")),
            ("TELEMETRYD_STATE_DIR", at("state")),
            ("TELEMETRYD_MACHINE_DIR", at("machine")),
            ("XDG_DATA_HOME", at("data")),
        ]
        .into_iter()
        .collect();
        let places = Places::find(Mode::User, &environment, 7, &|_| false).unwrap();
        let loaded = config::load(&places, &Flags::default(), &environment).unwrap();
        let checked = Arc::new(loaded.checked);
        let laptop = Arc::new(Laptop::default());
        let options = telemetry_queue::Options {
            directory: places.state.clone(),
            boot_id: [7; 16],
            limits: checked.queue,
            probe: None,
        };
        let (queue, owner, _) = telemetry_queue::open(options, laptop.now()).unwrap();
        let consent = Arc::new(Consent::open(
            places,
            &Arc::default(),
            &checked,
            &Known::new(),
            laptop.clone(),
        ));
        let (ender, phase) = Ender::new();
        let (settings, reader) = watch::channel(checked);
        let shared = flush::Shared {
            queue: queue.clone(),
            consent,
            clock: Arc::clone(&laptop) as Arc<dyn Clock>,
            phase,
            counters: Arc::new(Counters::default()),
            tail: Tail::default(),
            seed: 7,
            percent: 100,
            by_user: false,
        };
        let (room, states) = flush::new(shared, reader);
        let flushing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(room.run());
            drop(settings);
        });
        block_on(states.arranged());
        eventually("it waits for events", DEADLINE, || {
            (laptop.looks.load(Ordering::Relaxed) > 0).then_some(())
        });
        Self {
            laptop,
            queue,
            states,
            ender,
            flushing: Some(flushing),
            owner: Some(owner),
            endpoint,
            _home: home,
        }
    }

    /// An event comes in, and is seen.
    fn event(&self, n: u8) {
        let looks = || self.laptop.looks.load(Ordering::Relaxed);
        let before = looks();
        let payload = br#"{"event":"ran","time":"2026-11-22T00:00:00.000Z"}"#.to_vec();
        let mut id = uuid::Uuid::now_v7().into_bytes();
        id[15] = n;
        let lane = Arc::new(Lane {
            uid: 7,
            destination: Arc::from("default"),
            tool: Arc::from("demo"),
        });
        let append = Append {
            events: vec![NewEvent {
                lane,
                id,
                project: None,
                epoch: 1,
                payload: 0..payload.len(),
            }],
            arena: payload,
            at: self.laptop.now(),
            ..Append::default()
        };
        block_on(self.queue.append(append)).unwrap();
        eventually("it is seen", DEADLINE, || (looks() > before).then_some(()));
    }

    /// When the destination is tried next, by the wall clock.
    fn next_try(&self) -> Option<i64> {
        let states = self.states.states();
        let states = states.borrow();
        states.get("default")?.next_try.map(|deadline| deadline.wall_ms)
    }

    /// The ages that arrived, oldest first.
    fn ages(&self, events: usize) -> Vec<u64> {
        self.endpoint.wait_for_events(events);
        let mut ages: Vec<u64> = self
            .endpoint
            .events()
            .iter()
            .filter_map(|event| event["age_ms"].as_u64())
            .collect();
        ages.sort_unstable_by(|one, other| other.cmp(one));
        ages
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.ender.stop();
        let ended = self.flushing.take().map(std::thread::JoinHandle::join);
        let closed = self.owner.take().map(Owner::close);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
            closed.unwrap().unwrap();
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// Due at the end of the night, and long before the timer that was set in the evening.
#[test]
fn what_became_due_in_a_night_goes_within_the_spread_of_the_morning() {
    let settings = "batch = { max_wait = \"1h\" }\nretry = { spread = \"3s\" }\n";
    let way = Way::new(Collector::for_tool("demo"), settings);
    way.event(1);
    way.laptop.sleep(8 * HOUR_MS);
    // The first thing of the morning makes it look at the clocks.
    way.event(2);
    let planned = eventually("it is put off", DEADLINE, || way.next_try());
    let now = way.laptop.now().wall_ms;
    assert!((now - 3000..=now + 3000).contains(&planned), "{planned} at {now}");
    let ages = way.ages(2);
    assert!((8 * HOUR_MS..9 * HOUR_MS).contains(&ages[0]), "{ages:?}");
    assert!(ages[1] < HOUR_MS, "{ages:?}");
    let arrived = way.endpoint.requests()[0].at;
    let arrived = arrived.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let planned = planned - i64::try_from(8 * HOUR_MS).unwrap();
    assert!(
        i64::try_from(arrived).unwrap() >= planned - 50,
        "it went at {arrived}, before its time {planned}"
    );
}

/// Nothing comes in: the timer that goes off later tells.
#[test]
fn a_timer_that_goes_off_after_a_suspend_puts_off_what_is_due() {
    let settings = "batch = { max_wait = \"1s\" }\nretry = { spread = \"2s\" }\n";
    let way = Way::new(Collector::for_tool("demo"), settings);
    way.event(1);
    way.laptop.sleep(2 * HOUR_MS);
    eventually("it is put off", DEADLINE, || way.next_try());
    assert!(way.ages(1)[0] >= 2 * HOUR_MS);
}

/// The backoff counts the night too: it is over, and the morning's first try is one of many machines'.
#[test]
fn a_backoff_that_ended_in_the_night_is_tried_within_the_spread() {
    let script = Script::new().then(Step::status(503).times(1));
    let endpoint = Collector::builder().script(script).expect_tool("demo").start();
    let settings =
        "batch = { max_wait = \"20ms\" }\nretry = { initial = \"12h\", max = \"12h\", spread = \"2s\" }\n";
    let way = Way::new(endpoint, settings);
    way.event(1);
    let evening = eventually("it has failed", DEADLINE, || way.next_try());
    way.laptop.sleep(24 * HOUR_MS);
    way.event(2);
    let morning = eventually("it is put off", DEADLINE, || {
        way.next_try().filter(|planned| *planned != evening)
    });
    assert!(morning > evening);
    assert!(way.ages(2)[0] >= 24 * HOUR_MS);
}

/// Nothing waited over the night: there is nothing to put off.
#[test]
fn an_idle_night_puts_nothing_off() {
    let settings = "batch = { max_wait = \"20ms\" }\nretry = { spread = \"1h\" }\n";
    let way = Way::new(Collector::for_tool("demo"), settings);
    way.event(1);
    way.endpoint.wait_for_events(1);
    eventually("it is settled", DEADLINE, || {
        (way.queue.view().borrow().events == 0).then_some(())
    });
    way.laptop.sleep(8 * HOUR_MS);
    way.event(2);
    assert!(way.ages(2)[1] < HOUR_MS);
}
