//! A laptop that is shut and opened again, simulated: the clock that counts suspend jumps, and timers do not. What is
//! due when it wakes goes within `retry.spread`, and ages say how long ago an event really was.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use telemetry_queue::{Id, Moment};
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{Collector, DEADLINE, eventually};
use telemetryd::clock::{Clock, SystemClock};

use crate::stage::Way;

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

    fn boot(&self) -> Id {
        [7; 16]
    }
}

/// A laptop with something to send.
struct Night {
    laptop: Arc<Laptop>,
    way: Way,
    endpoint: Collector,
}

impl Night {
    fn new(endpoint: Collector, of_destination: &str) -> Self {
        let laptop = Arc::new(Laptop::default());
        let clock = Arc::clone(&laptop) as Arc<dyn Clock>;
        let way = Way::to(&endpoint.url(), of_destination, clock, None);
        eventually("it waits for events", DEADLINE, || {
            (laptop.looks.load(Ordering::Relaxed) > 0).then_some(())
        });
        Self {
            laptop,
            way,
            endpoint,
        }
    }

    /// An event comes in, and is seen.
    fn event(&self, n: u8) {
        let looks = || self.laptop.looks.load(Ordering::Relaxed);
        let before = looks();
        let mut id = uuid::Uuid::now_v7().into_bytes();
        id[15] = n;
        self.way.event(id);
        eventually("it is seen", DEADLINE, || (looks() > before).then_some(()));
    }

    /// When the destination is tried next, by the wall clock.
    fn next_try(&self) -> Option<i64> {
        let states = self.way.flush.states();
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

/// Due at the end of the night, and long before the timer that was set in the evening.
#[test]
fn what_became_due_in_a_night_goes_within_the_spread_of_the_morning() {
    let settings = "batch = { max_wait = \"1h\" }\nretry = { spread = \"3s\" }\n";
    let night = Night::new(Collector::for_tool("demo"), settings);
    night.event(1);
    night.laptop.sleep(8 * HOUR_MS);
    // The first thing of the morning makes it look at the clocks.
    night.event(2);
    let planned = eventually("it is put off", DEADLINE, || night.next_try());
    let now = night.laptop.now().wall_ms;
    assert!((now - 3000..=now + 3000).contains(&planned), "{planned} at {now}");
    let ages = night.ages(2);
    assert!((8 * HOUR_MS..9 * HOUR_MS).contains(&ages[0]), "{ages:?}");
    assert!(ages[1] < HOUR_MS, "{ages:?}");
    let arrived = night.endpoint.requests()[0].at;
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
    let night = Night::new(Collector::for_tool("demo"), settings);
    night.event(1);
    night.laptop.sleep(2 * HOUR_MS);
    eventually("it is put off", DEADLINE, || night.next_try());
    assert!(night.ages(1)[0] >= 2 * HOUR_MS);
}

/// The backoff counts the night too: it is over, and the morning's first try is one of many machines'.
#[test]
fn a_backoff_that_ended_in_the_night_is_tried_within_the_spread() {
    let script = Script::new().then(Step::status(503).times(1));
    let endpoint = Collector::builder().script(script).expect_tool("demo").start();
    let settings =
        "batch = { max_wait = \"20ms\" }\nretry = { initial = \"12h\", max = \"12h\", spread = \"2s\" }\n";
    let night = Night::new(endpoint, settings);
    night.event(1);
    let evening = eventually("it has failed", DEADLINE, || night.next_try());
    night.laptop.sleep(24 * HOUR_MS);
    night.event(2);
    let morning = eventually("it is put off", DEADLINE, || {
        night.next_try().filter(|planned| *planned != evening)
    });
    assert!(morning > evening);
    assert!(night.ages(2)[0] >= 24 * HOUR_MS);
}

/// Nothing waited over the night: there is nothing to put off.
#[test]
fn an_idle_night_puts_nothing_off() {
    let settings = "batch = { max_wait = \"20ms\" }\nretry = { spread = \"1h\" }\n";
    let night = Night::new(Collector::for_tool("demo"), settings);
    night.event(1);
    night.endpoint.wait_for_events(1);
    eventually("it is settled", DEADLINE, || {
        (night.way.queue.view().borrow().events == 0).then_some(())
    });
    night.laptop.sleep(8 * HOUR_MS);
    night.event(2);
    assert!(night.ages(2)[1] < HOUR_MS);
}
