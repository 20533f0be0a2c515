//! The daemon's rooms (ingest, consent, policy, queue, flush, delivery) under a clock that is moved by hand, with a
//! seeded hand that makes everything go wrong: the endpoint, the power, the clock, the disk, people. After each step the
//! books are compared with what is known from outside, and at the end nothing may be missing.
//!
//! `CONTRIBUTING.md` says how a seed is replayed and kept.

#![expect(clippy::unwrap_used, reason = "a simulation that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "a seed that fails is printed when it fails")]

mod clients;
mod disk;
mod endpoint;
mod ends;
mod known;
mod laptop;
mod laws;
mod life;
mod plan;
mod world;

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::endpoint::lock;
use crate::world::Machine;

/// Seeds that found something once, one a line, each with what it found.
const KEPT: &str = include_str!("seeds.txt");

/// What a seed has come to: its story, and what was broken.
#[derive(Default)]
struct Lived {
    story: Vec<String>,
    broken: Vec<String>,
    sums: Sums,
}

/// How much there was of it.
#[derive(Clone, Copy, Default)]
struct Sums {
    seeds: u64,
    days: f64,
    events: usize,
    requests: u64,
    starts: u32,
}

/// Lives through one seed.
fn live(seed: u64, lane: usize) -> Lived {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        // While this waits, tokio's clock does not go on by itself.
        #[expect(clippy::disallowed_methods, reason = "it is what keeps tokio's clock still")]
        let holds_the_clock = tokio::task::spawn_blocking(move || held.recv().is_err());
        let lived = match Machine::new(seed, lane).await {
            Ok(mut machine) => {
                let ended = plan::live(&mut machine).await;
                if let Err(failed) = ended {
                    machine.broke(failed);
                }
                disk::clear(lane);
                if let Some(life) = machine.life.take() {
                    let _ = life.end().await;
                }
                let requests = machine.endpoint.stir(|seen| seen.requests);
                let mut known = lock(&machine.known);
                Lived {
                    story: std::mem::take(&mut known.story),
                    broken: std::mem::take(&mut known.broken),
                    sums: Sums {
                        seeds: 1,
                        days: machine.passed_ms as f64 / 86_400_000.0,
                        events: known.events.len(),
                        requests,
                        starts: machine.lives,
                    },
                }
            }
            Err(failed) => Lived {
                broken: vec![failed],
                ..Lived::default()
            },
        };
        drop(release);
        let _ = holds_the_clock.await;
        lived
    })
}

/// The same, where a panic is a broken law, too.
fn live_or_fall(seed: u64, lane: usize) -> Lived {
    std::panic::catch_unwind(AssertUnwindSafe(|| live(seed, lane))).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        disk::clear(lane);
        Lived {
            broken: vec![format!("it panicked: {}", what.unwrap_or_default())],
            ..Lived::default()
        }
    })
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Seeds, each lived through in one of the lanes; what the failing ones broke.
fn live_through(seeds: &[u64]) -> Vec<String> {
    let next = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    let sums = Mutex::new(Sums::default());
    let lanes = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .min(disk::LANES - 1);
    std::thread::scope(|scope| {
        for lane in 0..lanes {
            let (next, failed, sums) = (&next, &failed, &sums);
            scope.spawn(move || {
                loop {
                    let at = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    let Some(&seed) = seeds.get(at) else { return };
                    let lived = live_or_fall(seed, lane);
                    lock(sums).add(lived.sums);
                    if let Some(first) = lived.broken.first() {
                        println!(
                            "seed {seed}: {first}\n  replay with TELEMETRYD_SIM_SEED={seed} cargo test -p telemetryd --test simulation -- --nocapture"
                        );
                        lock(failed).push(format!("seed {seed}: {}", lived.broken.join("; ")));
                    }
                }
            });
        }
    });
    println!("{}", sums.into_inner().unwrap());
    failed.into_inner().unwrap()
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.days += other.days;
        self.events += other.events;
        self.requests += other.requests;
        self.starts += other.starts;
    }
}

impl std::fmt::Display for Sums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            seeds,
            days,
            events,
            requests,
            starts,
        } = self;
        write!(
            f,
            "{seeds} machines, {days:.0} days, {starts} starts of the daemon, {events} events, {requests} requests"
        )
    }
}

/// As many as are lived through in half a minute by two cores; `TELEMETRYD_SIM_SEEDS` asks for more,
/// `TELEMETRYD_SIM_FROM` for others, and `TELEMETRYD_SIM_SEED` for the story of one.
#[test]
fn a_thousand_machines_on_which_everything_goes_wrong_keep_every_law() {
    if let Some(seed) = variable("TELEMETRYD_SIM_SEED") {
        let lived = live_or_fall(seed, 0);
        println!("{}", lived.story.join("\n"));
        assert_eq!(lived.broken, Vec::<String>::new(), "seed {seed}");
        return;
    }
    let count = variable("TELEMETRYD_SIM_SEEDS").unwrap_or(1000);
    let from = variable("TELEMETRYD_SIM_FROM").unwrap_or(0);
    let kept = KEPT
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok());
    let seeds: Vec<u64> = kept.chain(from..from + count).collect();
    let failed = live_through(&seeds);
    assert!(
        failed.is_empty(),
        "{} seeds failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// The story, with what went to the two destinations at one moment told one after the other: which of them comes first
/// in the same moment is chance.
fn in_order(mut story: Vec<String>) -> Vec<String> {
    let is_request = |line: &String| line.starts_with("  ");
    for run in story.chunk_by_mut(|one, other| is_request(one) && is_request(other)) {
        // "  60000: a request to 1 with [1, 2]": the moment and the destination.
        run.sort_by_key(|line| line.split(" with ").next().map(str::to_owned));
    }
    story
}

/// What a seed tells is told again by the same seed.
#[test]
fn a_seed_lives_through_the_same_twice() {
    for seed in 1_000_000..1_000_020 {
        let once = || in_order(live_or_fall(seed, disk::LANES - 1).story);
        let (first, second) = (once(), once());
        let differs = first.iter().zip(&second).position(|(one, other)| one != other);
        let around = differs.map_or(0..0, |at| at.saturating_sub(5)..at + 1);
        assert_eq!(first[around.clone()], second[around], "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}
