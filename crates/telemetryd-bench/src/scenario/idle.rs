//! `idle`: what the daemon costs while there is nothing to do.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::Bench;
use crate::client::send;
use crate::clock;
use crate::daemon::{Daemon, Settings};
use crate::endpoint::Endpoint;
use crate::figure::{Figure, Wanted};
use crate::lines::Ack;
use crate::report::Report;

/// Events of the burst before the second look.
const BURST: u64 = 2000;

/// How long it may take to come to rest: connections to the endpoint close by then.
const REST: Duration = Duration::from_secs(30);

/// What one look saw.
struct Seen {
    /// `None` where there is no strace.
    calls: Option<usize>,
    sleeps: u64,
    sockets: usize,
    resident: f64,
    own: f64,
}

/// Runs it.
///
/// # Errors
/// When the daemon fails.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("idle");
    let endpoint = Endpoint::new()?;
    let home = bench.home(&Settings {
        max_wait: Some("50ms"),
        ..Settings::to(&endpoint.url())
    })?;
    let daemon = home.start()?;
    let seconds = bench.scale.idle.as_secs();
    for after in ["after the start", "after a burst"] {
        if after == "after a burst" {
            send(&daemon.socket(), BURST, 256, Ack::Queued)?;
            let books = daemon.drained(Duration::from_secs(30))?;
            report.check(books.balanced && endpoint.counts().unique == BURST, || {
                format!(
                    "the burst: the books say {books:?}, {} arrived",
                    endpoint.counts().unique
                )
            });
        }
        let rested = clock::until(REST, Duration::from_millis(100), || {
            at_rest(&daemon).then_some(())
        });
        report.check(rested.is_some(), || format!("{after} it does not come to rest"));
        let seen = look(bench, &daemon)?;
        match seen.calls {
            Some(calls) => {
                let name = format!("system calls in {seconds} s, {after}");
                report.figure(Figure::new(name, "calls", &[calls as f64]).wanted(Wanted::AtMost(0.0)));
            }
            None => report.note("strace is not there: system calls were not counted"),
        }
        let name = format!("wake-ups of all threads in {seconds} s, {after}");
        report.figure(Figure::new(name, "", &[seen.sleeps as f64]).wanted(Wanted::AtMost(0.0)));
        let name = format!("internet sockets, {after}");
        report.figure(Figure::new(name, "", &[seen.sockets as f64]).wanted(Wanted::AtMost(0.0)));
        let resident = Figure::new(format!("resident memory, {after}"), "MB", &[seen.resident]);
        report.figure(if after == "after the start" {
            resident.wanted(Wanted::AtMost(9.0))
        } else {
            resident
        });
        report.figure(Figure::new(
            format!("of it anonymous, {after}"),
            "MB",
            &[seen.own],
        ));
    }
    daemon.term()
}

/// Resident memory of a daemon that has just been started, in MB.
///
/// # Errors
/// When the daemon fails.
pub(super) fn resident(bench: &Bench) -> Result<f64> {
    let endpoint = Endpoint::new()?;
    let home = bench.home(&Settings::to(&endpoint.url()))?;
    let daemon = home.start()?;
    let rested = clock::until(REST, Duration::from_millis(100), || {
        at_rest(&daemon).then_some(())
    });
    ensure!(rested.is_some(), "it does not come to rest");
    let resident = daemon.process().resident().0;
    daemon.term()?;
    Ok(resident)
}

fn at_rest(daemon: &Daemon<'_>) -> bool {
    let process = daemon.process();
    let before = process.sleeps();
    clock::pause(Duration::from_millis(500));
    process.sleeps() == before && process.internet_sockets() == 0
}

fn look(bench: &Bench, daemon: &Daemon<'_>) -> Result<Seen> {
    let process = daemon.process();
    let folder = tempfile::Builder::new()
        .prefix("tmdb")
        .tempdir_in(&bench.directory)?;
    let file = folder.path().join("calls");
    let mut strace = trace(daemon.pid(), &file)?;
    let (from, before) = (clock::wall(), process.sleeps());
    clock::pause(bench.scale.idle);
    let (to, after) = (clock::wall(), process.sleeps());
    let calls = match &mut strace {
        Some(child) => {
            stop(child)?;
            Some(calls_between(&fs::read_to_string(&file)?, from, to))
        }
        None => None,
    };
    let (resident, own) = process.resident();
    Ok(Seen {
        calls,
        sleeps: after - before,
        sockets: process.internet_sockets(),
        resident,
        own,
    })
}

/// Follows all threads of a process, from now on; `None` where there is no strace.
fn trace(pid: u32, file: &Path) -> Result<Option<Child>> {
    let started = Command::new("strace")
        .args(["-f", "-ttt", "-p", &pid.to_string(), "-o"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("cannot start strace"),
    };
    // What every thread was waiting in is restarted by the attaching, and written.
    let attached = clock::until(Duration::from_secs(10), Duration::from_millis(20), || {
        fs::metadata(file).ok().filter(|file| file.len() > 0)
    });
    ensure!(
        attached.is_some() && child.try_wait()?.is_none(),
        "strace cannot attach"
    );
    clock::pause(Duration::from_secs(1));
    Ok(Some(child))
}

fn stop(child: &mut Child) -> Result<()> {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .context("strace has a pid")?;
    kill_process(pid, Signal::INT)?;
    child.wait()?;
    Ok(())
}

/// Lines of strace between two moments: calls that began or ended then.
fn calls_between(text: &str, from: f64, to: f64) -> usize {
    let at = |line: &str| {
        line.split_whitespace()
            .nth(1)
            .and_then(|time| time.parse::<f64>().ok())
    };
    text.lines()
        .filter_map(at)
        .filter(|at| (from..to).contains(at))
        .count()
}

#[cfg(test)]
mod tests {
    use super::calls_between;

    #[test]
    fn only_calls_between_the_two_moments_count() {
        let text = "12 100.5 epoll_wait(3, <unfinished ...>\n13 101.5 futex(0x1) = 0\n12 109.0 <... epoll_wait resumed>) = 1\n";
        assert_eq!(calls_between(text, 101.0, 108.0), 1);
        assert_eq!(calls_between(text, 100.0, 110.0), 3);
    }
}
