//! A tool with events in flight: it writes as long as fewer than its window are unanswered.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use uuid::Uuid;

use crate::lines::{Ack, LINE, Lines};

/// A sample of ids is kept: one of so many.
const SAMPLE: u64 = 1000;

/// How an answer to an accepted event begins, by when it is answered.
const fn accepted(ack: Ack) -> &'static [u8] {
    match ack {
        Ack::Synced => br#"{"ok":true,"status":"synced""#,
        Ack::Queued | Ack::None => br#"{"ok":true,"status":"queued""#,
    }
}

/// Sends `events` with at most `window` unanswered, and waits for every answer. Returns a sample of their ids.
///
/// # Errors
/// When an answer is another than the one that was asked for, or the connection breaks.
pub(crate) fn send(socket: &Path, events: u64, window: u64, ack: Ack) -> Result<Vec<Uuid>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut ready = Ready::new(events, ack);
    let (mut sent, mut answered) = (0, 0);
    let mut answers = Answers::new(ack);
    while answered < events {
        let now = (window - (sent - answered)).min(events - sent);
        ready.make(now);
        stream
            .write_all(ready.lines(now))
            .context("cannot write events")?;
        sent += now;
        // While the daemon is at work: a tool has its next events from its own work, not from ours.
        ready.make(window);
        answered += answers.read(&mut stream)?;
    }
    Ok(ready.sample)
}

/// Lines that are made before they can be sent.
struct Ready {
    lines: Lines,
    /// Of the same length each.
    bytes: Vec<u8>,
    taken: usize,
    made: u64,
    most: u64,
    sample: Vec<Uuid>,
}

impl Ready {
    fn new(most: u64, ack: Ack) -> Self {
        Self {
            lines: Lines::new(ack),
            bytes: Vec::new(),
            taken: 0,
            made: 0,
            most,
            sample: Vec::new(),
        }
    }

    /// Makes lines until so many are ready, or all are made.
    fn make(&mut self, count: u64) {
        self.bytes.drain(..std::mem::take(&mut self.taken));
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        while self.bytes.len() < count.saturating_mul(LINE + 1) && self.made < self.most {
            let id = self.lines.push(&mut self.bytes);
            if self.made.is_multiple_of(SAMPLE) {
                self.sample.push(id);
            }
            self.made += 1;
        }
    }

    /// The next lines, which are then sent.
    fn lines(&mut self, count: u64) -> &[u8] {
        self.taken = usize::try_from(count).unwrap_or(usize::MAX) * (LINE + 1);
        &self.bytes[..self.taken]
    }
}

/// The same over several connections at once, a thread for each.
///
/// # Errors
/// The first of theirs.
pub(crate) fn send_over(
    socket: &Path,
    connections: u64,
    events: u64,
    window: u64,
    ack: Ack,
) -> Result<Vec<Uuid>> {
    std::thread::scope(|scope| {
        let each = events / connections;
        let threads: Vec<_> = (0..connections)
            .map(|_| scope.spawn(move || send(socket, each, window, ack)))
            .collect();
        let mut samples = Vec::new();
        for thread in threads {
            match thread.join() {
                Ok(sample) => samples.extend(sample?),
                Err(_) => bail!("a client panicked"),
            }
        }
        Ok(samples)
    })
}

/// Reads answer lines.
#[derive(Debug)]
pub(crate) struct Answers {
    accepted: &'static [u8],
    buffer: Vec<u8>,
    /// How much of the buffer is an unfinished line.
    rest: usize,
}

impl Answers {
    /// Of events with that `ack`.
    pub(crate) fn new(ack: Ack) -> Self {
        Self {
            accepted: accepted(ack),
            buffer: vec![0; 64 * 1024],
            rest: 0,
        }
    }

    /// One read; how many answers it finished.
    ///
    /// # Errors
    /// When an answer is another than the one that was asked for, or the connection breaks.
    pub(crate) fn read(&mut self, stream: &mut UnixStream) -> Result<u64> {
        let read = loop {
            match stream.read(&mut self.buffer[self.rest..]) {
                // Who was stopped and continued meanwhile reads on: a socket with a timeout says so (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.context("no answer")?,
            }
        };
        ensure!(read > 0, "the daemon closed the connection");
        let filled = self.rest + read;
        let mut count = 0;
        let mut from = 0;
        while let Some(length) = self.buffer[from..filled].iter().position(|byte| *byte == b'\n') {
            let line = &self.buffer[from..from + length];
            if !line.starts_with(self.accepted) {
                bail!("an event was answered with {}", String::from_utf8_lossy(line));
            }
            count += 1;
            from += length + 1;
        }
        self.buffer.copy_within(from..filled, 0);
        self.rest = filled - from;
        ensure!(self.rest < self.buffer.len(), "an answer is too long");
        Ok(count)
    }
}
