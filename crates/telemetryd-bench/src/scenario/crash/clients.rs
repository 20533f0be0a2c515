//! Tools that go on speaking whatever becomes of the daemon, and a list of what they were promised.
//!
//! `queued` and `synced`: an event that was not answered, or refused, is sent again with its own id. `none`: it is
//! written once; whether it got anywhere, the tool does not know.

use std::collections::{HashSet, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use uuid::Uuid;

use crate::clock;
use crate::lines::{Ack, Lines};

/// Tools at once.
const TOOLS: usize = 3;

/// Events that a tool writes at once, and has in flight.
const WINDOW: usize = 16;

/// Between two bursts of a tool: a few thousand events a second are enough to meet any fault.
const PAUSE: Duration = Duration::from_millis(2);

/// The same of a tool that waits for no answer: slow enough not to be what the daemon is busy with.
const SILENT_PAUSE: Duration = Duration::from_millis(20);

/// How long a tool goes on when nothing is answered.
const PATIENCE: Duration = Duration::from_secs(40);

/// The tools, each in a thread.
#[derive(Debug)]
pub(super) struct Clients {
    told: Arc<Told>,
    threads: Mutex<Vec<JoinHandle<Result<()>>>>,
}

/// What they know together.
#[derive(Debug)]
struct Told {
    socket: PathBuf,
    ack: Ack,
    end: AtomicBool,
    /// Counted up by every [`Clients::mark`]; an event belongs to the number that it was made under.
    marks: AtomicU64,
    refused: AtomicU64,
    ledger: Mutex<Ledger>,
}

/// What was promised.
#[derive(Debug, Default)]
struct Ledger {
    /// Answered as accepted; of `none`, handed to the socket.
    promised: HashSet<Uuid>,
    /// Of them, those made since the last mark.
    fresh: Vec<Uuid>,
    /// When the first event made since the last mark was answered.
    returned: Option<Instant>,
}

impl Told {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    fn promise(&self, id: Uuid, mark: u64) {
        let mut ledger = self.ledger();
        ledger.promised.insert(id);
        if mark == self.marks.load(Ordering::Relaxed) {
            ledger.fresh.push(id);
            ledger.returned.get_or_insert_with(clock::now);
        }
    }
}

impl Clients {
    /// Starts them.
    pub(super) fn start(socket: &Path, ack: Ack) -> Self {
        let told = Arc::new(Told {
            socket: socket.to_owned(),
            ack,
            end: AtomicBool::new(false),
            marks: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            ledger: Mutex::default(),
        });
        let threads = (0..TOOLS)
            .map(|_| {
                let told = Arc::clone(&told);
                std::thread::spawn(move || match told.ack {
                    Ack::None => write_only(&told),
                    Ack::Queued | Ack::Synced => Tool::new(&told).run(),
                })
            })
            .collect();
        Self {
            told,
            threads: Mutex::new(threads),
        }
    }

    /// Only events that are made from now on count as a sign of service.
    pub(super) fn mark(&self) {
        let mut ledger = self.told.ledger();
        self.told.marks.fetch_add(1, Ordering::Relaxed);
        ledger.fresh.clear();
        ledger.returned = None;
    }

    /// When the first event made since the mark was answered (of `none`: handed over).
    pub(super) fn returned(&self) -> Option<Instant> {
        self.told.ledger().returned
    }

    /// Of the events made since the mark, those that were promised.
    pub(super) fn fresh(&self) -> Vec<Uuid> {
        self.told.ledger().fresh.clone()
    }

    /// How many events were promised so far.
    pub(super) fn count(&self) -> usize {
        self.told.ledger().promised.len()
    }

    /// How often an event was refused, and sent again.
    pub(super) fn refused(&self) -> u64 {
        self.told.refused.load(Ordering::Relaxed)
    }

    /// No new events; waits until everything that was sent is answered. What was promised.
    ///
    /// # Errors
    /// When an answer was none that a tool can be given, or no answer came.
    pub(super) fn finish(&self) -> Result<HashSet<Uuid>> {
        self.told.end.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            match thread.join() {
                Ok(ended) => ended?,
                Err(_) => bail!("a tool panicked"),
            }
        }
        Ok(std::mem::take(&mut self.told.ledger().promised))
    }
}

/// A tool of `ack: none`: it writes, and is told nothing.
fn write_only(told: &Told) -> Result<()> {
    let mut lines = Lines::new(Ack::None);
    while !told.ended() {
        let Ok(mut stream) = UnixStream::connect(&told.socket) else {
            clock::pause(PAUSE);
            continue;
        };
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        while !told.ended() {
            let mark = told.marks.load(Ordering::Relaxed);
            let mut bytes = Vec::new();
            let ids: Vec<Uuid> = (0..WINDOW).map(|_| lines.push(&mut bytes)).collect();
            if stream.write_all(&bytes).is_err() {
                // Some of them may have been taken: that is not known, and nothing was promised.
                break;
            }
            ids.into_iter().for_each(|id| told.promise(id, mark));
            clock::pause(SILENT_PAUSE);
        }
    }
    Ok(())
}

/// A tool that wants an answer.
struct Tool<'t> {
    told: &'t Told,
    lines: Lines,
    /// Written or to be written again, oldest first, with the mark that they were made under.
    unanswered: VecDeque<(Uuid, u64)>,
}

impl<'t> Tool<'t> {
    fn new(told: &'t Told) -> Self {
        Self {
            told,
            lines: Lines::new(told.ack),
            unanswered: VecDeque::new(),
        }
    }

    fn run(mut self) -> Result<()> {
        let mut heard = clock::now();
        while !(self.told.ended() && self.unanswered.is_empty()) {
            let Ok(stream) = UnixStream::connect(&self.told.socket) else {
                ensure!(heard.elapsed() < PATIENCE, "nobody listens");
                clock::pause(PAUSE);
                continue;
            };
            // A daemon that is stopped answers no one: what then follows is for the row to say.
            stream.set_read_timeout(Some(PATIENCE))?;
            if self.connected(stream)? {
                heard = clock::now();
            }
            ensure!(heard.elapsed() < PATIENCE, "nothing is answered");
            clock::pause(PAUSE);
        }
        Ok(())
    }

    /// One connection, until it breaks; whether an event was accepted on it.
    fn connected(&mut self, mut stream: UnixStream) -> Result<bool> {
        let mut answers = BufReader::new(stream.try_clone()?);
        let mut accepted = false;
        loop {
            let mark = self.told.marks.load(Ordering::Relaxed);
            while self.unanswered.len() < WINDOW && !self.told.ended() {
                self.unanswered.push_back((Uuid::now_v7(), mark));
            }
            if self.unanswered.is_empty() {
                return Ok(accepted);
            }
            let mut bytes = Vec::new();
            for (id, _) in &self.unanswered {
                self.lines.push_with(*id, &mut bytes);
            }
            if stream.write_all(&bytes).is_err() {
                return Ok(accepted);
            }
            for _ in 0..self.unanswered.len() {
                let mut line = String::new();
                match answers.read_line(&mut line) {
                    Ok(read) if read > 0 && line.ends_with('\n') => accepted |= self.hear(&line)?,
                    _ => return Ok(accepted),
                }
            }
            clock::pause(PAUSE);
        }
    }

    /// One answer; whether it accepted its event.
    fn hear(&mut self, line: &str) -> Result<bool> {
        let answer: Value = serde_json::from_str(line)?;
        let Some((id, mark)) = self.unanswered.pop_front() else {
            bail!("an answer too many: {line}");
        };
        let refused = matches!(
            answer["error"].as_str(),
            Some("storage" | "shutting_down" | "busy")
        );
        if refused {
            self.told.refused.fetch_add(1, Ordering::Relaxed);
            self.unanswered.push_back((id, mark));
            return Ok(false);
        }
        let wanted = match self.told.ack {
            Ack::Synced => "synced",
            Ack::Queued | Ack::None => "queued",
        };
        let status = answer["status"].as_str().unwrap_or_default();
        ensure!(
            status == wanted || status == "duplicate",
            "an event was answered with {line}"
        );
        ensure!(answer["id"] == id.to_string(), "the answer for {id} is {line}");
        self.told.promise(id, mark);
        Ok(true)
    }
}
