//! `latency`: clients that connect, write one event and close, in turn with clients of a bare accept loop.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::Bench;
use crate::bare::socket::{Listener, visit};
use crate::clock;
use crate::daemon::{Daemon, Settings};
use crate::endpoint::Endpoint;
use crate::figure::{Figure, Wanted, percentile};
use crate::lines::{Ack, Lines};
use crate::process::open_many;
use crate::report::Report;

/// Clients of one kind before the other kind's turn.
const BLOCK: usize = 100;

/// Our kinds, whether they read an answer, and what is asked of their p50 beside the bare one.
const KINDS: [(Ack, bool, Option<Wanted>); 3] = [
    (Ack::None, false, Some(Wanted::RatioAtMost(1.5))),
    (Ack::Queued, true, Some(Wanted::RatioAtMost(4.0))),
    (Ack::Synced, true, None),
];

/// Percentiles that are shown.
const SHARES: [(f64, &str); 3] = [(0.5, "p50"), (0.95, "p95"), (0.99, "p99")];

/// Percentiles of one round, in microseconds.
type Percentiles = [f64; 3];

/// Runs it.
///
/// # Errors
/// When the daemon fails.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("latency");
    let endpoint = Endpoint::new()?;
    let home = bench.home(&Settings::to(&endpoint.url()))?;
    let daemon = home.start()?;
    let bare = [false, true].map(|answers| Listener::new(&bench.directory, answers));
    let [silent, answering] = bare;
    let bare = [silent?, answering?];

    let mut sent = 0;
    let mut ours: [Vec<Percentiles>; 3] = [const { Vec::new() }; 3];
    let mut theirs: [Vec<Percentiles>; 3] = [const { Vec::new() }; 3];
    for (ack, answer, _) in KINDS {
        visits(bare[usize::from(answer)].path(), ack, answer, BLOCK)?;
        sent += visits(&daemon.socket(), ack, answer, BLOCK)?.len();
    }
    for _ in 0..bench.rounds(bench.scale.latency_rounds) {
        for (at, (ack, answer, _)) in KINDS.into_iter().enumerate() {
            let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
            while our_times.len() < bench.scale.clients {
                their_times.extend(visits(bare[usize::from(answer)].path(), ack, answer, BLOCK)?);
                let times = visits(&daemon.socket(), ack, answer, BLOCK)?;
                sent += times.len();
                our_times.extend(times);
                quiet(&daemon)?;
            }
            ours[at].push(SHARES.map(|(share, _)| percentile(&our_times, share)));
            theirs[at].push(SHARES.map(|(share, _)| percentile(&their_times, share)));
        }
    }
    for (at, (ack, answer, wanted)) in KINDS.into_iter().enumerate() {
        let bare_name = if answer {
            "connect, write, read, close"
        } else {
            "connect, write, close"
        };
        for (which, (_, share)) in SHARES.into_iter().enumerate() {
            let of = |rounds: &[Percentiles]| rounds.iter().map(|round| round[which]).collect::<Vec<f64>>();
            let bare = of(&theirs[at]);
            if ack != Ack::Synced {
                report.figure(Figure::new(format!("bare {bare_name}: {share}"), "µs", &bare));
            }
            let name = format!("ack {}: {share}", format!("{ack:?}").to_lowercase());
            let figure = Figure::new(name, "µs", &of(&ours[at])).beside("bare", &bare);
            report.figure(match wanted {
                Some(wanted) if which == 0 => figure.wanted(wanted),
                _ => figure,
            });
        }
    }

    // Nothing is read back here, so nothing tells these clients that the daemon keeps up: it has to.
    visits(&daemon.socket(), Ack::None, false, bench.scale.in_a_row)?;
    sent += bench.scale.in_a_row;
    complete(&daemon, &endpoint, sent, report, "clients in a row")?;
    sent += at_once(&daemon.socket(), bench.scale.at_once)?;
    complete(&daemon, &endpoint, sent, report, "clients at once")?;
    report.note(format!(
        "{} clients in a row, then {} at once, each with one event of ack none: all events arrived unless it is said below",
        bench.scale.in_a_row, bench.scale.at_once
    ));
    report.note(format!(
        "ours and bare in turn, {BLOCK} clients each; synced is beside the bare exchange, which syncs nothing"
    ));
    daemon.term()
}

/// So many clients one after another; their times.
pub(super) fn visits(socket: &Path, ack: Ack, answer: bool, clients: usize) -> Result<Vec<f64>> {
    let mut made = Lines::new(ack);
    let mut line = Vec::new();
    let mut times = Vec::with_capacity(clients);
    for _ in 0..clients {
        line.clear();
        made.push(&mut line);
        times.push(visit(socket, &line, answer)?);
    }
    Ok(times)
}

/// Waits until the daemon has nothing left to do for clients that have gone.
fn quiet(daemon: &Daemon<'_>) -> Result<()> {
    let process = daemon.process();
    daemon.order(&json!({ "op": "hello", "protocol": 1 }))?;
    let mut before = process.sleeps();
    clock::until(Duration::from_secs(5), Duration::from_millis(2), || {
        let now = process.sleeps();
        let same = now == before;
        before = now;
        same.then_some(())
    })
    .context("the daemon does not come to rest")
}

/// All of them connect first; then each writes its event and closes.
fn at_once(socket: &Path, clients: usize) -> Result<usize> {
    open_many()?;
    let mut made = Lines::new(Ack::None);
    let mut streams = Vec::with_capacity(clients);
    for number in 0..clients {
        streams.push(UnixStream::connect(socket).with_context(|| format!("client {number} cannot connect"))?);
    }
    let mut line = Vec::new();
    for mut stream in streams {
        line.clear();
        made.push(&mut line);
        stream.write_all(&line)?;
    }
    Ok(clients)
}

/// Every event that was written has been accepted, and has arrived.
fn complete(
    daemon: &Daemon<'_>,
    endpoint: &Endpoint,
    sent: usize,
    report: &mut Report,
    who: &str,
) -> Result<()> {
    let sent = sent as u64;
    let accepted = clock::until(Duration::from_secs(20), Duration::from_millis(5), || {
        daemon.books().ok().filter(|books| books.accepted >= sent)
    });
    let books = match accepted {
        Some(_) => daemon.drained(Duration::from_secs(30))?,
        None => daemon.books()?,
    };
    report.check(books.accepted == sent && books.balanced, || {
        format!("{who}: {sent} events were written, the books say {books:?}")
    });
    let arrived = endpoint.wait_for(sent, Duration::from_secs(10));
    report.check(arrived, || {
        format!(
            "{who}: {sent} events were written, {} arrived",
            endpoint.counts().unique
        )
    });
    Ok(())
}
