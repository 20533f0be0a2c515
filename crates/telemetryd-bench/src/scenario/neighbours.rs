//! `neighbours`: what one user's flood does to another's latency, in a machine-wide daemon. Each user is a process
//! of this program with a uid of its own: the credentials of a socket are those of who connected it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};

use super::Bench;
use crate::bare::socket::visit;
use crate::clock;
use crate::daemon::Settings;
use crate::endpoint::Endpoint;
use crate::figure::{Figure, Wanted, median, percentile};
use crate::lines::{Ack, LINE, Lines};
use crate::report::Report;

/// Says to a process of this program which part it plays.
const PART: &str = "TELEMETRYD_BENCH_PART";
const SOCKET: &str = "TELEMETRYD_BENCH_SOCKET";

/// Two users that exist nowhere.
const QUIET: u32 = 64_001;
pub(super) const NOISY: u32 = 64_002;

/// As many connections as a user may have (`limits.max_connections_per_user`).
const CONNECTIONS: usize = 64;

/// Between two visits of the quiet user: together with the visit less than `limits.rate` allows.
const PAUSE: Duration = Duration::from_millis(1);

/// How long the flood goes on before anything is measured: past the burst that the rate allows.
const WARM: Duration = Duration::from_secs(1);

/// What the noisy user does: sends for one tool, over its rate at once; for as many as the queue takes of a user; the
/// largest lines that are taken; asks questions; purges what it has sent; connects and goes at once; and connects for each event.
const FLOODS: [(&str, &str); 7] = [
    ("one", "a flood of one tool"),
    ("many", "a flood of 64 tools"),
    ("large", "a flood of 64 KiB lines"),
    ("asking", "a flood of questions"),
    ("purging", "a flood that is purged"),
    ("connecting", "a flood of connections"),
    ("visiting", "a flood of visits"),
];

/// Threads that connect in a loop, one for each processor of a small machine: more of them wait for each other, and what
/// is seen of them is how the system shares its processors.
const VISITORS: usize = 2;

/// The name of the noisy user's tool of that number.
pub(crate) fn tool(number: usize) -> String {
    format!("noise{number}")
}

/// Plays a part, where this process has one.
pub(crate) fn part() -> Option<Result<()>> {
    let part = std::env::var(PART).ok()?;
    let socket = PathBuf::from(std::env::var_os(SOCKET)?);
    Some(match part.split_once(' ') {
        Some(("quiet", clients)) => quiet(&socket, clients.parse().unwrap_or(1)),
        Some(("noisy", "computing")) => computing(),
        Some(("noisy", what @ ("connecting" | "visiting"))) => connecting(&socket, what == "visiting"),
        Some(("noisy", what)) => noisy(&socket, what),
        Some(("stranger", address)) => super::hostile::stranger(address),
        _ => Err(anyhow::anyhow!("no part {part:?}")),
    })
}

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
    let home = bench.home(&settings)?;
    let daemon = home.start()?;
    let mut quiet = Quiet::start(&daemon.socket(), bench.scale.visits)?;
    quiet.times()?;
    for (what, name) in FLOODS.into_iter().filter(|(_, name)| bench.wants(name)) {
        // Threads that never pause take the processors, whomever they connect to: that much is the system's.
        let compared = match what {
            "connecting" | "visiting" => Some("computing"),
            _ => None,
        };
        let (mut without, mut beside) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
        let mut of_alone = [const { Vec::new() }; 2];
        for _ in 0..bench.rounds(bench.scale.latency_rounds) {
            let alone = shares(&quiet.times()?);
            let compared = match compared {
                Some(what) => quiet.beside(&daemon.socket(), what)?,
                None => alone,
            };
            let flooded = quiet.beside(&daemon.socket(), what)?;
            for which in 0..2 {
                without[which].push(compared[which]);
                beside[which].push(flooded[which]);
                of_alone[which].push(flooded[which] / alone[which]);
            }
        }
        let (whose, of) = match compared {
            None => ("a quiet user alone", "alone"),
            Some(_) => ("a quiet user beside threads that only compute", "those"),
        };
        for (which, share) in ["p50", "p95"].into_iter().enumerate() {
            report.figure(Figure::new(format!("{whose}: {share}"), "µs", &without[which]));
            report.figure(
                Figure::new(format!("beside {name}: {share}"), "µs", &beside[which])
                    .beside(of, &without[which])
                    .wanted(Wanted::RatioAtMost(2.0)),
            );
        }
        if compared.is_some() {
            report.note(format!(
                "{name}, beside the quiet user alone on both processors: p50 {:.2}, p95 {:.2}",
                median(&of_alone[0]),
                median(&of_alone[1])
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
    report.note(format!(
        "the noisy user: {CONNECTIONS} connections that never pause, or {VISITORS} threads that connect in a loop; {} of \
         its events were accepted",
        of(NOISY, "accepted")
    ));
    drop(quiet);
    daemon.term()
}

/// A process of this program that plays a part as another user. Dropped, it is killed and reaped.
pub(super) struct Part(Child);

impl Part {
    pub(super) fn start(part: &str, what: &str, socket: &Path, uid: u32) -> Result<Self> {
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

    /// p50 and p95 while another user does this.
    fn beside(&mut self, socket: &Path, what: &str) -> Result<[f64; 2]> {
        let flood = Part::start("noisy", what, socket, NOISY)?;
        clock::pause(WARM);
        let times = self.times()?;
        drop(flood);
        Ok(shares(&times))
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

fn shares(times: &[f64]) -> [f64; 2] {
    [percentile(times, 0.5), percentile(times, 0.95)]
}

/// As many threads as [`connecting`] has, which do nothing, without a pause, until they are killed.
fn computing() -> ! {
    std::thread::scope(|scope| {
        let spin = || -> () {
            loop {
                std::hint::spin_loop();
            }
        };
        for _ in 1..VISITORS {
            scope.spawn(spin);
        }
        loop {
            std::hint::spin_loop();
        }
    })
}

/// The quiet user: so many visits each time it is asked.
fn quiet(socket: &Path, visits: usize) -> Result<()> {
    let mut made = Lines::new(Ack::Queued);
    let mut line = Vec::new();
    for asked in std::io::stdin().lock().lines() {
        asked?;
        let mut times = Vec::with_capacity(visits);
        for _ in 0..visits {
            line.clear();
            made.push(&mut line);
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
            let mut wanted: Vec<PollFd<'_>> = streams
                .iter()
                .map(|stream| PollFd::new(stream, PollFlags::IN | PollFlags::OUT))
                .collect();
            poll(&mut wanted, None)?;
            wanted.iter().map(PollFd::revents).collect()
        };
        for (at, ready) in ready.into_iter().enumerate() {
            let stream = &mut streams[at];
            let mut gone = ready.contains(PollFlags::IN)
                && match stream.read(&mut buffer) {
                    Ok(read) => read == 0,
                    Err(error) => error.kind() != ErrorKind::WouldBlock,
                };
            if ready.contains(PollFlags::OUT) && !gone {
                match stream.write(&blocks[at][written[at]..]) {
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

/// What asks the daemon for most.
const ASKING: &str = "{\"op\":\"status\"}\n{\"op\":\"queue\",\"action\":\"list\",\"limit\":100}\n";
