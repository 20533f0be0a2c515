//! Over the events that wait: what the last of them cost, what a client and a `status` see of them, what a start and the
//! memory are with them, and how fast they leave.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::Growth;
use crate::client::send_over;
use crate::clock;
use crate::daemon::Settings;
use crate::endpoint::Endpoint;
use crate::figure::percentile;
use crate::lines::Ack;
use crate::report::Report;
use crate::scenario::Bench;
use crate::scenario::latency::visits;

/// The last of the events, whose cost is looked at.
const LAST: u64 = 20_000;

/// Events with which a size takes so long that it is measured once.
const LARGE: u64 = 1_000_000;

/// How often `status` is asked, and a daemon started.
const ASKED: usize = 20;
const STARTS: usize = 5;

/// A note under the table.
pub(super) const HOW: &str = "queued: sending is paused while they come, over 4 connections; inserted: the last 20,000 of them, or all; \
     a client connects, writes, reads its answer and closes; resident: of a daemon started anew; drained: all, no compression";

/// Measures every size.
///
/// # Errors
/// When the daemon fails.
pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<Growth> {
    let mut growth = Growth::new("queued", &bench.scale.queues);
    for round in 0..bench.rounds(bench.scale.rounds) {
        for (at, size) in bench.scale.queues.into_iter().enumerate() {
            if round == 0 || size < LARGE {
                once(bench, report, &mut growth, at, size)?;
            }
        }
    }
    Ok(growth)
}

/// One round of a size.
fn once(bench: &Bench, report: &mut Report, growth: &mut Growth, at: usize, size: u64) -> Result<()> {
    let endpoint = Endpoint::new()?;
    let home = bench.home(&Settings {
        compression: "none",
        ..Settings::to(&endpoint.url())
    })?;
    let last = size.min(LAST) / 4 * 4;
    let first = (size - last) / 4 * 4;
    let daemon = home.start()?;
    daemon.order(&json!({ "op": "pause" }))?;
    send_over(&daemon.socket(), 4, first, 256, Ack::Queued)?;
    let cpu = |process: &crate::process::Process| process.cpu().values().sum::<f64>();
    let before = cpu(&daemon.process());
    let begun = clock::now();
    send_over(&daemon.socket(), 4, last, 256, Ack::Queued)?;
    growth.sample(
        at,
        "inserted",
        "events/s",
        last as f64 / begun.elapsed().as_secs_f64(),
    );
    let used = cpu(&daemon.process()) - before;
    growth.sample(at, "CPU of that", "s a million", used / (last as f64 / 1e6));
    let visits = visits(&daemon.socket(), Ack::Queued, true, bench.scale.visits)?;
    growth.sample(at, "a client's event: p50", "µs", percentile(&visits, 0.5));
    let status = (0..ASKED).map(|_| -> Result<f64> {
        let begun = clock::now();
        daemon.order(&json!({ "op": "status" }))?;
        Ok(begun.elapsed().as_secs_f64() * 1e6)
    });
    let status: Vec<f64> = status.collect::<Result<_>>()?;
    growth.sample(at, "a status", "µs", percentile(&status, 0.5));
    daemon.term()?;

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let begun = clock::now();
        let daemon = home.start()?;
        starts.push(begun.elapsed().as_secs_f64() * 1e3);
        daemon.term()?;
    }
    growth.sample(at, "to ready", "ms", percentile(&starts, 0.5));

    let events = first + last + visits.len() as u64;
    let daemon = home.start()?;
    let process = daemon.process();
    let books = daemon.books()?;
    ensure!(
        books.queued == events,
        "{events} were queued, the books say {books:?}"
    );
    growth.sample(at, "resident", "MB", process.resident().0);
    let before = cpu(&process);
    let begun = clock::now();
    daemon.order(&json!({ "op": "resume" }))?;
    daemon.order(&json!({ "op": "flush", "wait": false }))?;
    let arrived = endpoint.wait_for(events, Duration::from_secs(600));
    growth.sample(
        at,
        "drained",
        "events/s",
        events as f64 / begun.elapsed().as_secs_f64(),
    );
    let books = daemon.drained(Duration::from_secs(60))?;
    let used = cpu(&process) - before;
    growth.sample(
        at,
        "CPU of that drain",
        "s a million",
        used / (events as f64 / 1e6),
    );
    growth.sample(at, "most resident while draining", "MB", process.peak());
    let counts = endpoint.counts();
    report.check(
        arrived && counts.duplicates == 0 && books.balanced && books.delivered == events,
        || format!("{events} events were queued; the endpoint counts {counts:?}, the books say {books:?}"),
    );
    daemon.term()
}
