//! `pipeline`: the daemon beside the bare pipeline, which does the same job and nothing else. The same clients, the same
//! endpoint, no compression, in turn within one run.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Bench;
use super::throughput::{self, WARM_UP, WINDOW};
use crate::bare::pipeline::Pipeline;
use crate::bare::table::Setup;
use crate::client::send_over;
use crate::clock;
use crate::endpoint::Endpoint;
use crate::figure::{Figure, Wanted, median};
use crate::lines::Ack;
use crate::process::own_cpu;
use crate::report::Report;

/// Connections that send.
const CONNECTIONS: u64 = 4;

/// What is asked of ours: events a second, and CPU an event, beside the pipeline's.
const WANTED: (f64, f64) = (0.8, 1.3);

/// Until the last event has arrived.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one run of either gave.
struct Run {
    accepted: f64,
    delivered: f64,
    /// CPU seconds a million events: its own, and of the clients and the endpoint.
    cpu: f64,
    bench: f64,
    peak: f64,
}

/// Runs it.
///
/// # Errors
/// When either side fails.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("pipeline");
    let (mut ours, mut bare, mut large) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds(bench.scale.rounds) {
        bare.push(once(bench, report, Setup::Plain)?);
        large.push(once(bench, report, Setup::LargePages)?);
        let run = throughput::once(bench, report, CONNECTIONS, "none", Ack::Queued)?;
        ours.push(Run {
            accepted: run.accepted,
            delivered: run.delivered,
            cpu: run.daemon.values().sum(),
            bench: run.bench,
            peak: run.peak,
        });
    }
    let of = |runs: &[Run], number: fn(&Run) -> f64| runs.iter().map(number).collect::<Vec<f64>>();
    let mut both = |name: &str, unit: &'static str, number: fn(&Run) -> f64, wanted: Option<Wanted>| {
        let theirs = of(&bare, number);
        report.figure(Figure::new(format!("the bare pipeline: {name}"), unit, &theirs));
        let figure =
            Figure::new(format!("the daemon: {name}"), unit, &of(&ours, number)).beside("bare", &theirs);
        report.figure(match wanted {
            Some(wanted) => figure.wanted(wanted),
            None => figure,
        });
    };
    let (faster, cheaper) = (Wanted::RatioAtLeast(WANTED.0), Wanted::RatioAtMost(WANTED.1));
    both("accepted", "events/s", |run| run.accepted, Some(faster));
    both(
        "accepted and delivered",
        "events/s",
        |run| run.delivered,
        Some(faster),
    );
    both("CPU", "s a million", |run| run.cpu, Some(cheaper));
    both(
        "clients' and endpoint's CPU",
        "s a million",
        |run| run.bench,
        None,
    );
    both("most resident", "MB", |run| run.peak, None);
    let beside_large = |number: fn(&Run) -> f64| {
        let ratios = ours
            .iter()
            .zip(&large)
            .map(|(ours, large)| number(ours) / number(large));
        median(&ratios.collect::<Vec<f64>>())
    };
    report.note(format!(
        "of the bare pipeline with 16 KiB pages: accepted {:.2}, delivered {:.2}, CPU {:.2}",
        beside_large(|run| run.accepted),
        beside_large(|run| run.delivered),
        beside_large(|run| run.cpu)
    ));
    report.note(format!(
        "{CONNECTIONS} connections, {WINDOW} in flight on each, no compression, batches of 500; the pipeline: 4 KiB pages, \
         groups of 1,000 or what waits, the line as it came is its row and what is sent"
    ));
    Ok(())
}

/// One run of the pipeline.
fn once(bench: &Bench, report: &mut Report, setup: Setup) -> Result<Run> {
    let events = bench.scale.events / CONNECTIONS * CONNECTIONS;
    let endpoint = Endpoint::new()?;
    let pipeline = Pipeline::start(&bench.directory, &endpoint.url(), setup)?;
    let socket = pipeline.socket();
    send_over(&socket, CONNECTIONS, WARM_UP, WINDOW, Ack::Queued)?;
    ensure!(
        endpoint.wait_for(WARM_UP, PATIENCE) && pipeline.emptied(PATIENCE)?,
        "the pipeline has not delivered its first events"
    );
    let process = pipeline.process();
    // Its readers end with their clients.
    let cpu = || process.cpu_of_all();
    let (before, own_before) = (cpu(), own_cpu());
    let begun = clock::now();
    send_over(&socket, CONNECTIONS, events, WINDOW, Ack::Queued)?;
    let accepted = begun.elapsed();
    let arrived = endpoint.wait_for(WARM_UP + events, PATIENCE);
    let delivered = begun.elapsed();
    let own = own_cpu() - own_before;
    let emptied = pipeline.emptied(PATIENCE)?;
    let cpu = cpu() - before;
    let counts = endpoint.counts();
    report.check(
        arrived && emptied && counts.unique == WARM_UP + events && counts.duplicates == 0,
        || {
            format!(
                "the bare pipeline: {} events were acknowledged, of the endpoint {counts:?}",
                WARM_UP + events
            )
        },
    );
    Ok(Run {
        accepted: events as f64 / accepted.as_secs_f64(),
        delivered: events as f64 / delivered.as_secs_f64(),
        cpu: cpu / (events as f64 / 1e6),
        bench: own / (events as f64 / 1e6),
        peak: process.peak(),
    })
}
