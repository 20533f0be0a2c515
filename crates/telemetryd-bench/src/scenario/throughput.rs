//! `throughput`: 256 events in flight on each connection, delivery running.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Bench;
use crate::bare::table::{Setup, insert};
use crate::client::send_over;
use crate::clock;
use crate::daemon::Settings;
use crate::endpoint::Endpoint;
use crate::figure::{Figure, Wanted, median};
use crate::lines::Ack;
use crate::process::own_cpu;
use crate::report::Report;

/// Events in flight on each connection.
pub(super) const WINDOW: u64 = 256;

/// What is asked: accepted and delivered beside the bare insert.
const WANTED: Wanted = Wanted::RatioAtLeast(0.6);

/// Events before anything is measured.
pub(super) const WARM_UP: u64 = 2000;

/// Connections, and how bodies are compressed.
const VARIANTS: [(u64, &str); 4] = [(4, "gzip"), (1, "gzip"), (4, "none"), (1, "none")];

/// One run.
pub(super) struct Run {
    pub(super) accepted: f64,
    pub(super) delivered: f64,
    /// CPU seconds a million events, by thread.
    pub(super) daemon: BTreeMap<String, f64>,
    pub(super) bench: f64,
    /// The most that was resident, in MB.
    pub(super) peak: f64,
}

/// Runs it.
///
/// # Errors
/// When the daemon fails.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("throughput");
    let mut bare = [const { Vec::new() }; 3];
    let mut runs: [Vec<Run>; 4] = [const { Vec::new() }; 4];
    let stored = bench.stored()?;
    let mut synced = Vec::new();
    insert(&bench.directory, Setup::Plain, &stored, bench.scale.rows / 4)?;
    for _ in 0..bench.rounds(bench.scale.rounds) {
        for (samples, setup) in bare.iter_mut().zip(Setup::ALL) {
            samples.push(insert(&bench.directory, setup, &stored, bench.scale.rows)?);
        }
        for (runs, (connections, compression)) in runs.iter_mut().zip(VARIANTS) {
            runs.push(once(bench, report, connections, compression, Ack::Queued)?);
        }
        synced.push(once(bench, report, 4, "none", Ack::Synced)?.accepted);
    }
    for (samples, setup) in bare.iter().zip(Setup::ALL) {
        report.figure(Figure::new(
            format!("bare insert, {}", setup.name()),
            "rows/s",
            samples,
        ));
    }
    let mut beside_large = Vec::new();
    for (runs, (connections, compression)) in runs.iter().zip(VARIANTS) {
        let name = |what: &str| {
            let plural = if connections == 1 { "" } else { "s" };
            format!("{what}, {connections} connection{plural}, {compression}")
        };
        let of = |number: fn(&Run) -> f64| runs.iter().map(number).collect::<Vec<f64>>();
        let accepted = Figure::new(name("accepted"), "events/s", &of(|run| run.accepted));
        report.figure(accepted.beside("bare insert", &bare[0]).wanted(WANTED));
        let delivered = Figure::new(name("delivered"), "events/s", &of(|run| run.delivered));
        report.figure(delivered.beside("bare insert", &bare[0]).wanted(WANTED));
        let of_large = |what: &str, number: fn(&Run) -> f64| {
            let ratios: Vec<f64> = of(number)
                .iter()
                .zip(&bare[1])
                .map(|(ours, bare)| ours / bare)
                .collect();
            format!("{what} {:.2}", median(&ratios))
        };
        beside_large.push(format!(
            "{}, {}",
            name(&of_large("accepted", |run| run.accepted)),
            of_large("delivered", |run| run.delivered)
        ));
        let daemon = of(|run| run.daemon.values().sum());
        report.figure(Figure::new(name("daemon's CPU"), "s a million", &daemon));
        report.figure(Figure::new(
            name("bench's CPU"),
            "s a million",
            &of(|run| run.bench),
        ));
        let threads: Vec<String> = runs
            .first()
            .map(|run| run.daemon.keys().cloned().collect())
            .unwrap_or_default();
        let shares: Vec<String> = threads
            .iter()
            .map(|thread| {
                let samples: Vec<f64> = runs
                    .iter()
                    .filter_map(|run| run.daemon.get(thread).copied())
                    .collect();
                format!("{thread} {:.2}", median(&samples))
            })
            .collect();
        report.note(format!(
            "{connections} x {WINDOW} in flight, {compression}: the daemon's CPU by thread, s a million: {}",
            shares.join(", ")
        ));
    }
    let queued: Vec<f64> = runs[2].iter().map(|run| run.accepted).collect();
    report.figure(
        Figure::new("accepted and synced, 4 connections, none", "events/s", &synced)
            .beside("queued", &queued)
            .wanted(Wanted::RatioAtLeast(0.8)),
    );
    report.note("the bench's CPU is that of its clients and of its endpoint, on the same cores");
    report.note(format!(
        "of the bare insert with 16 KiB pages: {}",
        beside_large.join("; ")
    ));
    report.note(format!(
        "ratios are of the bare insert with 4 KiB pages in the same round, of the same rows: {} bytes of payload",
        stored.len()
    ));
    Ok(())
}

/// One run.
///
/// # Errors
/// When the daemon fails.
pub(super) fn once(
    bench: &Bench,
    report: &mut Report,
    connections: u64,
    compression: &'static str,
    ack: Ack,
) -> Result<Run> {
    let events = bench.scale.events / connections * connections;
    let endpoint = Endpoint::new()?;
    let home = bench.home(&Settings {
        compression,
        ..Settings::to(&endpoint.url())
    })?;
    let daemon = home.start()?;
    let socket = daemon.socket();
    send_over(&socket, connections, WARM_UP, WINDOW, Ack::Queued)?;
    daemon.drained(Duration::from_secs(60))?;

    let process = daemon.process();
    let (daemon_before, own_before) = (process.cpu(), own_cpu());
    let begun = clock::now();
    let sample = send_over(&socket, connections, events, WINDOW, ack)?;
    let accepted = begun.elapsed();
    // The last batch is not full: it would wait for its time.
    daemon.order(&json!({ "op": "flush", "wait": false }))?;
    let arrived = endpoint.wait_for(WARM_UP + events, Duration::from_secs(120));
    let delivered = begun.elapsed();
    let own = own_cpu() - own_before;
    let books = daemon.drained(Duration::from_secs(60))?;
    let million = events as f64 / 1e6;
    let cpu = process
        .cpu()
        .into_iter()
        .map(|(thread, used)| {
            let used = used - daemon_before.get(&thread).copied().unwrap_or_default();
            (thread, used / million)
        })
        .collect();

    let counts = endpoint.counts();
    let variant = format!("{connections} connections, {compression}, {ack:?}");
    report.check(arrived && counts.unique == WARM_UP + events, || {
        format!(
            "{variant}: {} events were acknowledged, {} arrived",
            WARM_UP + events,
            counts.unique
        )
    });
    report.check(counts.duplicates == 0, || {
        format!("{variant}: {} events came twice", counts.duplicates)
    });
    let missing = sample.iter().filter(|id| !endpoint.has(**id)).count();
    report.check(missing == 0, || {
        format!(
            "{variant}: {missing} of {} ids looked for did not arrive",
            sample.len()
        )
    });
    report.check(
        books.balanced && books.delivered == WARM_UP + events && books.elsewhere == 0,
        || format!("{variant}: the books say {books:?}"),
    );
    let peak = process.peak();
    daemon.term()?;
    Ok(Run {
        peak,
        accepted: events as f64 / accepted.as_secs_f64(),
        delivered: events as f64 / delivered.as_secs_f64(),
        daemon: cpu,
        bench: own / million,
    })
}
