//! SQLite's own `quick_check` after an unclean stop: in a thread and on a connection of its own, which only reads,
//! so that neither the start nor an append waits for it.
//!
//! While it reads, the WAL cannot be begun anew. Where that would let the WAL grow too far, the writer stops the
//! check and starts it again when it has nothing to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::mpsc;

use crate::command::Command;
use crate::error::{Class, classify};
use crate::file::Place;

/// How often a check that was stopped is begun again.
const TRIES: u32 = 5;

/// Steps of SQLite's machine between two looks at whether to stop: some microseconds.
const STEPS: i32 = 1000;

/// What a check said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// `ok`.
    Sound,
    /// The first fault.
    Damage(String),
    /// It was stopped, or could not read.
    Unknown,
}

#[derive(Debug)]
struct Running {
    stop: Arc<AtomicBool>,
    found: Arc<OnceLock<Found>>,
    thread: JoinHandle<()>,
}

/// The check that runs, if one does.
#[derive(Debug, Default)]
pub(crate) struct Integrity {
    running: Option<Running>,
    tries: u32,
    pending: bool,
}

impl Integrity {
    /// Of a file that has to be checked (`pending`), or not.
    pub(crate) fn of(pending: bool) -> Self {
        Self {
            pending,
            ..Self::default()
        }
    }

    /// Starts a check; when it has ended it wakes the writer by an empty command.
    pub(crate) fn start(&mut self, place: &Place, wake: mpsc::WeakSender<Command>) {
        self.stop();
        self.pending = true;
        self.tries += 1;
        let Ok(connection) = place.reader() else { return };
        let stop = Arc::new(AtomicBool::new(false));
        let found = Arc::new(OnceLock::new());
        let (stopped, result) = (Arc::clone(&stop), Arc::clone(&found));
        let thread = std::thread::Builder::new()
            .name("queue-check".to_owned())
            .spawn(move || {
                let _ = result.set(check(connection, stopped));
                if let Some(wake) = wake.upgrade() {
                    // Where the channel is full the writer is awake.
                    let _ = wake.try_send(Command::Wake);
                }
            });
        self.running = thread.ok().map(|thread| Running { stop, found, thread });
    }

    /// Stops the check and waits until its connection is closed. It stays pending.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop.store(true, Ordering::Relaxed);
            // What it found, if it was just done, another one will find.
            let _ = running.thread.join();
        }
    }

    /// What the check found, once it has ended.
    pub(crate) fn take(&mut self) -> Option<Found> {
        let running = self.running.take_if(|running| running.found.get().is_some())?;
        // All that is left of the thread is its end.
        let _ = running.thread.join();
        let found = Arc::into_inner(running.found)
            .and_then(OnceLock::into_inner)
            .unwrap_or(Found::Unknown);
        self.pending = found == Found::Unknown;
        Some(found)
    }

    /// Whether a check has still to come to its end.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending
    }

    /// Whether a check has to come that was never begun.
    pub(crate) fn is_owed(&self) -> bool {
        self.pending && self.tries == 0
    }

    /// Whether a check was stopped that is to be begun again.
    pub(crate) fn wants_another_try(&self) -> bool {
        self.pending && self.running.is_none() && self.tries < TRIES
    }
}

fn check(connection: Connection, stop: Arc<AtomicBool>) -> Found {
    if connection
        .progress_handler(STEPS, Some(move || stop.load(Ordering::Relaxed)))
        .is_err()
    {
        return Found::Unknown;
    }
    match connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)) {
        Ok(found) if found == "ok" => Found::Sound,
        Ok(found) => Found::Damage(found),
        Err(error) if classify(&error) == Class::Corrupt => Found::Damage(error.to_string()),
        Err(_) => Found::Unknown,
    }
}
