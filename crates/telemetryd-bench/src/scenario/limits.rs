//! `limits`: the machine alone.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::Bench;
use crate::bare::socket::{Listener, lines, visit};
use crate::bare::table::{Setup, insert, take};
use crate::clock;
use crate::figure::{Figure, percentile};
use crate::lines::{Ack, Lines};
use crate::report::Report;

/// Runs it.
///
/// # Errors
/// When SQLite or a socket refuses.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("limits");
    let (directory, rows) = (&*bench.directory, bench.scale.rows);
    let stored = bench.stored()?;
    insert(directory, Setup::Plain, &stored, rows / 4)?;
    let mut inserts = [const { Vec::new() }; 3];
    let mut takes = [const { Vec::new() }; 3];
    let mut socket_lines = Vec::new();
    let mut syncs = Vec::new();
    let mut visits = [const { Vec::new() }; 2];
    for _ in 0..bench.rounds(bench.scale.rounds) {
        for (at, setup) in Setup::ALL.into_iter().enumerate() {
            inserts[at].push(insert(directory, setup, &stored, rows)?);
            takes[at].push(take(directory, setup, &stored, rows)?);
        }
        socket_lines.push(lines(rows * 5)?);
        syncs.push(sync(directory)?);
        for (answer, samples) in [false, true].into_iter().zip(&mut visits) {
            samples.push(visitors(directory, answer, bench.scale.clients)?);
        }
    }
    for (samples, setup) in inserts.iter().zip(Setup::ALL) {
        report.figure(
            Figure::new(format!("insert, {}", setup.name()), "rows/s", samples)
                .beside("the first", &inserts[0]),
        );
    }
    for (samples, setup) in takes.iter().zip(Setup::ALL) {
        let name = format!("select and delete, {}", setup.name());
        report.figure(Figure::new(name, "rows/s", samples).beside("the first", &takes[0]));
    }
    report.figure(Figure::new(
        "socket lines, 64 KiB at a time",
        "lines/s",
        &socket_lines,
    ));
    report.figure(Figure::new("connect, write, close: p50", "µs", &visits[0]));
    report.figure(Figure::new("connect, write, read, close: p50", "µs", &visits[1]));
    report.figure(Figure::new("write 4 KiB and fdatasync: p50", "µs", &syncs));
    report.note(
        "insert: 1,000 rows a transaction; select and delete: 500 rows a transaction, oldest first; \
         journal_mode=WAL, synchronous=NORMAL; 4 KiB and 16 KiB pages: everything else as SQLite has it, \
         secure_delete off; the queue's pragmas: 16 KiB pages, secure_delete=ON, auto_vacuum=INCREMENTAL, \
         cache_size=3 MiB, a checkpoint for each 8 MiB",
    );
    report.note(format!(
        "a row: sequence, id (16 bytes), lane, received, and what the daemon stores of a 350-byte event, {} bytes",
        stored.len()
    ));
    Ok(())
}

fn visitors(directory: &Path, answer: bool, clients: usize) -> Result<f64> {
    let listener = Listener::new(directory, answer)?;
    let mut made = Lines::new(if answer { Ack::Queued } else { Ack::None });
    let mut line = Vec::new();
    let mut times = Vec::with_capacity(clients);
    for _ in 0..clients {
        line.clear();
        made.push(&mut line);
        times.push(visit(listener.path(), &line, answer)?);
    }
    Ok(percentile(&times, 0.5))
}

/// What an fsync costs here: the median of 20.
fn sync(directory: &Path) -> Result<f64> {
    let mut file = tempfile::tempfile_in(directory)?;
    let mut times = Vec::new();
    for _ in 0..20 {
        let begun = clock::now();
        file.write_all(&[0x55; 4096])?;
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(percentile(&times, 0.5))
}
