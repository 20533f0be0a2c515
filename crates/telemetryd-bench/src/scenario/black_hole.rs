//! `black-hole`: what an endpoint that hangs or refuses costs a command: nothing through the daemon, which alone knows
//! that there is an endpoint; and its whole timeout a command that posts by itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Bench;
use super::latency::visits;
use crate::clock;
use crate::daemon::{Daemon, Settings};
use crate::endpoint::Endpoint;
use crate::figure::{Figure, Wanted, percentile};
use crate::lines::{Ack, LINE};
use crate::report::Report;

/// Clients of one daemon before the next one's turn.
const BLOCK: usize = 50;

/// How a client takes part, and whether it reads an answer.
const KINDS: [(Ack, bool); 2] = [(Ack::None, false), (Ack::Queued, true)];

/// Percentiles that are shown.
const SHARES: [(f64, &str); 2] = [(0.5, "p50"), (0.95, "p95")];

/// Runs it.
///
/// # Errors
/// When a daemon fails.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("black-hole");
    let well = Endpoint::new()?;
    // The kernel accepts what comes, and nobody reads it.
    let hanging = TcpListener::bind("127.0.0.1:0").context("cannot bind a port of the loopback")?;
    let hole = hanging.local_addr()?;
    // Nothing listens there any more.
    let refusing = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let homes = [
        ("in health", well.url()),
        ("hanging", format!("http://{hole}/v1/events")),
        ("refusing", format!("http://{refusing}/v1/events")),
    ]
    .map(|(state, url)| {
        let settings = Settings {
            max_wait: Some("50ms"),
            ..Settings::to(&url)
        };
        bench.home(&settings).map(|home| (state, home))
    });
    let homes = homes.into_iter().collect::<Result<Vec<_>>>()?;
    let daemons: Vec<Daemon<'_>> = homes
        .iter()
        .map(|(_, home)| home.start())
        .collect::<Result<_>>()?;

    for (ack, answer) in KINDS {
        let rounds = bench.rounds(bench.scale.latency_rounds);
        let mut seen = vec![SHARES.map(|_| Vec::new()); daemons.len()];
        for _ in 0..rounds {
            let mut times = vec![Vec::new(); daemons.len()];
            while times[0].len() < bench.scale.clients {
                for (daemon, times) in daemons.iter().zip(&mut times) {
                    times.extend(visits(&daemon.socket(), ack, answer, BLOCK)?);
                }
            }
            for (seen, times) in seen.iter_mut().zip(&times) {
                for (seen, (share, _)) in seen.iter_mut().zip(SHARES) {
                    seen.push(percentile(times, share));
                }
            }
        }
        let word = ack.word();
        for (at, (_, share)) in SHARES.into_iter().enumerate() {
            for (number, ((state, _), times)) in homes.iter().zip(&seen).enumerate() {
                let name = format!("ack {word}, the endpoint {state}: {share}");
                let figure = Figure::new(name, "µs", &times[at]);
                report.figure(match (number, at) {
                    (0, _) => figure,
                    (_, 0) => figure
                        .beside("in health", &seen[0][at])
                        .wanted(Wanted::RatioAtMost(1.5)),
                    _ => figure.beside("in health", &seen[0][at]),
                });
            }
        }
    }
    let itself = posts_itself(hole, bench.scale.patience)?;
    report.figure(Figure::new(
        "a command that posts by itself, the endpoint hanging",
        "ms",
        &[itself.as_secs_f64() * 1e3],
    ));
    report.note(format!(
        "three daemons in turn, {BLOCK} clients each; the last one's timeout is {:?}",
        bench.scale.patience
    ));
    for mut daemon in daemons {
        // What waits has nowhere to go.
        daemon.kill9();
    }
    Ok(())
}

/// What a command does that sends its one event to the vendor before it ends.
fn posts_itself(endpoint: SocketAddr, patience: Duration) -> Result<Duration> {
    let began = clock::now();
    let mut stream = TcpStream::connect_timeout(&endpoint, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let body = "x".repeat(LINE);
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {endpoint}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    match stream.read(&mut [0; 64]) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(began.elapsed())
        }
        other => bail!("a hole has answered: {other:?}"),
    }
}
