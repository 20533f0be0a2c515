//! `crash`: the matrix of docs/guarantees.md. Each fault is made to a real daemon with real clients and a real
//! endpoint, under each `ack`; what was lost, what came twice, and how long the service was away are the cells.
//!
//! The page and the program have one list of rows; `--write` puts the table into the page.

mod clients;
mod faults;
mod mount;
mod page;
mod power;
mod rows;
mod strace;
mod trial;

use anyhow::{Context, Result};
use serde_json::json;

use self::page::{Cell, Line};
use self::rows::{Need, ROWS, Row};
use self::trial::Outcome;
use super::{Bench, kill};
use crate::figure::{Figure, Wanted};
use crate::lines::Ack;
use crate::report::Report;

pub(crate) use mount::inside;

/// The columns.
const LEVELS: [Ack; 3] = [Ack::None, Ack::Queued, Ack::Synced];

/// Runs it.
///
/// # Errors
/// When a fault cannot be made, or the page cannot be written.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("crash");
    let asked = |name: &str| {
        bench
            .only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    let seed = fastrand::u64(..);
    let mut totals = Totals::default();
    let mut lines = Vec::new();
    for row in power::ROWS.iter().filter(|row| asked(row.name)) {
        let line = replayed(bench, row, seed, report, &mut totals);
        lines.push(line.with_context(|| format!("{} (seed {seed})", row.name))?);
        report.say(lines.last().map(Line::text).unwrap_or_default())?;
    }
    let points = kill::has_points(bench)?;
    for (number, row) in ROWS.iter().enumerate().filter(|(_, row)| asked(row.name)) {
        // A smoke run takes one level of each row, in turn: those that promise something.
        let levels = match bench.scale.faults {
            1 => &LEVELS[1 + number % 2..2 + number % 2],
            _ => &LEVELS[..],
        };
        let line = match lacking(row, points) {
            Some(lack) => Line::without(row.name, row.method, lack),
            None => played(bench, row, levels, seed, report, &mut totals)
                .with_context(|| format!("{} (seed {seed})", row.name))?,
        };
        lines.push(line);
        report.say(lines.last().map(Line::text).unwrap_or_default())?;
    }
    totals.show(report);
    if let Some(page) = &bench.write {
        page::write(page, &lines, &bench.directory)?;
    }
    Ok(())
}

/// What a row needs and is not here.
fn lacking(row: &Row, points: bool) -> Option<&'static str> {
    row.needs.iter().find_map(|need| match need {
        Need::Points if !points => Some("needs a daemon with kill points"),
        Need::Strace if !strace::works() => Some("needs strace"),
        Need::Mounts if !mount::can_mount() => Some("needs root and mounts"),
        _ => None,
    })
}

#[derive(Default)]
struct Totals {
    promised: u64,
    /// Lost by a level that may not lose them.
    broken: u64,
    cuts: u64,
    directories: u64,
}

impl Totals {
    fn show(&self, report: &mut Report) {
        let figure = |name: &str, value: u64| Figure::new(name, "", &[value as f64]);
        report.figure(figure("events promised", self.promised));
        report.figure(figure("promises broken", self.broken).wanted(Wanted::AtMost(0.0)));
        report.figure(figure("fsyncs before which the power was cut", self.cuts));
        report.figure(figure(
            "directories that such a cut could leave",
            self.directories,
        ));
    }

    fn add(&mut self, outcome: &Outcome, may_lose: &[Ack], ack: Ack) {
        self.promised += outcome.promised;
        if !may_lose.contains(&ack) {
            self.broken += outcome.lost;
        }
    }
}

fn played(
    bench: &Bench,
    row: &Row,
    levels: &[Ack],
    seed: u64,
    report: &mut Report,
    totals: &mut Totals,
) -> Result<Line> {
    let times = bench.scale.faults.min(row.times);
    let mut cells = Vec::new();
    for &ack in levels {
        let mut sum = Outcome::default();
        for time in 0..times {
            sum.add(trial::play(bench, row, ack, seed.wrapping_add(u64::from(time)))?);
        }
        cells.push(cell(row.name, ack, &sum, report));
        totals.add(&sum, row.may_lose, ack);
    }
    Ok(Line::new(row.name, row.method, cells))
}

fn replayed(
    bench: &Bench,
    row: &power::Row,
    seed: u64,
    report: &mut Report,
    totals: &mut Totals,
) -> Result<Line> {
    if !strace::works() {
        return Ok(Line::without(row.name, row.method, "needs strace"));
    }
    let replayed = power::play(bench, row, bench.scale.recorded, seed)?;
    totals.cuts += replayed.cuts;
    totals.directories += replayed.directories;
    let mut cells = Vec::new();
    for (ack, outcome) in &replayed.outcomes {
        cells.push(cell(row.name, *ack, outcome, report));
        totals.add(outcome, row.may_lose, *ack);
    }
    Ok(Line::new(row.name, row.method, cells))
}

/// What the table says of an outcome, and the report of what was wrong with it.
fn cell(row: &'static str, ack: Ack, outcome: &Outcome, report: &mut Report) -> Cell {
    for wrong in outcome.wrong.iter().take(5) {
        report.wrong(format!("{row}, {}: {wrong}", ack.word()));
    }
    let cell = Cell::of(outcome);
    report.cell(json!({
        "row": row, "ack": ack.word(), "promised": outcome.promised, "lost": outcome.lost,
        "doubled": outcome.doubled, "away_ms": outcome.away(),
    }));
    cell
}
