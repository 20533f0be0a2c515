//! Tools that write all the time, each in a thread, whatever happens to the daemon: over the socket with each of the
//! acknowledgements, into the spool, through the gateway. What was not answered is said again with the same id.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock;

/// How long a writer waits for an answer, and in all for a daemon that takes its event.
const PATIENCE: Duration = Duration::from_secs(10);
/// See [`PATIENCE`].
const LOST_PATIENCE: Duration = Duration::from_secs(60);

/// By which door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The socket, with this `ack`.
    Socket(&'static str),
    /// The spool, while the daemon runs or not.
    Spool,
    /// HTTP, over a Unix socket.
    Gateway,
}

/// What one writer does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habit {
    /// Its tool.
    pub(super) tool: &'static str,
    /// By which door.
    pub(super) door: Door,
    /// Events at once.
    pub(super) at_once: usize,
    /// Between two times.
    pub(super) pause: Duration,
    /// Bytes of an event beside what it needs.
    pub(super) pad: usize,
    /// One event in so many is bad; 0: none.
    pub(super) bad: u64,
}

/// What all writers share.
#[derive(Debug)]
pub(super) struct Field {
    /// The home of the daemon.
    pub(super) root: PathBuf,
    pub(super) begun: Instant,
    pub(super) done: AtomicBool,
    /// By tool: each acknowledged event, with the millisecond.
    acknowledged: Mutex<HashMap<&'static str, HashMap<u128, u64>>>,
}

impl Field {
    pub(super) fn new(root: &Path, begun: Instant) -> Arc<Self> {
        Arc::new(Self {
            root: root.to_owned(),
            begun,
            done: AtomicBool::new(false),
            acknowledged: Mutex::default(),
        })
    }

    /// Milliseconds since the start.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The acknowledged events of a tool.
    pub(super) fn acknowledged(&self, tool: &str) -> HashMap<u128, u64> {
        let all = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(tool).cloned().unwrap_or_default()
    }

    fn acknowledge(&self, tool: &'static str, id: Uuid) {
        let now = self.now_ms();
        let mut all = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(tool).or_default().entry(id.as_u128()).or_insert(now);
    }

    /// A writer begins.
    pub(super) fn start(self: &Arc<Self>, habit: Habit) -> JoinHandle<Result<()>> {
        let field = Arc::clone(self);
        std::thread::spawn(move || {
            let writer = Writer {
                field,
                habit,
                unanswered: Vec::new(),
                laid: HashSet::new(),
                made: 0,
            };
            writer
                .run()
                .with_context(|| format!("the writer of {} ({:?})", habit.tool, habit.door))
        })
    }
}

struct Writer {
    field: Arc<Field>,
    habit: Habit,
    /// Ids with their lines.
    unanswered: Vec<(Uuid, String)>,
    /// Those that are, or were, in the spool.
    laid: HashSet<Uuid>,
    made: u64,
}

impl Writer {
    fn run(mut self) -> Result<()> {
        let mut well = clock::now();
        loop {
            let done = self.field.done.load(Ordering::Relaxed);
            if !done && self.unanswered.len() < self.habit.at_once {
                self.make();
            }
            if self.unanswered.is_empty() {
                return Ok(());
            }
            let before = self.unanswered.len();
            match self.habit.door {
                Door::Socket(ack) => self.by_socket(ack)?,
                Door::Spool => self.by_spool()?,
                Door::Gateway => self.by_gateway()?,
            }
            if self.unanswered.len() < before {
                well = clock::now();
            }
            ensure!(
                well.elapsed() < LOST_PATIENCE,
                "{} events are taken by nobody",
                self.unanswered.len()
            );
            clock::pause(self.habit.pause);
        }
    }

    fn make(&mut self) {
        for _ in 0..self.habit.at_once {
            let id = Uuid::now_v7();
            self.made += 1;
            let ack = match self.habit.door {
                Door::Socket(ack) => ack,
                Door::Spool | Door::Gateway => "queued",
            };
            let mut line = json!({
                "tool": self.habit.tool, "event": "ran", "id": id.to_string(),
                "properties": {
                    "bad": self.habit.bad > 0 && self.made.is_multiple_of(self.habit.bad),
                    "pad": "x".repeat(self.habit.pad), "number": self.made,
                },
            });
            match self.habit.door {
                Door::Spool => line["time"] = ((clock::wall() * 1e3) as u64).into(),
                _ => line["ack"] = ack.into(),
            }
            self.unanswered.push((id, format!("{line}\n")));
        }
    }

    fn text(&self) -> String {
        self.unanswered.iter().map(|(_, line)| line.as_str()).collect()
    }

    /// One connection; what is answered is taken off. An error is an answer that must not be.
    fn by_socket(&mut self, ack: &str) -> Result<()> {
        let Ok(mut stream) = UnixStream::connect(self.field.root.join("s")) else {
            return Ok(());
        };
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.set_write_timeout(Some(PATIENCE));
        let Ok(reading) = stream.try_clone() else {
            return Ok(());
        };
        if stream.write_all(self.text().as_bytes()).is_err() {
            return Ok(());
        }
        if ack == "none" {
            self.unanswered.clear();
            return Ok(());
        }
        let mut answers = BufReader::new(reading).lines();
        let mut kept = Vec::new();
        for (id, line) in std::mem::take(&mut self.unanswered) {
            match answers.next() {
                Some(Ok(answer)) => {
                    if !self.hear(id, &answer)? {
                        kept.push((id, line));
                    }
                }
                _ => kept.push((id, line)),
            }
        }
        self.unanswered = kept;
        Ok(())
    }

    /// Whether that was the last word about it.
    fn hear(&self, id: Uuid, answer: &str) -> Result<bool> {
        let Ok(said) = serde_json::from_str::<Value>(answer) else {
            return Ok(false);
        };
        match (said["status"].as_str(), said["error"].as_str()) {
            (Some("queued" | "synced" | "duplicate"), _) => {
                ensure!(said["id"] == id.to_string(), "the answer for {id} is {answer}");
                self.field.acknowledge(self.habit.tool, id);
                Ok(true)
            }
            (Some("declined"), _) => Ok(true),
            (_, Some("shutting_down" | "storage" | "queue_full" | "rate_limited")) => Ok(false),
            _ => bail!("an event was answered with {answer}"),
        }
    }

    /// A file for each; taken is what has gone from the directory. What is still there is written again: that makes the
    /// daemon look, which after a full disk it would do by itself within a minute.
    fn by_spool(&mut self) -> Result<()> {
        let spool = self.field.root.join("state/spool");
        let tool = self.habit.tool;
        let mut waiting = Vec::new();
        for (id, line) in std::mem::take(&mut self.unanswered) {
            let name = spool.join(format!("{id}.{tool}.ndjson"));
            if self.laid.contains(&id) && !name.exists() {
                self.laid.remove(&id);
                self.field.acknowledge(tool, id);
                continue;
            }
            let beside = spool.join(format!(".{id}.tmp"));
            match fs::write(&beside, &line).and_then(|()| fs::rename(&beside, &name)) {
                Ok(()) => drop(self.laid.insert(id)),
                // The disk is full.
                Err(_) => drop(fs::remove_file(&beside)),
            }
            waiting.push((id, line));
        }
        self.unanswered = waiting;
        Ok(())
    }

    /// One request; all of it is taken, or nothing.
    fn by_gateway(&mut self) -> Result<()> {
        let Ok(mut stream) = UnixStream::connect(self.field.root.join("g")) else {
            return Ok(());
        };
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let body = self.text();
        let head = format!(
            "POST /t/{}/v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            self.habit.tool,
            body.len()
        );
        let mut answer = String::new();
        if stream.write_all((head + &body).as_bytes()).is_err() || stream.read_to_string(&mut answer).is_err()
        {
            return Ok(());
        }
        match answer.split(' ').nth(1) {
            Some("200") => {
                for (id, _) in self.unanswered.drain(..) {
                    self.field.acknowledge(self.habit.tool, id);
                }
                Ok(())
            }
            None | Some("503" | "429") => Ok(()),
            Some(_) => bail!("the gateway answered {answer}"),
        }
    }
}
