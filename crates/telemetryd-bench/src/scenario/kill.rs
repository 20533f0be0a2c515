//! `kill`: the daemon dies in the middle of its work, again and again. What was acknowledged must arrive.

mod tool;

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use self::tool::Tools;
use super::Bench;
use crate::client::send;
use crate::clock;
use crate::daemon::{Daemon, Home, Settings};
use crate::endpoint::Endpoint;
use crate::figure::{Figure, Wanted};
use crate::lines::Ack;
use crate::report::Report;

/// Where a daemon that was built with `--features kill-points` can be told to die while it works.
const POINTS: [&str; 3] = ["before-commit", "after-commit", "after-send"];

/// Where it can be told to die while it makes its file.
const MAKING: [&str; 2] = ["migrate", "migrated"];

/// Tools that speak at the same time.
const TOOLS: usize = 3;

/// A named point that is not reached by then is taken for a random moment.
const UNREACHED: Duration = Duration::from_secs(2);

/// What is counted over all rounds.
#[derive(Default)]
struct Tally {
    random: u32,
    named: u32,
    unbalanced: u32,
    /// Milliseconds from a start after a kill to its first answer.
    starts: Vec<f64>,
}

/// Runs it.
///
/// # Errors
/// When the daemon does not start again.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("kill");
    let rounds = bench.rounds.unwrap_or(bench.scale.kills);
    let named = has_points(bench)?;
    let mut tally = Tally::default();
    if named {
        for at in 0..(rounds / 25).max(2) {
            making(bench, report, MAKING[at as usize % MAKING.len()])?;
            tally.named += 1;
        }
        for _ in 0..(rounds / 50).max(1) {
            salvaging(bench, report)?;
            tally.named += 1;
        }
    } else {
        report.note("this daemon has no kill points: random moments only (cargo build --release -p telemetryd --features kill-points)");
    }
    working(
        bench,
        report,
        rounds.saturating_sub(tally.named),
        named,
        &mut tally,
    )?;
    report.figure(Figure::new(
        "kills at random moments",
        "",
        &[f64::from(tally.random)],
    ));
    report.figure(Figure::new(
        "kills at named points",
        "",
        &[f64::from(tally.named)],
    ));
    let unbalanced = Figure::new(
        "starts with books that do not balance",
        "",
        &[f64::from(tally.unbalanced)],
    );
    report.figure(unbalanced.wanted(Wanted::AtMost(0.0)));
    report.figure(Figure::new("start after a kill", "ms", &tally.starts));
    Ok(())
}

/// Kills at random moments, and at named points in turn, while tools speak and the endpoint receives.
fn working(bench: &Bench, report: &mut Report, rounds: u32, named: bool, tally: &mut Tally) -> Result<()> {
    let endpoint = Endpoint::that_knows_batches()?;
    let home = bench.home(&Settings {
        max_wait: Some("10ms"),
        ..Settings::to(&endpoint.url())
    })?;
    let tools = Tools::start(TOOLS, &home.socket());
    let mut random = fastrand::Rng::new();
    for round in 0..rounds {
        let point = (named && round % 2 == 1).then(|| {
            let at = POINTS[(round / 2) as usize % POINTS.len()];
            format!("{at}:{}", random.u32(1..=12))
        });
        let begun = clock::now();
        let mut daemon = home.spawn(point.as_deref())?;
        // A named point may be reached before the daemon is ready.
        let ready = daemon.wait_until_ready();
        if ready.is_ok() {
            tally.starts.push(begun.elapsed().as_secs_f64() * 1e3);
            balance(&daemon, report, tally);
        }
        tools.go();
        if point.is_none() {
            ready?;
            clock::pause(Duration::from_micros(random.u64(0..60_000)));
            tally.random += 1;
        } else if daemon.ended(UNREACHED).is_some() {
            tally.named += 1;
        } else {
            tally.random += 1;
        }
        daemon.kill9();
    }
    let daemon = home.start()?;
    balance(&daemon, report, tally);
    let acknowledged = tools.finish().context("the tools")?;
    let books = daemon.drained(Duration::from_secs(120))?;
    let (total, counts) = (acknowledged.len() as u64, endpoint.counts());
    let lost = acknowledged.iter().filter(|id| !endpoint.has(**id)).count();
    daemon.term()?;

    report.figure(Figure::new("events acknowledged", "", &[total as f64]));
    report.figure(Figure::new("of them lost", "", &[lost as f64]).wanted(Wanted::AtMost(0.0)));
    report.figure(Figure::new(
        "batches that came again, with their id",
        "",
        &[counts.repeated_batches as f64],
    ));
    let twice = Figure::new("events that came in two batches", "", &[counts.duplicates as f64]);
    report.figure(twice.wanted(Wanted::AtMost(0.0)));
    report.check(lost == 0, || {
        format!("{lost} of {total} acknowledged events did not arrive")
    });
    report.check(counts.duplicates == 0, || {
        format!("{} events came in two batches", counts.duplicates)
    });
    report.check(counts.unique == total, || {
        format!("{total} events were acknowledged, {} arrived", counts.unique)
    });
    report.check(
        books.balanced && books.elsewhere == 0 && books.accepted == total,
        || format!("{total} events were acknowledged, the books say {books:?}"),
    );
    Ok(())
}

fn balance(daemon: &Daemon<'_>, report: &mut Report, tally: &mut Tally) {
    // It may die before it answers: the next one is asked.
    if let Ok(books) = daemon.books()
        && !books.balanced
    {
        tally.unbalanced += 1;
        report.wrong(format!("after a kill the books say {books:?}"));
    }
}

/// Dies while its file is made; the next one starts all the same and keeps what it is given.
fn making(bench: &Bench, report: &mut Report, point: &str) -> Result<()> {
    let endpoint = Endpoint::new()?;
    let home = bench.home(&Settings::to(&endpoint.url()))?;
    ensure!(dies_at(&home, point)?, "telemetryd was not killed at {point}");
    whole(&home, &endpoint, 0, report, point)
}

/// Dies while it salvages a file whose first bytes are gone; the next one goes on.
fn salvaging(bench: &Bench, report: &mut Report) -> Result<()> {
    const EVENTS: u64 = 2000;
    let endpoint = Endpoint::new()?;
    let home = bench.home(&Settings::to(&endpoint.url()))?;
    let daemon = home.start()?;
    daemon.order(&serde_json::json!({ "op": "pause" }))?;
    send(&daemon.socket(), EVENTS, 256, Ack::Queued)?;
    daemon.term()?;
    let mut file = OpenOptions::new().write(true).open(home.queue_file())?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&[0; 16])?;
    drop(file);
    ensure!(
        dies_at(&home, "salvage")?,
        "telemetryd was not killed while it salvaged"
    );
    whole(&home, &endpoint, EVENTS, report, "salvage")
}

fn dies_at(home: &Home, point: &str) -> Result<bool> {
    let mut daemon = home.spawn(Some(&format!("{point}:1")))?;
    daemon.ended(UNREACHED);
    Ok(died(&mut daemon))
}

/// Whether it was ended by SIGKILL.
fn died(daemon: &mut Daemon<'_>) -> bool {
    let status = daemon.ended(Duration::ZERO);
    status.and_then(|status| status.signal()) == Some(Signal::KILL.as_raw())
}

/// A daemon starts in that home, takes a few events, and delivers them and those that were there.
fn whole(home: &Home, endpoint: &Endpoint, there: u64, report: &mut Report, point: &str) -> Result<()> {
    const MORE: u64 = 100;
    let daemon = home.start()?;
    let books = daemon.books()?;
    report.check(books.balanced && books.queued == there, || {
        format!("after {point} the books say {books:?}")
    });
    daemon.order(&serde_json::json!({ "op": "resume" }))?;
    send(&daemon.socket(), MORE, 64, Ack::Queued)?;
    let books = daemon.drained(Duration::from_secs(30))?;
    report.check(books.balanced && endpoint.counts().unique == there + MORE, || {
        format!(
            "after {point} {} of {} events arrived; the books say {books:?}",
            endpoint.counts().unique,
            there + MORE
        )
    });
    daemon.term()
}

/// Whether this daemon can be told where to die.
pub(super) fn has_points(bench: &Bench) -> Result<bool> {
    let home = bench.home(&Settings::to("http://127.0.0.1:9/"))?;
    let mut daemon = home.spawn(Some("migrate:1"))?;
    let ready = daemon.wait_until_ready();
    if died(&mut daemon) {
        return Ok(true);
    }
    ready.map(|()| false)
}
