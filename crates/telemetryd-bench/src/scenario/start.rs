//! `start`: from the start of the process to its first answer.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Bench;
use crate::client::send_over;
use crate::clock;
use crate::daemon::{Home, Settings};
use crate::figure::{Figure, Wanted};
use crate::lines::Ack;
use crate::report::Report;

/// An address where nobody listens: what is queued stays queued.
const NOWHERE: &str = "http://127.0.0.1:9/v1/events";

/// Runs it.
///
/// # Errors
/// When the daemon fails.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("start");
    let (empty, full) = bench.scale.starts;
    let home = bench.home(&Settings::to(NOWHERE))?;
    starts(&home, 1, false)?;
    let times = starts(&home, empty, false)?;
    report.figure(Figure::new("to ready, empty queue", "ms", &times).wanted(Wanted::AtMost(15.0)));
    let mut first = Vec::new();
    for _ in 0..empty {
        let home = bench.home(&Settings::to(NOWHERE))?;
        first.extend(starts(&home, 1, false)?);
    }
    report.figure(Figure::new("to ready, no queue yet", "ms", &first));

    let events = bench.scale.queued / 4 * 4;
    let daemon = home.start()?;
    daemon.order(&json!({ "op": "pause" }))?;
    send_over(&daemon.socket(), 4, events, 256, Ack::Queued)?;
    daemon.term()?;
    let times = starts(&home, full, false)?;
    let name = format!("to ready, {events} events queued");
    report.figure(Figure::new(name, "ms", &times).wanted(Wanted::AtMost(50.0)));
    let times = starts(&home, full, true)?;
    report.figure(Figure::new("the same after kill -9", "ms", &times));
    let daemon = home.start()?;
    let books = daemon.books()?;
    report.check(books.queued == events && books.balanced, || {
        format!("{events} events were queued, the books say {books:?}")
    });
    report.note(format!(
        "the queue's file: {} MB",
        fs::metadata(home.queue_file())?.len() / 1_000_000
    ));
    report.note("from before fork and exec to the answer to hello; a socket is looked for every 50 µs");
    daemon.term()
}

fn starts(home: &Home, count: usize, killed: bool) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = clock::now();
        let mut daemon = home.start()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        if killed {
            // The background check of an unclean file is under way then.
            clock::pause(Duration::from_millis(20));
            daemon.kill9();
        } else {
            daemon.term()?;
        }
    }
    Ok(times)
}
