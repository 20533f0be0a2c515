//! A life of the daemon under strace, with a tool that asks for every `ack` in turn.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Kind;
use super::disk::Image;
use super::trace::{self, Op};
use crate::clock;
use crate::daemon::{Daemon, Home, Settings};
use crate::endpoint::Endpoint;
use crate::lines::{Ack, Lines};
use crate::scenario::Bench;

/// An answer, and strace's last line.
const PATIENCE: Duration = Duration::from_secs(60);

/// Events of a tool in one burst, at most.
const BURST: usize = 12;

/// What was recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    /// The directory at its beginning.
    pub(super) before: Image,
    pub(super) ops: Vec<Op>,
    /// What was sent, and how.
    pub(super) sent: HashMap<Uuid, Ack>,
    /// Events of `none` that were taken when that one was answered.
    pub(super) taken_with: HashMap<Uuid, Vec<Uuid>>,
    /// Events that waited in the directory at its beginning.
    pub(super) waiting: Vec<Uuid>,
}

/// Records a life of so many events.
///
/// # Errors
/// When strace does not work, or wrote down what the replay does not know.
pub(super) fn record(bench: &Bench, kind: Kind, events: usize, random: &mut Rng) -> Result<Recorded> {
    let endpoint = Endpoint::that_keeps_everything()?;
    let home = bench.home(&Settings {
        max_wait: Some("10ms"),
        // So that what is sent can be read in the record.
        compression: "none",
        more: "retry.max = \"200ms\"\n",
        ..Settings::to(&endpoint.url())
    })?;
    let mut tool = Tool::default();
    if kind == Kind::Salvage {
        damaged(&home, &mut tool, events, random)?;
    }
    let waiting = tool.sent.keys().copied().collect();
    let before = image(&home.at("state"))?;
    let record = home.at("record");
    let calls = format!("trace={}", trace::CALLS);
    let mut under = vec![
        "strace",
        "-D",
        "-f",
        "-yy",
        "-xx",
        "--seccomp-bpf",
        "-s",
        "1000000",
    ];
    under.extend(["-e", "signal=none", "-e", &calls, "-o"]);
    under.push(record.to_str().context("a path that is not text")?);
    if kind == Kind::FailingSyncs {
        // Not the first: those make the file, and a start that fails is another row.
        under.extend(["-e", "inject=fsync,fdatasync:error=EIO:when=9+4"]);
    }
    let mut daemon = home.spawn_under(&under)?;
    daemon.wait_until_ready()?;
    live(&daemon, &mut tool, events, random)?;
    daemon.term().or_else(|error| match kind {
        // Its last sync may be one that fails.
        Kind::FailingSyncs => Ok(()),
        _ => Err(error),
    })?;
    let text = clock::until(PATIENCE, Duration::from_millis(5), || {
        let text = fs::read_to_string(&record).ok()?;
        text.trim_end().ends_with("+++").then_some(text)
    });
    let text = text.context("strace does not end its record")?;
    Ok(Recorded {
        before,
        ops: trace::read(&text, &home.at("state"))?,
        sent: tool.sent,
        taken_with: tool.taken_with,
        waiting,
    })
}

/// Delivered at once, held back, delivered together, held back again at the end.
fn live(daemon: &Daemon<'_>, tool: &mut Tool, events: usize, random: &mut Rng) -> Result<()> {
    let order = |op: &str| daemon.order(&json!({ "op": op }));
    tool.speak(daemon, events / 4, random)?;
    order("pause")?;
    tool.speak(daemon, events / 4, random)?;
    order("resume")?;
    tool.speak(daemon, events / 4, random)?;
    daemon.drained(PATIENCE)?;
    order("pause")?;
    tool.speak(daemon, events / 4, random)
}

/// A directory where events wait in a file whose header is gone.
fn damaged(home: &Home, tool: &mut Tool, events: usize, random: &mut Rng) -> Result<()> {
    let daemon = home.start()?;
    daemon.order(&json!({ "op": "pause" }))?;
    tool.speak(&daemon, events, random)?;
    daemon.term()?;
    let mut file = fs::OpenOptions::new().write(true).open(home.queue_file())?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.write_all(&[0; 16])?)
}

/// All files of a directory.
fn image(directory: &Path) -> Result<Image> {
    let mut image = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                image.insert(path.strip_prefix(directory)?.to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(image)
}

/// The tool, and what it said.
#[derive(Debug, Default)]
struct Tool {
    sent: HashMap<Uuid, Ack>,
    taken_with: HashMap<Uuid, Vec<Uuid>>,
}

impl Tool {
    /// Sends so many events on a connection of its own, in bursts.
    fn speak(&mut self, daemon: &Daemon<'_>, events: usize, random: &mut Rng) -> Result<()> {
        let mut stream = UnixStream::connect(daemon.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answers = BufReader::new(stream.try_clone()?);
        let mut left = events;
        while left > 0 {
            let burst = random.usize(1..=BURST).min(left);
            left -= burst;
            let (mut bytes, mut silent, mut asked) = (Vec::new(), Vec::new(), 0);
            for number in 0..burst {
                // The last of a burst is answered: then those before it were taken.
                let ack = match random.u32(0..10) {
                    0..2 if number + 1 < burst => Ack::None,
                    2..4 => Ack::Synced,
                    _ => Ack::Queued,
                };
                let id = Lines::new(ack).push(&mut bytes);
                self.sent.insert(id, ack);
                if ack == Ack::None {
                    silent.push(id);
                } else {
                    self.taken_with.insert(id, std::mem::take(&mut silent));
                    asked += 1;
                }
            }
            stream.write_all(&bytes)?;
            for _ in 0..asked {
                let mut line = String::new();
                answers.read_line(&mut line)?;
                // Refused ones are not promised; which they were, the record says.
                let _: Value =
                    serde_json::from_str(&line).with_context(|| format!("no answer but {line:?}"))?;
            }
        }
        Ok(())
    }
}
