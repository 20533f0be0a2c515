//! `drain`: a million events wait for their endpoint, and leave.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Bench;
use crate::bare::table::{Setup, take};
use crate::client::send_over;
use crate::clock;
use crate::daemon::{Daemon, Settings};
use crate::endpoint::Endpoint;
use crate::figure::{Figure, Wanted};
use crate::lines::Ack;
use crate::report::Report;

/// How bodies are compressed: the default first.
const VARIANTS: [&str; 2] = ["gzip", "none"];

/// What one round gave.
pub(super) struct Run {
    filled: f64,
    pub(super) drained: f64,
    pub(super) disk: f64,
    disk_at_rest: f64,
    filling_peak: f64,
    peak: f64,
    cpu: f64,
}

/// Runs it.
///
/// # Errors
/// When the daemon fails.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("drain");
    let stored = bench.stored()?;
    let mut bare = Vec::new();
    let mut bare_large = Vec::new();
    let mut bare_queue = Vec::new();
    let mut runs: [Vec<Run>; 2] = [const { Vec::new() }; 2];
    for _ in 0..bench.rounds(bench.scale.drain_rounds) {
        bare.push(take(&bench.directory, Setup::Plain, &stored, bench.scale.queued)?);
        bare_large.push(take(
            &bench.directory,
            Setup::LargePages,
            &stored,
            bench.scale.queued,
        )?);
        bare_queue.push(take(&bench.directory, Setup::Queue, &stored, bench.scale.queued)?);
        for (runs, compression) in runs.iter_mut().zip(VARIANTS) {
            runs.push(once(bench, report, compression)?);
        }
    }
    report.figure(Figure::new(
        "bare select and delete, 4 KiB pages",
        "events/s",
        &bare,
    ));
    for (name, samples) in [
        ("16 KiB pages", &bare_large),
        ("the queue's pragmas", &bare_queue),
    ] {
        report.figure(
            Figure::new(format!("bare select and delete, {name}"), "events/s", samples)
                .beside("the first", &bare),
        );
    }
    for (runs, compression) in runs.iter().zip(VARIANTS) {
        let of = |number: fn(&Run) -> f64| runs.iter().map(number).collect::<Vec<f64>>();
        let drained = Figure::new(
            format!("drained, {compression}"),
            "events/s",
            &of(|run| run.drained),
        );
        report.figure(drained.beside("bare", &bare).wanted(Wanted::RatioAtLeast(0.4)));
        report.figure(Figure::new(
            format!("the daemon's CPU, {compression}"),
            "s a million",
            &of(|run| run.cpu),
        ));
        let peak = Figure::new(
            format!("most resident while draining, {compression}"),
            "MB",
            &of(|run| run.peak),
        );
        report.figure(peak.wanted(Wanted::AtMost(30.0)));
    }
    let all = |number: fn(&Run) -> f64| runs.iter().flatten().map(number).collect::<Vec<f64>>();
    report.figure(Figure::new("filled", "events/s", &all(|run| run.filled)));
    report.figure(
        Figure::new("most resident while filling", "MB", &all(|run| run.filling_peak))
            .wanted(Wanted::AtMost(30.0)),
    );
    report.figure(
        Figure::new(
            "disk an event, file and WAL, at its most",
            "bytes",
            &all(|run| run.disk),
        )
        .wanted(Wanted::AtMost(520.0)),
    );
    report.figure(Figure::new(
        "disk an event, after a clean end",
        "bytes",
        &all(|run| run.disk_at_rest),
    ));
    report.note(format!("{} events of 350 bytes; memory is the system's own high-water mark (VmHWM), of the daemon that filled and of one started anew that drained", bench.scale.queued));
    Ok(())
}

/// One round.
///
/// # Errors
/// When the daemon fails.
pub(super) fn once(bench: &Bench, report: &mut Report, compression: &'static str) -> Result<Run> {
    let events = bench.scale.queued / 4 * 4;
    let endpoint = Endpoint::new()?;
    let home = bench.home(&Settings {
        compression,
        ..Settings::to(&endpoint.url())
    })?;
    let filling = home.start()?;
    filling.order(&json!({ "op": "pause" }))?;
    let begun = clock::now();
    send_over(&filling.socket(), 4, events, 256, Ack::Queued)?;
    let filled = events as f64 / begun.elapsed().as_secs_f64();
    let disk = home.disk_bytes() as f64 / events as f64;
    let filling_peak = filling.process().peak();
    filling.term()?;
    let disk_at_rest = home.disk_bytes() as f64 / events as f64;

    let daemon = home.start()?;
    let process = daemon.process();
    let before = total(&daemon);
    let begun = clock::now();
    daemon.order(&json!({ "op": "resume" }))?;
    daemon.order(&json!({ "op": "flush", "wait": false }))?;
    let arrived = endpoint.wait_for(events, Duration::from_secs(300));
    let drained = events as f64 / begun.elapsed().as_secs_f64();
    let cpu = (total(&daemon) - before) / (events as f64 / 1e6);
    let books = daemon.drained(Duration::from_secs(60))?;
    report.check(arrived && endpoint.counts().duplicates == 0, || {
        format!(
            "{compression}: {events} events were queued; the endpoint counts {:?}",
            endpoint.counts()
        )
    });
    report.check(books.balanced && books.delivered == events, || {
        format!("{compression}: the books say {books:?}")
    });
    let peak = process.peak();
    daemon.term()?;
    Ok(Run {
        filled,
        drained,
        disk,
        disk_at_rest,
        filling_peak,
        peak,
        cpu,
    })
}

fn total(daemon: &Daemon<'_>) -> f64 {
    daemon.process().cpu().values().sum()
}
