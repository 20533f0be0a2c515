//! Tools that go on speaking whatever happens to the daemon: an event that was not answered is sent again
//! with the same id.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use uuid::Uuid;

use crate::clock;
use crate::lines::{Ack, Lines};

/// Events in flight.
const WINDOW: usize = 32;

/// Events that a tool may send until the next round: it bounds what 500 rounds leave in memory.
const A_ROUND: u64 = 1500;

/// How long a tool waits for an answer or a daemon.
const PATIENCE: Duration = Duration::from_secs(20);

/// The tools, each in a thread.
#[derive(Debug)]
pub(super) struct Tools {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<Vec<Uuid>>>>,
}

#[derive(Debug)]
struct Shared {
    socket: PathBuf,
    rounds: AtomicU64,
    done: AtomicBool,
}

impl Tools {
    /// Starts them; they wait for the first round.
    pub(super) fn start(count: usize, socket: &Path) -> Self {
        let shared = Arc::new(Shared {
            socket: socket.to_owned(),
            rounds: AtomicU64::new(0),
            done: AtomicBool::new(false),
        });
        let threads = (0..count)
            .map(|number| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || Tool::new(number).run(&shared))
            })
            .collect();
        Self { shared, threads }
    }

    /// The next round: they may send again.
    pub(super) fn go(&self) {
        self.shared.rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until everything that was sent has been answered; the ids of all events.
    ///
    /// # Errors
    /// When an answer was neither `queued` nor `duplicate`.
    pub(super) fn finish(self) -> Result<Vec<Uuid>> {
        self.shared.done.store(true, Ordering::Relaxed);
        let mut ids = Vec::new();
        for thread in self.threads {
            match thread.join() {
                Ok(acknowledged) => ids.extend(acknowledged?),
                Err(_) => bail!("a tool panicked"),
            }
        }
        Ok(ids)
    }
}

/// One tool.
struct Tool {
    queued: Lines,
    synced: Lines,
    unanswered: VecDeque<Uuid>,
    acknowledged: Vec<Uuid>,
    made: u64,
    number: usize,
}

impl Tool {
    fn new(number: usize) -> Self {
        Self {
            queued: Lines::new(Ack::Queued),
            synced: Lines::new(Ack::Synced),
            unanswered: VecDeque::new(),
            acknowledged: Vec::new(),
            made: 0,
            number,
        }
    }

    fn run(mut self, shared: &Shared) -> Result<Vec<Uuid>> {
        let mut last_success = clock::now();
        loop {
            let may_make = !shared.done.load(Ordering::Relaxed);
            if !may_make && self.unanswered.is_empty() {
                return Ok(self.acknowledged);
            }
            let before = self.acknowledged.len();
            self.connected(shared)?;
            if self.acknowledged.len() > before || self.unanswered.is_empty() {
                last_success = clock::now();
            }
            ensure!(
                last_success.elapsed() < PATIENCE,
                "tool {} is not answered",
                self.number
            );
            clock::pause(Duration::from_millis(1));
        }
    }

    /// One connection, until it breaks or there is nothing to say. An error is an answer that must not be.
    fn connected(&mut self, shared: &Shared) -> Result<()> {
        let Ok(mut stream) = UnixStream::connect(&shared.socket) else {
            return Ok(());
        };
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let Ok(reading) = stream.try_clone() else {
            return Ok(());
        };
        let mut answers = BufReader::new(reading);
        // What the last daemon did not answer goes first, with the ids it had.
        let mut again: Vec<Uuid> = self.unanswered.iter().copied().collect();
        let mut line = String::new();
        loop {
            let mut out = Vec::new();
            for id in again.drain(..) {
                self.lines(id).push_with(id, &mut out);
            }
            let allowed = shared.rounds.load(Ordering::Relaxed) * A_ROUND;
            while self.unanswered.len() < WINDOW
                && self.made < allowed
                && !shared.done.load(Ordering::Relaxed)
            {
                let id = Uuid::now_v7();
                self.lines(id).push_with(id, &mut out);
                self.unanswered.push_back(id);
                self.made += 1;
            }
            if self.unanswered.is_empty() {
                return Ok(());
            }
            if stream.write_all(&out).is_err() {
                return Ok(());
            }
            // Half of what is in flight, so that the other half is in flight when the daemon dies.
            for _ in 0..self.unanswered.len().div_ceil(2) {
                line.clear();
                match answers.read_line(&mut line) {
                    Ok(read) if read > 0 && line.ends_with('\n') => self.hear(&line)?,
                    _ => return Ok(()),
                }
            }
        }
    }

    fn hear(&mut self, line: &str) -> Result<()> {
        let answer: Value = serde_json::from_str(line)?;
        let status = answer["status"].as_str().unwrap_or_default();
        // A daemon that was told to end says so; the event is sent again.
        if answer["error"] == "shutting_down" {
            return Ok(());
        }
        ensure!(
            matches!(status, "queued" | "synced" | "duplicate"),
            "an event was answered with {line}"
        );
        let Some(id) = self.unanswered.pop_front() else {
            bail!("an answer too many: {line}")
        };
        ensure!(answer["id"] == id.to_string(), "the answer for {id} is {line}");
        self.acknowledged.push(id);
        Ok(())
    }

    /// One event in eight asks for an fsync: the same ones when they are sent again.
    fn lines(&mut self, id: Uuid) -> &mut Lines {
        if id.as_u128().is_multiple_of(8) {
            &mut self.synced
        } else {
            &mut self.queued
        }
    }
}
