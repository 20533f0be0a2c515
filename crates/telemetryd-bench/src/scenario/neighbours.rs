//! `neighbours`: what one user's flood does to another's latency, in a machine-wide daemon. Each user is a process
//! of this program with a uid of its own: the credentials of a socket are those of who connected it.

mod parts;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use self::parts::{CONNECTIONS, VISITORS};
pub(crate) use self::parts::{Part, part, tool};
use super::Bench;
use crate::clock;
use crate::daemon::Settings;
use crate::endpoint::Endpoint;
use crate::figure::{Figure, Wanted, median, percentile};
use crate::report::Report;

/// Two users that exist nowhere.
const QUIET: u32 = 64_001;
pub(super) const NOISY: u32 = 64_002;

/// How long the flood goes on before anything is measured: past the burst that the rate allows.
const WARM: Duration = Duration::from_secs(1);

/// What the noisy user does.
type Flood = (&'static str, &'static str);

/// Sends for one tool, over its rate at once; for as many as the queue takes of a user; the largest lines that are taken;
/// asks questions; purges what it has sent; writes a byte at a time, slowly and without a pause; never reads; writes without end and without a
/// newline; JSON as deep as a line is long; the quiet user's ids, before and after that one used them; connects and
/// goes at once; and connects for each event.
const FLOODS: [Flood; 13] = [
    ("one", "a flood of one tool"),
    ("many", "a flood of 64 tools"),
    ("large", "a flood of 64 KiB lines"),
    ("asking", "a flood of questions"),
    ("purging", "a flood that is purged"),
    ("slow", "lines, a byte every 5 ms"),
    ("bytes", "lines, a byte at a time without a pause"),
    ("deaf", "questions whose answers are not read"),
    ("endless", "lines that never end"),
    ("deep", "JSON of 60,000 levels"),
    ("guessing", "events with the other's ids"),
    ("connecting", "a flood of connections"),
    ("visiting", "a flood of visits"),
];

/// Fills a queue that is small, and that nobody empties, with the largest lines of one tool.
const EVICTING: [Flood; 1] = [("evicting", "a flood that has rows evicted")];

/// Runs it.
///
/// # Errors
/// When the daemon fails.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("neighbours");
    if !rustix::process::geteuid().is_root() {
        report.note("not measured: two users are needed, and only root can be them".to_owned());
        return Ok(());
    }
    let endpoint = Endpoint::new()?;
    let settings = Settings {
        system: true,
        ..Settings::to(&endpoint.url())
    };
    beside(bench, report, &settings, &FLOODS)?;
    let nowhere = Settings {
        system: true,
        small: true,
        ..Settings::to("http://127.0.0.1:9/")
    };
    beside(bench, report, &nowhere, &EVICTING)?;
    report.note(format!(
        "the noisy user: {CONNECTIONS} connections that never pause, or {VISITORS} threads that connect in a loop; a \
         machine-wide daemon has no spool"
    ));
    Ok(())
}

/// One daemon, and one flood after the other.
fn beside(bench: &Bench, report: &mut Report, settings: &Settings, floods: &[Flood]) -> Result<()> {
    if !floods.iter().any(|(_, name)| bench.wants(name)) {
        return Ok(());
    }
    let home = bench.home(settings)?;
    let daemon = home.start()?;
    let mut quiet = Quiet::start(&daemon.socket(), bench.scale.visits)?;
    quiet.times()?;
    for &(what, name) in floods.iter().filter(|(_, name)| bench.wants(name)) {
        // Who connects, or writes single bytes, without a pause takes the processors, whoever listens: that much is the
        // system's. What the daemon adds is seen beside the same loop at a listener that does the least that one can.
        let floor = match what {
            "connecting" => Some("takes and closes"),
            "bytes" => Some("reads"),
            _ => None,
        };
        let mut times: [Rounds; 3] = Default::default();
        for _ in 0..bench.rounds(bench.scale.latency_rounds) {
            let [alone, flooded, bare] = &mut times;
            alone.add(&quiet.times()?);
            if floor.is_some() {
                let elsewhere = tempfile::Builder::new().prefix("bare").tempdir_in(home.root())?;
                chown(elsewhere.path(), Some(NOISY), None)?;
                bare.add(&quiet.beside(&elsewhere.path().join("s"), &format!("{what} elsewhere"))?);
            }
            flooded.add(&quiet.beside(&daemon.socket(), what)?);
        }
        let [alone, flooded, bare] = &times;
        let (whose, of, compared) = match floor {
            None => ("a quiet user alone".to_owned(), "alone", alone),
            Some(does) => (
                format!("a quiet user beside such a flood at a listener that only {does}"),
                "that",
                bare,
            ),
        };
        for (which, share) in ["p50", "p95"].into_iter().enumerate() {
            report.figure(Figure::new(format!("{whose}: {share}"), "µs", &compared.0[which]));
            let figure = Figure::new(format!("beside {name}: {share}"), "µs", &flooded.0[which]);
            report.figure(
                figure
                    .beside(of, &compared.0[which])
                    .wanted(Wanted::RatioAtMost(2.0)),
            );
        }
        if floor.is_some() {
            let [p50, p95] = flooded.over(alone);
            report.note(format!(
                "{name}, beside the quiet user alone on both processors: p50 {p50:.2}, p95 {p95:.2}"
            ));
        }
    }
    let status = daemon.order(&json!({ "op": "status", "all_users": true }))?;
    let of = |uid: u32, column: &str| -> u64 {
        let books = status["books"].as_array().into_iter().flatten();
        let own = books.filter(|book| book["uid"] == uid);
        own.filter_map(|book| book[column].as_u64()).sum()
    };
    report.check(
        of(QUIET, "accepted") == quiet.sent && of(QUIET, "evicted") == 0,
        || format!("the quiet user sent {}, the books say {status}", quiet.sent),
    );
    let (accepted, evicted) = (of(NOISY, "accepted"), of(NOISY, "evicted"));
    report.note(format!(
        "the noisy user: {accepted} events were accepted, {evicted} of them evicted"
    ));
    let peak = daemon.process().peak();
    let figure = Figure::new("most resident of the daemon", "MB", &[peak]);
    report.figure(figure.wanted(Wanted::AtMost(64.0)));
    drop(quiet);
    daemon.term()
}

/// The quiet user, asked from here.
struct Quiet {
    part: Part,
    answers: BufReader<std::process::ChildStdout>,
    sent: u64,
}

impl Quiet {
    fn start(socket: &Path, visits: usize) -> Result<Self> {
        let mut part = Part::start("quiet", &visits.to_string(), socket, QUIET)?;
        let answers = part.0.stdout.take().context("a pipe")?;
        let (answers, sent) = (BufReader::new(answers), 0);
        Ok(Self { part, answers, sent })
    }

    /// The same while another user does this.
    fn beside(&mut self, socket: &Path, what: &str) -> Result<Vec<f64>> {
        let flood = Part::start("noisy", what, socket, NOISY)?;
        clock::pause(WARM);
        let times = self.times()?;
        drop(flood);
        Ok(times)
    }

    /// The times of its next visits, in microseconds.
    fn times(&mut self) -> Result<Vec<f64>> {
        let asked = self.part.0.stdin.as_mut().context("a pipe")?;
        asked.write_all(b"go\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let times: Vec<Value> = serde_json::from_str(&line).context("the quiet user has gone")?;
        self.sent += times.len() as u64;
        Ok(times.iter().filter_map(Value::as_f64).collect())
    }
}

/// p50 and p95 of each round.
#[derive(Debug, Default)]
struct Rounds([Vec<f64>; 2]);

impl Rounds {
    fn add(&mut self, times: &[f64]) {
        self.0[0].push(percentile(times, 0.5));
        self.0[1].push(percentile(times, 0.95));
    }

    /// The medians of these rounds' ratios to those.
    fn over(&self, those: &Self) -> [f64; 2] {
        [0, 1].map(|which| {
            let pairs = self.0[which].iter().zip(&those.0[which]);
            median(&pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
        })
    }
}
