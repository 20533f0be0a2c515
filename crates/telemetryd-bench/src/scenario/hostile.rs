//! `hostile`: what requests at the gateway that mean no good do to the clients of the socket. They come from threads of
//! this program, on the processors of everybody else; another user's come from a process of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::{AddressFamily, SendFlags, SocketType};
use serde_json::json;

use super::Bench;
use super::neighbours::{NOISY, Part};
use crate::bare::socket::visit;
use crate::clock;
use crate::daemon::{Daemon, Settings};
use crate::endpoint::Endpoint;
use crate::figure::{Figure, Wanted, percentile};
use crate::lines::{Ack, Lines};
use crate::process::open_many;
use crate::report::Report;

/// Connections that are held open.
const CONNECTIONS: usize = 10_000;
/// Threads that ask in a loop, one for each processor of a small machine.
const THREADS: usize = 2;
/// Connections of one thread that a byte is said to now and then.
const SLOW: usize = 500;
/// Between two visits at the socket.
const PAUSE: Duration = Duration::from_millis(1);
/// How long it goes on before anything is measured.
const WARM: Duration = Duration::from_millis(500);
/// A gzip bomb's size when it is unpacked.
const BOMB: usize = 256 * 1024 * 1024;

/// What is done at the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flood {
    Connections,
    SlowHeads,
    Endless,
    Bombs,
    Stranger,
    Host,
    Origin,
}

const FLOODS: [(Flood, &str); 7] = [
    (Flood::Connections, "10,000 connections with half a head"),
    (Flood::SlowHeads, "1,000 heads, a byte at a time"),
    (Flood::Endless, "bodies that never end"),
    (Flood::Bombs, "gzip bombs"),
    (Flood::Stranger, "requests of another uid"),
    (Flood::Host, "requests with a foreign Host"),
    (Flood::Origin, "requests with an Origin"),
];

/// Runs it.
///
/// # Errors
/// When the daemon fails.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("hostile");
    let endpoint = Endpoint::new()?;
    let settings = Settings {
        gateway: true,
        ..Settings::to(&endpoint.url())
    };
    let home = bench.home(&settings)?;
    let daemon = home.start()?;
    let address = listening(&daemon)?;
    let bomb = bomb()?;
    let mut sent = 0;
    let mut visits = || -> Result<Vec<f64>> {
        let (mut made, mut line) = (Lines::new(Ack::Queued), Vec::new());
        let mut times = Vec::with_capacity(bench.scale.visits);
        for _ in 0..bench.scale.visits {
            line.clear();
            made.push(&mut line);
            times.push(visit(&daemon.socket(), &line, true)?);
            sent += 1;
            clock::pause(PAUSE);
        }
        Ok(times)
    };
    visits()?;
    for (flood, name) in FLOODS.into_iter().filter(|(_, name)| bench.wants(name)) {
        if flood == Flood::Stranger && !rustix::process::geteuid().is_root() {
            report.note(format!("{name}: not measured, only root can be another user"));
            continue;
        }
        let (mut alone, mut beside) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
        let mut asked = 0;
        for _ in 0..bench.rounds(bench.scale.latency_rounds) {
            let times = visits()?;
            alone[0].push(percentile(&times, 0.5));
            alone[1].push(percentile(&times, 0.95));
            let (times, requests) = during(flood, address, &bomb, &daemon, &mut visits)?;
            asked += requests;
            beside[0].push(percentile(&times, 0.5));
            beside[1].push(percentile(&times, 0.95));
        }
        for (which, share) in ["p50", "p95"].into_iter().enumerate() {
            let figure = Figure::new(
                format!("a client of the socket alone: {share}"),
                "µs",
                &alone[which],
            );
            report.figure(figure);
            let figure = Figure::new(format!("beside {name}: {share}"), "µs", &beside[which]);
            report.figure(
                figure
                    .beside("alone", &alone[which])
                    .wanted(Wanted::RatioAtMost(2.0)),
            );
        }
        if asked > 0 {
            report.note(format!("{name}: {asked} of them"));
        }
    }
    let peak = daemon.process().peak();
    let figure = Figure::new("most resident of the daemon", "MB", &[peak]);
    report.figure(figure.wanted(Wanted::AtMost(64.0)));
    let books = daemon.books()?;
    report.check(books.balanced && books.accepted == sent, || {
        format!("{sent} were sent over the socket, and nothing else; the books say {books:?}")
    });
    daemon.term()
}

/// The times of the socket's clients while the flood goes on, and how many requests it made.
fn during(
    flood: Flood,
    address: SocketAddr,
    bomb: &[u8],
    daemon: &Daemon<'_>,
    visits: &mut impl FnMut() -> Result<Vec<f64>>,
) -> Result<(Vec<f64>, u64)> {
    if flood == Flood::Stranger {
        let _stranger = Part::start("stranger", &address.to_string(), &daemon.socket(), NOISY)?;
        clock::pause(WARM);
        return Ok((visits()?, 0));
    }
    if flood == Flood::Connections {
        let _held = hold(address)?;
        clock::pause(WARM);
        return Ok((visits()?, 0));
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| repeat(flood, address, bomb, &over)))
            .collect();
        clock::pause(WARM);
        let times = visits();
        over.store(true, Ordering::Relaxed);
        let requests = threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum();
        Ok((times?, requests))
    })
}

/// Where the gateway listens.
fn listening(daemon: &Daemon<'_>) -> Result<SocketAddr> {
    let listens = || {
        let status = daemon.order(&json!({ "op": "status" })).ok()?;
        status["gateway"]["listen"].as_str()?.parse().ok()
    };
    let found = clock::until(Duration::from_secs(10), Duration::from_millis(10), listens);
    found.context("the gateway does not listen")
}

/// A great deal of blanks in a few kilobytes.
fn bomb() -> Result<Vec<u8>> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let blanks = vec![b' '; 1024 * 1024];
    for _ in 0..BOMB / blanks.len() {
        packed.write_all(&blanks)?;
    }
    Ok(packed.finish()?)
}

/// Connections that are asked for and half used; the system holds on to those that the daemon does not take.
fn hold(address: SocketAddr) -> Result<Vec<OwnedFd>> {
    open_many()?;
    let mut held = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let Ok(socket) = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None) else {
            break;
        };
        rustix::io::ioctl_fionbio(&socket, true)?;
        // It is on its way, or it is there.
        let _ = rustix::net::connect(&socket, &address);
        held.push(socket);
    }
    for socket in &held {
        let _ = rustix::net::send(socket, b"POST /t/demo HTTP/1.1\r\nHost: loc", SendFlags::empty());
    }
    Ok(held)
}

/// Asks until it is over; how often.
fn repeat(flood: Flood, address: SocketAddr, bomb: &[u8], over: &AtomicBool) -> u64 {
    let mut asked = 0;
    if flood == Flood::SlowHeads {
        let mut streams: Vec<Option<TcpStream>> =
            (0..SLOW).map(|_| TcpStream::connect(address).ok()).collect();
        while !over.load(Ordering::Relaxed) {
            for stream in &mut streams {
                let said = stream.as_mut().map(|stream| stream.write_all(b"P"));
                if !matches!(said, Some(Ok(()))) {
                    *stream = TcpStream::connect(address).ok();
                }
            }
            clock::pause(Duration::from_millis(50));
        }
        return SLOW as u64;
    }
    while !over.load(Ordering::Relaxed) {
        // Refused, cut off or answered: it is the same to who means no good.
        let _ = one(flood, address, bomb, over);
        asked += 1;
    }
    asked
}

fn one(flood: Flood, address: SocketAddr, bomb: &[u8], over: &AtomicBool) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let head = |more: &str| {
        format!("POST /t/bench HTTP/1.1\r\nContent-Type: application/json\r\n{more}\r\n").into_bytes()
    };
    match flood {
        Flood::Endless => {
            stream.write_all(&head("Host: localhost\r\nTransfer-Encoding: chunked\r\n"))?;
            let chunk = [b"4000\r\n".as_slice(), &[b' '; 0x4000], b"\r\n"].concat();
            while !over.load(Ordering::Relaxed) {
                stream.write_all(&chunk)?;
            }
        }
        Flood::Bombs => {
            let length = bomb.len();
            let more = format!("Host: localhost\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n");
            stream.write_all(&head(&more))?;
            stream.write_all(bomb)?;
        }
        Flood::Host => {
            stream.write_all(&head("Host: evil.example\r\nContent-Length: 2\r\n"))?;
            stream.write_all(b"{}")?;
        }
        _ => {
            let more = "Host: localhost\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\n";
            stream.write_all(&head(more))?;
            stream.write_all(b"{}")?;
        }
    }
    stream.read(&mut [0; 1024]).map(drop)
}

/// Another user's process, that asks in a loop until it is killed.
pub(crate) fn stranger(address: &str) -> Result<()> {
    let address: SocketAddr = address.parse()?;
    let ask = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let head = "POST /t/bench HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n";
        stream.write_all(head.as_bytes())?;
        stream.write_all(b"{\"event\":\"e\"}")?;
        stream.read(&mut [0; 1024]).map(drop)
    };
    loop {
        let _ = ask();
    }
}
