//! telemetryd-bench: the daemon's figures beside the limits of the machine it runs on, measured by the same
//! program in the same run, round by round in turn.
//!
//! A slow figure is shown and is no failure. A lost event is one, and so are books that do not balance.

mod bare;
mod builds;
mod client;
mod clock;
mod daemon;
mod endpoint;
mod figure;
mod fleet;
mod lines;
mod machine;
mod process;
mod report;
mod scale;
mod scenario;
mod settings;
mod soak;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use crate::builds::Builds;
use crate::report::Report;
use crate::scale::Scale;
use crate::scenario::Bench;

/// Print telemetryd's figures beside the limits of this machine
#[derive(Debug, Parser)]
#[command(name = "telemetryd-bench", version, after_help = AFTER_HELP)]
struct Flags {
    #[command(subcommand)]
    what: What,
    /// A smoke run: everything once, with few events; its figures mean nothing
    #[arg(long, global = true)]
    quick: bool,
    /// One JSON object a line
    #[arg(long, global = true)]
    json: bool,
    /// Rounds instead of each scenario's own number (for `kill`: kills)
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: Option<u32>,
    /// The daemon to measure; else TELEMETRYD_BIN, or the one beside this program, which is built where cargo runs this
    #[arg(long, global = true, value_name = "PATH")]
    daemon: Option<PathBuf>,
    /// Where both sides keep their files for the time being, on the disk that is to be measured
    #[arg(long, global = true, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// For `crash`, `neighbours` and `hostile`: only rows whose name contains this; for `growth`: only `queued`,
    /// `connections` or `tools`
    #[arg(long, global = true, value_name = "TEXT")]
    only: Option<String>,
    /// For `crash`: write the table into this page, between its marks
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "only")]
    write: Option<PathBuf>,
    /// Measure even where that directory is in memory
    #[arg(long, global = true)]
    in_memory: bool,
    /// `soak`: go on for so long (90s, 10m)
    #[arg(long = "for", global = true, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
    /// `soak`: the seed of its faults; without it, by chance
    #[arg(long, global = true, value_name = "N")]
    seed: Option<u64>,
    /// `fleet`: draw the rates into this SVG
    #[arg(long, global = true, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// `growth`: draw the costs into this SVG
    #[arg(long, global = true, value_name = "FILE")]
    curves: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Needs Linux for CPU, memory and system calls (strace).
Exit codes: 0 measured, whatever came out; 1 an event was lost, books do not balance, or a run failed.";

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
enum What {
    /// Everything, one after another
    All,
    /// The machine alone: bare inserts, bare select-and-delete, bare sockets
    Limits,
    /// What the policy's door costs an event, in this process
    Admission,
    /// Accepted and delivered events a second
    Throughput,
    /// The same job done by a bare pipeline: parse, group commit, answer, post, delete
    Pipeline,
    /// The same through a manifest that lists everything, beside one that lets every event through
    Manifest,
    /// Clients that connect, write one event and close
    Latency,
    /// What an endpoint that hangs or refuses costs a command
    BlackHole,
    /// System calls, sockets and memory with an empty queue
    Idle,
    /// A million queued events: disk, memory, and how fast they leave
    Drain,
    /// Whether figures get worse with the events queued, the connections and the tools
    Growth,
    /// From the start of the process to its first answer
    Start,
    /// kill -9 at random moments and at named points: what is lost, what comes twice, the books
    Kill,
    /// Faults under each `ack`: what is lost, what comes twice, how long until the service is back
    Crash,
    /// What one user's flood does to another's latency (root: it plays two users)
    Neighbours,
    /// What hostile requests at the gateway do to the socket's clients (root: one of them is another user's)
    Hostile,
    /// The same job done by syslog-ng, where it is installed
    SyslogNg,
    /// Ten thousand simulated machines and one endpoint: the rates after an outage
    Fleet,
    /// Everything at once with random faults: balanced books and flat memory at the end
    Soak,
}

/// `90s`, `10m`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let parsed = units.iter().find_map(|(unit, ms)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*ms).map(Duration::from_millis)
    });
    parsed.ok_or_else(|| format!("{text:?} is no duration like 90s or 10m"))
}

/// A scenario.
type Run = fn(&Bench, &mut Report) -> Result<()>;

fn main() -> ExitCode {
    if let Some(played) = scenario::neighbours::part().or_else(bare::pipeline::part) {
        return match played {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                report::tell(&error);
                ExitCode::FAILURE
            }
        };
    }
    let flags = Flags::parse();
    if matches!(flags.what, What::All | What::Crash)
        && let Some(ended) = scenario::crash::inside()
    {
        return ended;
    }
    match story(&flags) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::FAILURE,
        Err(error) => {
            report::tell(&error);
            ExitCode::FAILURE
        }
    }
}

/// Measures; whether anything was wrong.
fn story(flags: &Flags) -> Result<bool> {
    let directory = match &flags.directory {
        Some(directory) => directory.clone(),
        None => std::env::temp_dir(),
    };
    let directory = directory
        .canonicalize()
        .with_context(|| format!("cannot use {}", directory.display()))?;
    if machine::is_in_memory(&directory) && !flags.in_memory {
        bail!(
            "{} is in memory: name a --directory on the disk that is to be measured, or say --in-memory",
            directory.display()
        );
    }
    let faults = matches!(flags.what, What::All | What::Kill | What::Crash);
    let builds = match flags.what {
        // No daemon is asked.
        What::Admission | What::Fleet => None,
        _ => Some(Builds::find(flags.daemon.clone(), faults)?),
    };
    let (plain, pointed) = builds
        .map(|builds| (builds.plain, builds.pointed))
        .unwrap_or_default();
    let mut bench = Bench {
        daemon: plain.clone(),
        directory,
        scale: if flags.quick { Scale::QUICK } else { Scale::FULL },
        rounds: flags.rounds,
        wait: flags.wait,
        seed: flags.seed,
        plot: flags.plot.clone(),
        curves: flags.curves.clone(),
        only: flags.only.clone(),
        write: flags.write.clone(),
    };
    let mut report = Report::new(flags.json);
    report.machine(&machine::facts(&bench.directory))?;
    let all: [(What, Run); 18] = [
        (What::Limits, scenario::limits::run),
        (What::Admission, scenario::admission::run),
        (What::Throughput, scenario::throughput::run),
        (What::Pipeline, scenario::pipeline::run),
        (What::Manifest, scenario::manifest::run),
        (What::Latency, scenario::latency::run),
        (What::BlackHole, scenario::black_hole::run),
        (What::Idle, scenario::idle::run),
        (What::Drain, scenario::drain::run),
        (What::Growth, scenario::growth::run),
        (What::Start, scenario::start::run),
        (What::Kill, scenario::kill::run),
        (What::Crash, scenario::crash::run),
        (What::Neighbours, scenario::neighbours::run),
        (What::Hostile, scenario::hostile::run),
        (What::SyslogNg, scenario::syslog_ng::run),
        (What::Fleet, scenario::fleet::run),
        (What::Soak, scenario::soak::run),
    ];
    for (what, run) in all {
        // The smoke run of the faults takes as long as all others together: it is asked for by name.
        let later = flags.quick && what == What::Crash;
        if flags.what == What::All && !later || flags.what == what {
            bench.daemon.clone_from(match what {
                What::Kill | What::Crash => &pointed,
                _ => &plain,
            });
            run(&bench, &mut report).with_context(|| format!("{what:?} failed"))?;
            report.end()?;
        }
    }
    Ok(report.close()?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_flags_agree_with_each_other() {
        super::Flags::command().debug_assert();
    }
}
