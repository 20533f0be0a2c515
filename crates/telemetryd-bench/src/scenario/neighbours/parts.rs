//! The two users of `neighbours`, each a process of this program with a uid of its own.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::json;
use uuid::Uuid;

use crate::bare::socket::visit;
use crate::clock;
use crate::lines::{Ack, LINE, Lines, TOOL};
use crate::scenario::hostile;

/// Says to a process of this program which part it plays.
const PART: &str = "TELEMETRYD_BENCH_PART";
const SOCKET: &str = "TELEMETRYD_BENCH_SOCKET";

/// As many connections as a user may have (`limits.max_connections_per_user`).
pub(super) const CONNECTIONS: usize = 64;

/// Threads that connect in a loop, one for each processor of a small machine: more of them wait for each other, and what
/// is seen of them is how the system shares its processors.
pub(super) const VISITORS: usize = 2;

/// Between two bytes of who writes slowly, on each of its connections.
const SLOW: Duration = Duration::from_millis(5);

/// Between two visits of the quiet user: together with the visit less than `limits.rate` allows.
const PAUSE: Duration = Duration::from_millis(1);

/// The name of the noisy user's tool of that number.
pub(crate) fn tool(number: usize) -> String {
    format!("noise{number}")
}

/// The id of the quiet user's event of that number, which everybody can guess.
fn guessed(number: u64) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_u128 << 48 | u128::from(number))
}

/// Plays a part, where this process has one.
pub(crate) fn part() -> Option<Result<()>> {
    let part = std::env::var(PART).ok()?;
    let socket = PathBuf::from(std::env::var_os(SOCKET)?);
    Some(match part.split_once(' ') {
        Some(("quiet", clients)) => quiet(&socket, clients.parse().unwrap_or(1)),
        Some(("noisy", "connecting elsewhere")) => elsewhere(&socket),
        Some(("noisy", "bytes elsewhere")) => read_elsewhere(&socket),
        Some(("noisy", what @ ("connecting" | "visiting"))) => connecting(&socket, what == "visiting"),
        Some(("noisy", what)) => noisy(&socket, what),
        Some(("stranger", address)) => hostile::stranger(address),
        _ => Err(anyhow::anyhow!("no part {part:?}")),
    })
}

/// A process of this program that plays a part as another user. Dropped, it is killed and reaped.
pub(crate) struct Part(pub(super) Child);

impl Part {
    pub(crate) fn start(part: &str, what: &str, socket: &Path, uid: u32) -> Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .env(PART, format!("{part} {what}"))
            .env(SOCKET, socket)
            .uid(uid)
            .gid(uid)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a process as another user")?;
        Ok(Self(child))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The quiet user: so many visits each time it is asked.
fn quiet(socket: &Path, visits: usize) -> Result<()> {
    let mut made = Lines::new(Ack::Queued);
    let (mut line, mut number) = (Vec::new(), 0);
    for asked in std::io::stdin().lock().lines() {
        asked?;
        let mut times = Vec::with_capacity(visits);
        for _ in 0..visits {
            line.clear();
            made.push_with(guessed(number), &mut line);
            number += 1;
            times.push(visit(socket, &line, true)?);
            clock::pause(PAUSE);
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", json!(times))?;
        out.flush()?;
    }
    Ok(())
}

/// The noisy user: writes wherever it can, reads whatever comes, comes back where it is cut off, until it is killed.
fn noisy(socket: &Path, what: &str) -> Result<()> {
    let connect = || -> Result<UnixStream> {
        let stream = UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let streams: Result<Vec<UnixStream>> = (0..CONNECTIONS).map(|_| connect()).collect();
    let mut streams = streams?;
    let blocks: Vec<Vec<u8>> = (0..CONNECTIONS).map(|number| block(what, number)).collect();
    let mut written = vec![0; CONNECTIONS];
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let ready: Vec<PollFlags> = {
            let for_what = match what {
                "deaf" => PollFlags::OUT,
                _ => PollFlags::IN | PollFlags::OUT,
            };
            let mut wanted: Vec<PollFd<'_>> = streams
                .iter()
                .map(|stream| PollFd::new(stream, for_what))
                .collect();
            poll(&mut wanted, None)?;
            wanted.iter().map(PollFd::revents).collect()
        };
        if what == "slow" {
            clock::pause(SLOW);
        }
        for (at, ready) in ready.into_iter().enumerate() {
            let stream = &mut streams[at];
            let mut gone = ready.intersects(PollFlags::HUP | PollFlags::ERR);
            gone |= ready.contains(PollFlags::IN)
                && match stream.read(&mut buffer) {
                    Ok(read) => read == 0,
                    Err(error) => error.kind() != ErrorKind::WouldBlock,
                };
            if ready.contains(PollFlags::OUT) && !gone {
                let most = if matches!(what, "slow" | "bytes") {
                    1
                } else {
                    usize::MAX
                };
                let block = &blocks[at][written[at]..];
                match stream.write(&block[..block.len().min(most)]) {
                    Ok(bytes) => written[at] = (written[at] + bytes) % blocks[at].len(),
                    Err(error) => gone = error.kind() != ErrorKind::WouldBlock,
                }
            }
            if gone {
                *stream = connect()?;
                written[at] = 0;
            }
        }
    }
}

/// The noisy user at the door: connects in a loop, with an event each time and the answer to it where it `visits`.
/// Whatever is said to it, until it is killed.
fn connecting(socket: &Path, visits: bool) -> Result<()> {
    let come_by = || -> Result<()> {
        let mut made = Lines::new(Ack::Queued);
        let mut line = Vec::new();
        let mut answer = [0; 1024];
        loop {
            let mut stream = UnixStream::connect(socket)?;
            if visits {
                line.clear();
                made.push(&mut line);
                // Refused ones are closed before they have written.
                let _ = stream.write_all(&line).and_then(|()| stream.read(&mut answer));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..VISITORS).map(|_| scope.spawn(come_by)).collect();
        for thread in threads {
            if let Ok(ended) = thread.join() {
                return ended;
            }
        }
        Ok(())
    })
}

/// The same loop as [`connecting`], at a listener of this process that takes and closes and does nothing else.
fn elsewhere(socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    std::thread::scope(|scope| {
        scope.spawn(|| listener.incoming().for_each(drop));
        connecting(socket, false)
    })
}

/// The same flood as [`noisy`] that writes a byte at a time, at a listener of this process that reads and does nothing
/// else.
fn read_elsewhere(socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let streams: Vec<UnixStream> = listener.incoming().take(CONNECTIONS).flatten().collect();
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let mut wanted: Vec<PollFd<'_>> = streams
                    .iter()
                    .map(|stream| PollFd::new(stream, PollFlags::IN))
                    .collect();
                if poll(&mut wanted, None).is_err() {
                    return;
                }
                let ready: Vec<bool> = wanted.iter().map(|one| !one.revents().is_empty()).collect();
                for (mut stream, _) in streams.iter().zip(ready).filter(|(_, ready)| *ready) {
                    if stream.read(&mut buffer).is_err() {
                        return;
                    }
                }
            }
        });
        noisy(socket, "bytes")
    })
}

/// Whole lines without ids, so that none is a duplicate.
fn block(what: &str, connection: usize) -> Vec<u8> {
    let event = |tool: String, length: usize| {
        let begin = format!(r#"{{"tool":"{tool}","event":"noise","properties":{{"note":""#);
        let filler = "x".repeat(length.saturating_sub(begin.len() + 3));
        format!("{begin}{filler}\"}}}}\n")
    };
    let lines = match what {
        "one" => event(tool(0), LINE).repeat(128),
        "large" => event(tool(connection), 64 * 1024 - 1),
        "asking" => ASKING.repeat(16),
        "deaf" => DEAF.repeat(128),
        "endless" => "{".repeat(1024 * 1024),
        "deep" => format!("{{\"tool\":\"{}\",\"event\":{}\n", tool(0), "[".repeat(60_000)),
        // Each connection has a stretch of them, before the quiet user's next and behind it.
        "guessing" => {
            let stretch = connection as u64 * GUESSES..(connection as u64 + 1) * GUESSES;
            let event = |number| {
                format!(
                    "{{\"tool\":\"{TOOL}\",\"event\":\"noise\",\"id\":\"{}\"}}\n",
                    guessed(number)
                )
            };
            stretch.map(event).collect()
        }
        "evicting" => event(tool(0), 64 * 1024 - 1),
        "purging" => {
            let purge = format!(
                "{{\"op\":\"queue\",\"action\":\"purge\",\"tool\":\"{}\"}}\n",
                tool(connection)
            );
            event(tool(connection), LINE).repeat(2048) + &purge
        }
        _ => event(tool(connection), LINE).repeat(128),
    };
    lines.into_bytes()
}

/// Ids that one connection goes through.
const GUESSES: u64 = 400;

/// What is long to answer.
const DEAF: &str = "{\"op\":\"config\"}\n";

/// What asks the daemon for most.
const ASKING: &str = "{\"op\":\"status\"}\n{\"op\":\"queue\",\"action\":\"list\",\"limit\":100}\n";
