//! The process that is killed: appends, claims, settles, and says on its standard output what it knows.

use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use telemetry_queue::{Appended, Filter, Id, Moment, Outcome, PurgeReason};

use crate::support::{
    Bench, Random, after, at_most, bisect, delivered, events, hex, lane, options, retry, split,
};

static POINT: OnceLock<String> = OnceLock::new();
static TIMES: AtomicU32 = AtomicU32::new(0);

/// Kills this process when `name` is reached for the chosen time.
fn probe(name: &'static str) {
    if POINT.get().is_some_and(|point| point == name) && TIMES.fetch_sub(1, Ordering::Relaxed) == 1 {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    }
}

/// One line in one write, so that it is in the pipe before anything else happens.
fn say(verb: &str, ids: impl IntoIterator<Item = Id>) {
    let mut line = format!("@{verb}");
    for id in ids {
        line.push(' ');
        line.push_str(&hex(&id));
    }
    line.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}

/// The point that the environment names, if it does.
fn read_point() {
    if let Ok(point) = std::env::var("TELEMETRYD_KILL_POINT") {
        POINT.set(point).unwrap();
        TIMES.store(number("TELEMETRYD_KILL_TIMES").unwrap(), Ordering::Relaxed);
    }
    // The harness has begun a line of its own.
    std::io::stdout().write_all(b"\n").unwrap();
}

fn number(name: &str) -> Option<u32> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Not a test of its own: does nothing unless `kill::opens` started it.
#[test]
fn opens() {
    let Some(directory) = std::env::var_os("TELEMETRYD_OPEN_CHILD").map(PathBuf::from) else {
        return;
    };
    read_point();
    let mut options = options(&directory);
    options.probe = Some(probe);
    match Bench::open(&options, after(500)) {
        Ok(bench) => {
            println!("@open");
            probe("opened");
            bench.close();
        }
        Err(error) => println!("@{:?}", error.kind),
    }
}

/// Not a test of its own: does nothing unless `kill::run` started it.
#[test]
fn is_killed() {
    let Some(directory) = std::env::var_os("TELEMETRYD_KILL_CHILD").map(PathBuf::from) else {
        return;
    };
    let round = u64::from(number("TELEMETRYD_KILL_ROUND").unwrap());
    read_point();
    let mut options = options(&directory);
    options.probe = Some(probe);
    options.limits.sent_max_bytes = 64 << 10;
    let bench = Bench::open(&options, after(round)).unwrap();
    let mut random = Random::new(round + 1);
    let lanes = [
        lane(1, "a", "x"),
        lane(1, "a", "y"),
        lane(1, "b", "x"),
        lane(2, "a", "x"),
    ];
    let mut next = round * 1_000_000;
    for _ in 0..40 {
        let lane = &lanes[random.below(4) as usize];
        let count = 1 + random.below(9);
        let mut append = events(
            lane,
            next..next + count,
            20 + random.below(400) as usize,
            after(round),
        );
        append.synced = random.below(8) == 0;
        next += count;
        say("try", append.events.iter().map(|event| event.id));
        let ids: Vec<Id> = append.events.iter().map(|event| event.id).collect();
        let answers = bench.append(append).unwrap();
        assert!(answers.iter().all(|answer| *answer == Appended::Queued));
        say("ack", ids);
        if random.below(6) == 0 {
            append_and_purge(&bench, &mut random, &mut next, after(round));
        }
        for _ in 0..random.below(3) {
            deliver(&bench, &mut random, after(round));
        }
    }
    bench.close();
}

/// Events of a tool whose consent is withdrawn time and again.
fn append_and_purge(bench: &Bench, random: &mut Random, next: &mut u64, at: Moment) {
    let lane = lane(1, "c", "fleeting");
    let count = 1 + random.below(300);
    let append = events(&lane, *next..*next + count, 300, at);
    *next += count;
    say("fleeting", append.events.iter().map(|event| event.id));
    bench.append(append).unwrap();
    if random.below(2) == 0 {
        let filter = Filter {
            tool: Some("fleeting".into()),
            ..Filter::default()
        };
        bench.purge(filter, PurgeReason::Consent, at);
        say("purged", []);
    }
}

/// Claims one batch and ends it in one of the ways: always in the same for the same members, for an endpoint that
/// has taken a batch does not find it too large when it comes again.
fn deliver(bench: &Bench, random: &mut Random, at: Moment) {
    let destination = if random.below(3) == 0 { "b" } else { "a" };
    let Some(claimed) = bench.claim(destination, at_most(1 + random.below(40) as u32), at) else {
        return;
    };
    let ids = || std::iter::once(claimed.id).chain(claimed.events.iter().map(|event| event.id));
    say("claim", ids());
    let many = claimed.events.len() > 8;
    let outcome: Outcome = match claimed.events[0].id[15] % 8 {
        0 if claimed.attempts == 0 => retry(),
        1 if many => split(),
        2 if many => bisect(422),
        3 if random.below(2) == 0 => Outcome::Release,
        4 if random.below(2) == 0 => {
            // The endpoint has it, its answer does not arrive.
            say("received", ids());
            retry()
        }
        _ => {
            say("received", ids());
            probe("received");
            delivered()
        }
    };
    let is_delivered = matches!(outcome, Outcome::Delivered { .. });
    bench.settle(claimed.id, outcome, at);
    if is_delivered {
        say("settled", [claimed.id]);
    }
}
