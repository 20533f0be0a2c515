//! Over the connections that are open, and over the tools whose events come: what is accepted and delivered while
//! everything runs, and what that costs.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Growth;
use super::crowd::Crowd;
use crate::clock;
use crate::daemon::Settings;
use crate::endpoint::Endpoint;
use crate::figure::percentile;
use crate::lines::TOOL;
use crate::process::open_many;
use crate::report::Report;
use crate::scenario::Bench;

/// In flight on each connection, where connections grow; and where tools do, as in `throughput`.
const NARROW: u64 = 16;
const WIDE: u64 = 256;

/// Connections that the events of all tools come over.
const CONNECTIONS: u64 = 4;

/// A note under the table.
pub(super) const HOW: &str = "connections: 16 events in flight on each; p50: one event at a time, over each in turn while all are open; \
     tools: their events in turn over 4 connections, 256 in flight on each; no compression; one thread is all clients";

/// What one run gave.
struct Run {
    accepted: f64,
    delivered: f64,
    cpu: f64,
    p50: f64,
    resident: f64,
}

/// Over the connections.
///
/// # Errors
/// When the daemon fails.
pub(super) fn connections(bench: &Bench, report: &mut Report) -> Result<Growth> {
    open_many()?;
    let mut growth = Growth::new("connections", &bench.scale.connections);
    for _ in 0..bench.rounds(bench.scale.rounds) {
        for (at, connections) in bench.scale.connections.into_iter().enumerate() {
            let run = once(bench, report, connections, NARROW, 1)?;
            growth.sample(at, "accepted", "events/s", run.accepted);
            growth.sample(at, "CPU", "s a million", run.cpu);
            growth.sample(at, "one event: p50", "µs", run.p50);
            growth.sample(at, "resident", "MB", run.resident);
        }
    }
    Ok(growth)
}

/// Over the tools.
///
/// # Errors
/// When the daemon fails.
pub(super) fn tools(bench: &Bench, report: &mut Report) -> Result<Growth> {
    let mut growth = Growth::new("tools", &bench.scale.tools);
    for _ in 0..bench.rounds(bench.scale.rounds) {
        for (at, tools) in bench.scale.tools.into_iter().enumerate() {
            let run = once(bench, report, CONNECTIONS, WIDE, tools)?;
            growth.sample(at, "accepted", "events/s", run.accepted);
            growth.sample(at, "accepted and delivered", "events/s", run.delivered);
            growth.sample(at, "CPU", "s a million", run.cpu);
            growth.sample(at, "resident", "MB", run.resident);
        }
    }
    Ok(growth)
}

/// One run.
fn once(bench: &Bench, report: &mut Report, connections: u64, window: u64, tools: u64) -> Result<Run> {
    let endpoint = Endpoint::new()?;
    let home = bench.home(&Settings {
        compression: "none",
        ..Settings::to(&endpoint.url())
    })?;
    let tools: Vec<String> = (0..tools)
        .map(|number| match number {
            0 => TOOL.to_owned(),
            number => format!("{TOOL}{number}"),
        })
        .collect();
    for tool in &tools {
        home.write_manifest_of(tool, "events = \"any\"\n")?;
    }
    let daemon = home.start()?;
    let process = daemon.process();
    let mut crowd = Crowd::connect(&daemon.socket(), connections, &tools)?;
    // Every connection has spoken, every tool is known.
    let warm = 2000.max(connections * 2);
    crowd.send(warm, window)?;
    daemon.drained(Duration::from_secs(60))?;

    let events = bench.scale.events / 2;
    let cpu = || process.cpu().values().sum::<f64>();
    let before = cpu();
    let begun = clock::now();
    crowd.send(events, window)?;
    let accepted = begun.elapsed().as_secs_f64();
    daemon.order(&json!({ "op": "flush", "wait": false }))?;
    endpoint.wait_for(warm + events, Duration::from_secs(120));
    let delivered = begun.elapsed().as_secs_f64();
    daemon.drained(Duration::from_secs(60))?;
    let cpu = cpu() - before;
    let resident = process.resident().0;

    let times = crowd.one_by_one(bench.scale.visits)?;
    let books = daemon.drained(Duration::from_secs(60))?;
    let sent = warm + events + times.len() as u64;
    let arrived = endpoint.wait_for(sent, Duration::from_secs(10));
    let counts = endpoint.counts();
    report.check(
        arrived && counts.duplicates == 0 && books.balanced && books.delivered == sent,
        || {
            let tools = tools.len();
            format!("{connections} connections, {tools} tools: {sent} events were acknowledged; {counts:?}, {books:?}")
        },
    );
    drop(crowd);
    daemon.term()?;
    Ok(Run {
        accepted: events as f64 / accepted,
        delivered: events as f64 / delivered,
        cpu: cpu / (events as f64 / 1e6),
        p50: percentile(&times, 0.5),
        resident,
    })
}
