//! `syslog-ng`: the same job, done by what many machines have: lines from a Unix socket through a reliable disk-buffer
//! to an HTTP endpoint. Once as a plain relay, and once parsing the JSON and filtering by a field, as we must. It
//! acknowledges nothing; what it had taken and not written when it was killed is lost.
//!
//! Both sides without compression (its release 3 has none), with batches of 500 events, in turn within one run.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Bench, drain, idle, throughput};
use crate::clock;
use crate::endpoint::Endpoint;
use crate::figure::{Figure, Wanted};
use crate::lines::{Ack, Lines};
use crate::process::Process;
use crate::report::Report;

/// Where Debian's `syslog-ng-core` puts it; `syslog-ng-mod-http` belongs to it.
const PROGRAM: &str = "/usr/sbin/syslog-ng";

/// Connections that send.
const CONNECTIONS: u64 = 4;

/// Lines that a client writes at once: as many as one of ours has in flight.
const AT_ONCE: u64 = 256;

/// A start, an end, and the last event take no longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// What it does with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Relay,
    Parse,
}

impl Way {
    const ALL: [Self; 2] = [Self::Relay, Self::Parse];

    const fn name(self) -> &'static str {
        match self {
            Self::Relay => "syslog-ng as a relay",
            Self::Parse => "syslog-ng parsing and filtering",
        }
    }

    /// What is asked of ours: events a second, and CPU an event, beside this.
    const fn wanted(self) -> (f64, f64) {
        match self {
            Self::Relay => (1.6, 0.55),
            Self::Parse => (3.0, 0.2),
        }
    }
}

/// What one run of either gave.
struct Run {
    delivered: f64,
    /// CPU seconds a million events.
    cpu: f64,
    peak: f64,
}

/// Runs it.
///
/// # Errors
/// When either side fails.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("syslog-ng");
    if !Path::new(PROGRAM).is_file() {
        report.note("not measured: syslog-ng is not installed (Debian: syslog-ng-core, syslog-ng-mod-http)");
        return Ok(());
    }
    let rounds = bench.rounds(bench.scale.drain_rounds);
    let mut ours = Vec::new();
    let mut theirs = [const { Vec::new() }; 2];
    for _ in 0..rounds {
        let run = throughput::once(bench, report, CONNECTIONS, "none", Ack::Queued)?;
        ours.push(Run {
            delivered: run.delivered,
            cpu: run.daemon.values().sum(),
            peak: run.peak,
        });
        for (runs, way) in theirs.iter_mut().zip(Way::ALL) {
            runs.push(relayed(bench, report, way)?);
        }
    }
    let of = |runs: &[Run], number: fn(&Run) -> f64| runs.iter().map(number).collect::<Vec<f64>>();
    for (runs, way) in theirs.iter().zip(Way::ALL) {
        let (faster, cheaper) = way.wanted();
        let name = way.name();
        let delivered = of(runs, |run| run.delivered);
        report.figure(Figure::new(format!("{name}: delivered"), "events/s", &delivered));
        report.figure(
            Figure::new(
                "acknowledged and delivered",
                "events/s",
                &of(&ours, |run| run.delivered),
            )
            .beside("syslog-ng", &delivered)
            .wanted(Wanted::RatioAtLeast(faster)),
        );
        let cpu = of(runs, |run| run.cpu);
        report.figure(Figure::new(format!("{name}: CPU"), "s a million", &cpu));
        report.figure(
            Figure::new("the daemon's CPU", "s a million", &of(&ours, |run| run.cpu))
                .beside("syslog-ng", &cpu)
                .wanted(Wanted::RatioAtMost(cheaper)),
        );
        let peak = of(runs, |run| run.peak);
        report.figure(Figure::new(format!("{name}: most resident"), "MB", &peak));
        report.figure(
            Figure::new("the daemon's most resident", "MB", &of(&ours, |run| run.peak))
                .beside("syslog-ng", &peak)
                .wanted(Wanted::RatioAtMost(0.8)),
        );
    }
    at_rest(bench, report)?;
    backlog(bench, report, rounds)?;
    report.note(format!(
        "4 connections, no compression, batches of 500; syslog-ng: reliable disk-buffer, flow control, one worker; {}",
        version()?
    ));
    Ok(())
}

/// Resident memory before anything was done.
fn at_rest(bench: &Bench, report: &mut Report) -> Result<()> {
    let endpoint = Endpoint::new()?;
    let home = Rival::home(bench)?;
    let rival = Rival::start(&home, &endpoint.url(), Way::Relay)?;
    let theirs = [rival.process().resident().0];
    rival.end()?;
    let ours = [idle::resident(bench)?];
    report.figure(Figure::new("syslog-ng idle: resident", "MB", &theirs));
    report.figure(
        Figure::new("the daemon idle: resident", "MB", &ours)
            .beside("syslog-ng", &theirs)
            .wanted(Wanted::RatioAtMost(0.5)),
    );
    Ok(())
}

/// What waits for an endpoint that is away, and how fast it leaves.
fn backlog(bench: &Bench, report: &mut Report, rounds: usize) -> Result<()> {
    let (mut ours, mut theirs) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for _ in 0..rounds {
        let run = drain::once(bench, report, "none")?;
        ours[0].push(run.drained);
        ours[1].push(run.disk);
        let (drained, disk) = drained(bench, report)?;
        theirs[0].push(drained);
        theirs[1].push(disk);
    }
    report.figure(Figure::new(
        "syslog-ng: a backlog drained",
        "events/s",
        &theirs[0],
    ));
    report.figure(
        Figure::new("the daemon: a backlog drained", "events/s", &ours[0])
            .beside("syslog-ng", &theirs[0])
            .wanted(Wanted::RatioAtLeast(1.5)),
    );
    report.figure(Figure::new(
        "syslog-ng: disk an event queued",
        "bytes",
        &theirs[1],
    ));
    report.figure(
        Figure::new("the daemon: disk an event queued", "bytes", &ours[1])
            .beside("syslog-ng", &theirs[1])
            .wanted(Wanted::RatioAtMost(0.6)),
    );
    Ok(())
}

/// Lines in on one side, out on the other.
fn relayed(bench: &Bench, report: &mut Report, way: Way) -> Result<Run> {
    let events = bench.scale.events / CONNECTIONS * CONNECTIONS;
    let endpoint = Endpoint::new()?;
    let home = Rival::home(bench)?;
    let rival = Rival::start(&home, &endpoint.url(), way)?;
    let before: f64 = rival.process().cpu().values().sum();
    let begun = clock::now();
    feed(&rival.socket(), events)?;
    let arrived = endpoint.wait_for(events, PATIENCE);
    let took = begun.elapsed();
    report.check(arrived, || {
        let name = way.name();
        format!(
            "{name}: {events} lines were written, the endpoint counts {:?}",
            endpoint.counts()
        )
    });
    let cpu = rival.process().cpu().values().sum::<f64>() - before;
    let peak = rival.process().peak();
    rival.end()?;
    Ok(Run {
        delivered: events as f64 / took.as_secs_f64(),
        cpu: cpu / (events as f64 / 1e6),
        peak,
    })
}

/// Fills its buffer while nobody listens, then starts it anew with an endpoint; events a second, and bytes of disk an
/// event before that.
fn drained(bench: &Bench, report: &mut Report) -> Result<(f64, f64)> {
    let events = bench.scale.queued / CONNECTIONS * CONNECTIONS;
    let home = Rival::home(bench)?;
    // Discard: nobody listens there.
    let rival = Rival::start(&home, "http://127.0.0.1:9/", Way::Relay)?;
    feed(&rival.socket(), events)?;
    let mut before = 0;
    // It does not say when it has taken everything: its file grows as long as it has not.
    let rested = clock::until(PATIENCE, Duration::from_millis(500), || {
        let now = buffered(home.path());
        (std::mem::replace(&mut before, now) == now && now > 0).then_some(())
    });
    ensure!(rested.is_some(), "syslog-ng's buffer does not come to rest");
    let disk = before as f64 / events as f64;
    rival.end()?;
    let endpoint = Endpoint::new()?;
    let rival = Rival::start(&home, &endpoint.url(), Way::Relay)?;
    let begun = clock::now();
    let arrived = endpoint.wait_for(events, PATIENCE);
    let took = begun.elapsed();
    report.check(arrived, || {
        format!(
            "syslog-ng: {events} lines were buffered, the endpoint counts {:?}",
            endpoint.counts()
        )
    });
    rival.end()?;
    Ok((events as f64 / took.as_secs_f64(), disk))
}

/// Bytes that its buffer takes of the disk.
fn buffered(home: &Path) -> u64 {
    let entries = fs::read_dir(home.join("buffer")).into_iter().flatten();
    let files = entries.filter_map(|entry| entry.ok()?.metadata().ok());
    files.map(|file| file.blocks() * 512).sum()
}

/// Writes lines over several connections at once; nobody answers.
fn feed(socket: &Path, events: u64) -> Result<()> {
    let one = || -> Result<()> {
        let mut stream = UnixStream::connect(socket)?;
        let mut lines = Lines::new(Ack::None);
        let mut block = Vec::new();
        let mut left = events / CONNECTIONS;
        while left > 0 {
            block.clear();
            for _ in 0..left.min(AT_ONCE) {
                lines.push(&mut block);
            }
            stream.write_all(&block).context("syslog-ng takes no more")?;
            left -= left.min(AT_ONCE);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(one)).collect();
        for thread in threads {
            match thread.join() {
                Ok(ended) => ended?,
                Err(_) => anyhow::bail!("a client panicked"),
            }
        }
        Ok(())
    })
}

fn version() -> Result<String> {
    let said = Command::new(PROGRAM).arg("--version").output()?;
    let text = String::from_utf8_lossy(&said.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// A syslog-ng that runs. Dropping it kills and reaps it.
struct Rival {
    child: Child,
    socket: PathBuf,
}

impl Rival {
    fn home(bench: &Bench) -> Result<TempDir> {
        let home = tempfile::Builder::new()
            .prefix("tmdb")
            .tempdir_in(&bench.directory)?;
        fs::create_dir(home.path().join("buffer"))?;
        Ok(home)
    }

    fn start(home: &TempDir, url: &str, way: Way) -> Result<Self> {
        let at = |name: &str| home.path().join(name);
        let socket = at("s");
        let (parser, filter) = match way {
            Way::Relay => ("", ""),
            Way::Parse => (
                "parser { json-parser(prefix(\".e.\")); };",
                "filter { \"${.e.event}\" eq \"command_run\" };",
            ),
        };
        let config = format!(
            r#"@version: 3.38
options {{ stats-freq(0); log-msg-size(65536); use-dns(no); }};
source in {{ unix-stream("{socket}" flags(no-parse) max-connections(64) log-iw-size(65536) log-fetch-limit(1000)); }};
destination out {{ http(url("{url}") method("POST") headers("Content-Type: application/x-ndjson")
  persist-name("bench") body("${{MESSAGE}}") delimiter("\n") batch-lines(500) batch-bytes(524288) batch-timeout(1000)
  time-reopen(1) workers(1)
  disk-buffer(reliable(yes) disk-buf-size(4294967296) mem-buf-size(10485760) dir("{buffer}"))); }};
log {{ source(in); {parser} {filter} destination(out); flags(flow-control); }};
"#,
            socket = socket.display(),
            buffer = at("buffer").display(),
        );
        fs::write(at("config"), config)?;
        let errors = fs::File::create(at("errors"))?;
        let child = Command::new(PROGRAM)
            .args(["--foreground", "--no-caps", "--cfgfile"])
            .arg(at("config"))
            .arg("--persist-file")
            .arg(at("persist"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--control")
            .arg(at("control"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .context("cannot start syslog-ng")?;
        let mut rival = Self { child, socket };
        let ready = clock::until(PATIENCE, Duration::from_millis(1), || {
            if rival.child.try_wait().ok().flatten().is_some() {
                return Some(false);
            }
            UnixStream::connect(&rival.socket).is_ok().then_some(true)
        });
        ensure!(
            ready == Some(true),
            "syslog-ng does not start: {}",
            fs::read_to_string(at("errors")).unwrap_or_default()
        );
        Ok(rival)
    }

    fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    fn process(&self) -> Process {
        Process::of(self.child.id())
    }

    fn end(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process id")?, Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
