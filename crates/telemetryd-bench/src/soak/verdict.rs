//! What a soak has come to: the books, what arrived, what may not have, and the memory.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::memory::{Flatness, Sample, flatness};
use super::{STEADY, Soak, WAVERING, endpoint};
use crate::clock;
use crate::figure::{Figure, Wanted};
use crate::report::Report;

/// Requests that were on their way when consent was withdrawn may be read so much later, milliseconds.
const ON_ITS_WAY_MS: u64 = 1500;

/// Bytes of a queue of 24 MiB at most, and a fourth of that.
const DISK: u64 = 30 << 20;

/// What the memory of a daemon that is not ended may gain from its second to its last quarter. (What a batch and a burst
/// of the flood take comes and goes; a leak of one byte an event is seen in ten minutes.)
const GAINED_MB: f64 = 4.0;

impl Soak<'_> {
    /// Holds everything against what has to be.
    ///
    /// # Errors
    /// When the daemon does not answer, or does not end.
    pub(super) fn judge(mut self, report: &mut Report, begun: Instant) -> Result<()> {
        let daemon = self.daemon.take().context("there is no daemon")?;
        let books = daemon.drained(Duration::from_secs(60))?;
        report.check(books.balanced && books.queued == 0, || {
            format!("at the end the books say {books:?}")
        });
        let status = daemon.order(&json!({ "op": "status" }))?;
        // What was free is given back when there is nothing else to do.
        clock::until(Duration::from_secs(10), Duration::from_millis(100), || {
            (self.home.disk_bytes() < DISK / 2).then_some(())
        });
        let disk = self.home.disk_bytes();
        self.events(&status, report);
        let flat = flatness(&self.samples);
        figures(report, &flat, disk, self.endpoint.requests());
        for wrong in std::mem::take(&mut self.wrong) {
            report.wrong(wrong);
        }
        let done: Vec<String> = self
            .done
            .iter()
            .map(|(what, times)| format!("{what} {times}"))
            .collect();
        let minutes = begun.elapsed().as_secs_f64() / 60.0;
        report.note(format!("{minutes:.1} minutes: {}", done.join(", ")));
        report.note(format!("the books at the end, of all tools: {books:?}"));
        report.note(over_time(&self.samples));
        daemon.term()
    }

    fn events(&self, status: &Value, report: &mut Report) {
        let steady = self.field.acknowledged(STEADY);
        let acknowledged = steady.len() as u64;
        let seen = self.endpoint.seen();
        let missing = steady.keys().filter(|id| !seen.events.contains_key(*id)).count();
        let late = self.after_a_denial(&seen);
        let count = |name: &str, number: f64| Figure::new(name, "", &[number]);
        let none = Wanted::AtMost(0.0);
        report.figure(count(
            "events acknowledged, of the tool that nobody stops",
            acknowledged as f64,
        ));
        report.figure(count("events that came after their denial", late as f64).wanted(none));
        report.figure(count(
            "events that arrived, of all tools",
            seen.events.len() as f64,
        ));
        let twice = "  in two batches (their answer was lost, then they were cut)";
        report.figure(count(twice, seen.in_two_batches as f64));
        report.check(late == 0, || {
            format!("{late} events came after their consent was withdrawn")
        });
        let books = status["books"].as_array().into_iter().flatten();
        let mut evicted = 0;
        for book in books.filter(|book| book["tool"] == STEADY) {
            let at = |name: &str| book[name].as_u64().unwrap_or_default();
            let elsewhere = ["parked", "expired", "purged", "lost"];
            let gone: u64 = elsewhere.iter().map(|name| at(name)).sum();
            evicted += at("evicted");
            report.check(
                gone == 0 && at("delivered") + at("evicted") == acknowledged,
                || format!("{acknowledged} events of {STEADY} were acknowledged, the books say {book}"),
            );
        }
        // What is evicted may have arrived, where its answer was lost.
        let lost = (missing as u64).saturating_sub(evicted);
        report.figure(count("  of them evicted, as booked", evicted as f64));
        report.figure(count("  of them missing, and booked nowhere", lost as f64).wanted(none));
        report.check(lost == 0, || {
            format!("{missing} acknowledged events did not arrive, {evicted} are booked as evicted")
        });
    }

    /// Events of the tool whose consent is withdrawn now and then, that came although they were written before a denial.
    fn after_a_denial(&self, seen: &endpoint::Seen) -> usize {
        let written = self.field.acknowledged(WAVERING);
        let late = written.iter().filter(|(id, at)| {
            seen.events.get(*id).is_some_and(|arrival| {
                let between = |denial: &u64| **at < *denial && denial + ON_ITS_WAY_MS < arrival.first_ms;
                self.denials.iter().any(between)
            })
        });
        late.count()
    }
}

fn figures(report: &mut Report, flat: &Flatness, disk: u64, requests: u64) {
    let mb = |name: &str, number: f64| Figure::new(name, "MB", &[number]);
    report.figure(Figure::new("requests", "", &[requests as f64]));
    report.figure(mb("resident, peak", flat.peak).wanted(Wanted::AtMost(64.0)));
    let gained = format!("resident, gained in the last {:.1} minutes", flat.minutes);
    let gained = mb(&gained, flat.gained);
    report.figure(match flat.tells() {
        true => gained.wanted(Wanted::AtMost(GAINED_MB)),
        false => gained,
    });
    report.figure(Figure::new("  slope", "MB/min", &[flat.slope]));
    let most = Wanted::AtMost(DISK as f64 / 1e6);
    report.figure(mb("file and WAL at the end", disk as f64 / 1e6).wanted(most));
    report.check(!flat.tells() || flat.gained <= GAINED_MB, || {
        format!("memory is not flat: {flat:?}")
    });
}

/// About a dozen samples, for people.
fn over_time(samples: &[Sample]) -> String {
    let step = (samples.len() / 12).max(1);
    let some = samples
        .iter()
        .step_by(step)
        .map(|sample| format!("{:.0} s {:.1}", sample.at, sample.resident));
    format!("resident, MB: {}", some.collect::<Vec<_>>().join(", "))
}
