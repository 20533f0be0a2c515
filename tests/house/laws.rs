//! Laws about what may be written where: who reads time (I9), who does I/O, who spawns, who imports whom.
//!
//! The lints ban the same calls by name (`clippy.toml`); what is here is what a lint cannot know: the place.

use crate::tree::File;
use crate::{hold, tree};

/// Where time may be read: the daemon's clock, and the programs that are not the daemon (I9).
const MAY_READ_TIME: [&str; 6] = [
    "crates/telemetryd/src/clock.rs",
    "crates/telemetry-client/", // deadlines of its own
    "crates/telemetryctl/",     // prints ages to a person
    "crates/telemetry-sink/",   // plays the other side
    "crates/telemetry-testkit/",
    "crates/telemetryd-bench/",
];

/// Ways to ask what time it is.
const ASKS_THE_TIME: [&str; 6] = [
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "clock_gettime",
    "now_v7(",
];

/// Pure rooms: no I/O, no clock, not async.
const PURE: [&str; 2] = ["crates/telemetry-protocol/src/", "crates/telemetry-policy/src/"];

/// What a pure room would need for it.
const IMPURE: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::os::unix::net",
    "std::process",
    "std::thread",
    "File::open",
    "async fn",
    "async move",
    ".await",
];

/// The one place of the daemon that spawns.
const SPAWNS: &str = "crates/telemetryd/src/run.rs";

/// Finds words in the code of some files, unit tests and comments aside.
fn find(files: impl Iterator<Item = File>, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.filter(|file| !file.is_test()) {
        for (number, line) in file.code() {
            found.extend(
                words
                    .iter()
                    .filter(|word| line.contains(**word))
                    .map(|word| format!("{}:{number}: {word}", file.path)),
            );
        }
    }
    found
}

fn below(prefix: &'static str) -> impl Iterator<Item = File> {
    tree::sources()
        .into_iter()
        .filter(move |file| file.path.starts_with(prefix))
}

#[test]
fn only_the_clock_reads_time() {
    let others = tree::sources()
        .into_iter()
        .filter(|file| !MAY_READ_TIME.iter().any(|place| file.path.starts_with(place)));
    hold("I9: only clock.rs reads time", &find(others, &ASKS_THE_TIME));
}

#[test]
fn the_pure_rooms_do_no_io_and_never_wait() {
    let broken: Vec<String> = PURE
        .into_iter()
        .flat_map(|room| find(below(room), &IMPURE))
        .collect();
    hold(
        "telemetry-protocol and telemetry-policy are pure functions of what they are given",
        &broken,
    );
}

#[test]
fn the_queue_and_the_delivery_room_leave_the_clock_and_the_dice_to_their_callers() {
    let dice = [
        "fastrand::u64(",
        "fastrand::u32(",
        "fastrand::f64(",
        "fastrand::usize(",
        "Rng::new(",
        "rand::random",
    ];
    let broken: Vec<String> = [
        "crates/telemetry-queue/src/",
        "crates/telemetry-delivery/src/",
        "crates/telemetry-policy/src/",
    ]
    .into_iter()
    .flat_map(|room| find(below(room), &dice))
    .collect();
    hold("I9: randomness comes through a seed", &broken);
}

#[test]
fn ingest_and_flush_do_not_know_each_other() {
    let mut broken = find(
        below("crates/telemetryd/src/ingest"),
        &["crate::flush", "super::flush"],
    );
    broken.extend(find(
        below("crates/telemetryd/src/flush"),
        &["crate::ingest", "super::ingest"],
    ));
    hold("ingest and flush meet in the queue only", &broken);
}

#[test]
fn only_run_spawns_tasks() {
    let others = below("crates/telemetryd/src/").filter(|file| file.path != SPAWNS);
    hold(
        "run.rs alone spawns tasks, so that a list of all of them can be read in one place",
        &find(
            others,
            &["tokio::spawn(", "task::spawn(", "spawn_local(", "spawn_blocking("],
        ),
    );
}

#[test]
fn the_client_library_never_panics_prints_or_ends_its_host() {
    let words = [
        "panic!(",
        ".unwrap()",
        ".expect(",
        "unreachable!(",
        "assert!(",
        "assert_eq!(",
        "println!(",
        "eprintln!(",
        "print!(",
        "process::exit",
        "process::abort",
    ];
    hold(
        "I10: the client library does nothing to its host",
        &find(below("crates/telemetry-client/src/"), &words),
    );
}
