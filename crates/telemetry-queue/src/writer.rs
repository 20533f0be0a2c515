//! The writer thread: it takes the first command, gathers those that wait already, does them in one transaction,
//! and answers after the commit. Group commit falls out of the shape.
//!
//! I1: answers come after the commit, for `synced` after its fsync. I6: a group is bounded by commands and bytes.
//! I7: one thread owns the connection. I11: what is done between commands comes to an end, and then it sleeps.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, watch};

use crate::command::{Command, Purge, Reply};
use crate::error::{Class, classify, classify_at_start};
use crate::file::{Opened, Place, checkpoint};
use crate::integrity::{Found, Integrity};
use crate::reserve::{Reserve, STEP};
use crate::store::Store;
use crate::store::evict::wal_limit;
use crate::types::{ErrorKind, Id, Moment, OpenReport, Purged, QueueError, View};

mod group;
mod idle;

/// Commands of one group: the channel's worth.
const GROUP_COMMANDS: usize = crate::handle::CHANNEL;

/// Payload bytes of one group: with SQLite's share about 1.2 MiB of WAL, and some milliseconds.
const GROUP_BYTES: usize = 1024 * 1024;

thread_local! {
    /// Pages in the WAL after this thread's last commit.
    static WAL_PAGES: Cell<u64> = const { Cell::new(0) };
}

/// The thread's state.
pub(crate) struct Writer {
    store: Store,
    place: Place,
    commands: mpsc::Receiver<Command>,
    /// For the integrity check's result.
    to_self: mpsc::WeakSender<Command>,
    view: watch::Sender<Arc<View>>,
    closing: Arc<AtomicBool>,
    disk_full: bool,
    /// The file was set aside and no other could be opened yet.
    broken: bool,
    /// A command that ended the last group.
    next: Option<Command>,
    unclean: bool,
    integrity: Integrity,
    reserve: Reserve,
    /// The work between commands failed: not again before the next command.
    tired: bool,
}

/// Reads the small tables, and salvages where they cannot be read.
pub(crate) fn load(
    store: &mut Store,
    place: &Place,
    report: &mut OpenReport,
    at: Moment,
) -> Result<(), QueueError> {
    match store.load() {
        Ok(unbalanced) => {
            report.unbalanced = unbalanced;
            Ok(())
        }
        Err(error) if classify_at_start(&error) == Class::Corrupt => {
            let old = std::mem::replace(&mut store.connection, scratch()?);
            drop(old);
            let aside = place.set_aside(at, &error.to_string())?;
            let Opened {
                connection,
                boot,
                report: again,
            } = place.open(at)?;
            let mut fresh = Store::new(connection, store.limits, boot, at);
            fresh.probe = store.probe;
            *store = fresh;
            *report = OpenReport {
                unclean: true,
                set_aside: Some(aside),
                ..again
            };
            report.unbalanced = store
                .load()
                .map_err(|error| QueueError::sqlite("cannot read the salvaged queue", error))?;
            Ok(())
        }
        Err(error) => Err(QueueError::sqlite("cannot read the queue's books", error)),
    }
}

/// What stands in for a file that was closed.
fn scratch() -> Result<Connection, QueueError> {
    Connection::open_in_memory().map_err(|error| QueueError::sqlite("cannot open a scratch database", error))
}

impl Writer {
    pub(crate) fn new(
        store: Store,
        place: Place,
        commands: mpsc::Receiver<Command>,
        to_self: mpsc::WeakSender<Command>,
        view: watch::Sender<Arc<View>>,
        closing: Arc<AtomicBool>,
        unclean: bool,
    ) -> Self {
        let reserve = Reserve::new(&place.directory);
        let mut writer = Self {
            store,
            place,
            reserve,
            commands,
            to_self,
            view,
            closing,
            disk_full: false,
            broken: false,
            next: None,
            unclean,
            integrity: Integrity::default(),
            tired: false,
        };
        // Before the thread runs: whoever holds the queue sees what waits at once.
        writer.publish();
        writer
    }

    /// Works until the queue is closed.
    pub(crate) fn run(mut self) -> Result<(), QueueError> {
        self.watch_wal();
        if self.unclean {
            self.integrity.start(&self.place, self.to_self.clone());
        }
        while let Some(command) = self.wait() {
            self.turn(command);
            if self.closing.load(Ordering::Acquire) {
                self.commands.close();
            }
        }
        self.close()
    }

    /// The next command; meanwhile the work that can wait.
    fn wait(&mut self) -> Option<Command> {
        if let Some(command) = self.next.take() {
            return Some(command);
        }
        loop {
            match self.commands.try_recv() {
                Ok(command) => return Some(command),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            if self.closing.load(Ordering::Acquire) || !self.work_between_commands() {
                return self.commands.blocking_recv();
            }
        }
    }

    fn turn(&mut self, command: Command) {
        self.tired = false;
        self.hear_integrity_check();
        if self.broken
            && let Err(error) = self.reopen()
        {
            tracing::error!(error = %error, "the queue's file still cannot be opened");
            return refuse(command, &error);
        }
        match group::Job::from(command) {
            Ok(job) => {
                let jobs = self.gather(job);
                self.do_group(jobs);
            }
            Err(command) => self.single(command),
        }
        self.publish();
        self.checkpoint_when_due();
    }

    /// Commands that are not part of a group.
    fn single(&mut self, command: Command) {
        match command {
            Command::Preview { claim, uid, reply } => {
                self.tell(claim.at);
                let result = self.store.preview(&claim, uid);
                self.answer(reply, "cannot look at the next batch", result);
            }
            Command::Purge(purge, reply) => {
                self.tell(purge.at);
                let result = self.purge(&purge);
                let result = self.with_relief(result, |writer| writer.purge(&purge));
                self.answer(reply, "cannot purge", result);
            }
            Command::Requeue(filter, at, reply) => {
                self.tell(at);
                let result = self.store.requeue(&filter);
                self.answer(reply, "cannot put parked events back", result);
            }
            Command::Rows(rows, reply) => {
                let result = self.store.page(&rows);
                self.answer(reply, "cannot list events", result);
            }
            Command::Sent {
                limit,
                uid,
                tool,
                bodies,
                reply,
            } => {
                let result = self.store.list_sent(limit, uid, tool.as_deref(), bodies);
                self.answer(reply, "cannot list what was sent", result);
            }
            Command::Books(uid, reply) => drop(reply.send(Ok(self.store.books(uid)))),
            Command::DestinationStates(reply) => {
                let states = self.store.state.destination_states.clone().into_iter().collect();
                drop(reply.send(Ok(states)));
            }
            Command::SetDestinationState(name, state, reply) => {
                let store = |writer: &mut Self| {
                    let set = |store: &mut Store| store.set_destination_state(&name, &state);
                    writer.store.transaction(set)
                };
                let result = store(self);
                let result = self.with_relief(result, store);
                self.answer(reply, "cannot store a destination's state", result);
            }
            Command::SetLimits(limits, reply) => {
                self.store.limits = limits;
                self.store.next_expiry = 0;
                let result = self.store.transaction(|store| {
                    store.apply_quotas()?;
                    store.make_room()
                });
                if let Err(error) = &result {
                    tracing::warn!(error = %error, "cannot make the queue comply with its new limits yet");
                }
                // The limits hold from now on, whether or not something could go at once.
                self.answer(reply, "cannot apply the limits", Ok(()));
                self.note(result.err().as_ref());
            }
            Command::Checked(reply) => drop(reply.send(Ok(self.store.checked()))),
            Command::Checkpoint(reply) => {
                let result = checkpoint(&self.store.connection, "TRUNCATE").map(|_| ());
                self.answer(reply, "cannot bring the WAL into the file", result);
            }
            Command::Wake => {}
            Command::Append(..) | Command::Claim(..) | Command::Settle(..) | Command::SettleAndClaim(..) => {
                debug_assert!(false, "these are jobs of a group");
            }
        }
    }

    /// Tries once more where the disk was full and room could be made.
    fn with_relief<T>(
        &mut self,
        result: rusqlite::Result<T>,
        again: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        match result {
            Err(error) if classify(&error) == Class::Full => {
                self.relieve();
                again(self)
            }
            result => result,
        }
    }

    /// Makes room on a full disk for what must go on: gives the reserve back, and brings the WAL into the file, so
    /// that it can be begun anew.
    fn relieve(&mut self) {
        self.reserve.release();
        self.bring_wal_in();
        self.reserve.owe_what_is_left();
    }

    /// Brings the WAL into the file as far as the disk has room.
    fn bring_wal_in(&mut self) {
        match checkpoint(&self.store.connection, "PASSIVE") {
            Ok(true) => WAL_PAGES.set(0),
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(error = %error, "cannot bring the WAL into the file on a full disk");
            }
        }
    }

    /// Takes note of the time, and of what it took away.
    fn tell(&mut self, at: Moment) {
        self.store.ages.tell(at);
        if self.store.is_over_age()
            && let Err(error) = self.store.transaction(Store::age_out)
        {
            self.note(Some(&error));
        }
    }

    fn purge(&mut self, purge: &Purge) -> rusqlite::Result<Purged> {
        // A reader would keep the erased pages in the WAL.
        self.integrity.stop();
        let result = self.store.purge(&purge.filter, purge.reason);
        self.place.erase_corrupt(None);
        let emptied = checkpoint(&self.store.connection, "TRUNCATE");
        let purged = result?;
        if emptied? {
            Ok(purged)
        } else {
            Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                Some("erased, but another process that reads the file keeps its WAL".to_owned()),
            ))
        }
    }

    /// Sends an answer; a damaged file is dealt with.
    fn answer<T>(&mut self, reply: Reply<T>, attempt: &str, result: rusqlite::Result<T>) {
        // Whoever has the answer sees what it changed.
        self.publish();
        match result {
            // A caller that went away needs no answer.
            Ok(value) => drop(reply.send(Ok(value))),
            Err(error) => {
                self.note(Some(&error));
                drop(reply.send(Err(QueueError::sqlite(attempt, error))));
            }
        }
    }

    /// After a failure outside of a group: a damaged file is set aside.
    fn note(&mut self, error: Option<&rusqlite::Error>) {
        if let Some(error) = error
            && classify(error) == Class::Corrupt
        {
            self.recover(&error.to_string());
        }
    }

    /// Takes note of what the integrity check found.
    fn hear_integrity_check(&mut self) {
        match self.integrity.take() {
            Some(Found::Damage(fault)) => {
                self.recover(&fault);
                self.store.checked.integrity = Some(fault);
            }
            Some(Found::Sound | Found::Unknown) | None => {}
        }
        self.store.checked.integrity_pending = self.integrity.is_pending();
    }

    /// Sets the damaged file aside, salvages what can be read into a new one, and goes on with that.
    fn recover(&mut self, why: &str) {
        self.integrity.stop();
        self.integrity = Integrity::default();
        match scratch() {
            Ok(scratch) => drop(std::mem::replace(&mut self.store.connection, scratch)),
            Err(error) => tracing::error!(error = %error, "cannot close the damaged file"),
        }
        self.broken = true;
        let result = self
            .place
            .set_aside(self.store.ages.now, why)
            .and_then(|_| self.reopen());
        if let Err(error) = result {
            tracing::error!(error = %error, "cannot go on with a new file yet");
        }
    }

    /// Opens the file again; batches that are under lease stay so where they were saved.
    fn reopen(&mut self) -> Result<(), QueueError> {
        let at = self.store.ages.now;
        let leases: Vec<Id> = self.store.state.leases.keys().copied().collect();
        let Opened {
            connection,
            boot,
            mut report,
        } = self.place.open(at)?;
        let mut store = Store::new(connection, self.store.limits, boot, at);
        store.probe = self.store.probe;
        load(&mut store, &self.place, &mut report, at)?;
        for id in leases {
            let found = store
                .state
                .batches
                .values()
                .find(|batch| batch.id == id)
                .map(|batch| batch.n);
            if let Some(n) = found {
                store.state.lease(n);
            }
        }
        self.store = store;
        self.broken = false;
        self.watch_wal();
        Ok(())
    }

    fn watch_wal(&self) {
        WAL_PAGES.set(0);
        self.store.connection.wal_hook(Some(|_, pages| {
            WAL_PAGES.set(u64::from(pages.unsigned_abs()));
            Ok(())
        }));
    }

    fn wal_bytes() -> u64 {
        WAL_PAGES.get() * 16_384
    }

    /// Brings the WAL into the file when it has grown; after the answers, so that none waits for it.
    fn checkpoint_when_due(&mut self) {
        let limit = wal_limit(self.store.limits.max_bytes);
        if Self::wal_bytes() < limit || self.broken {
            return;
        }
        match checkpoint(&self.store.connection, "PASSIVE") {
            Ok(true) => WAL_PAGES.set(0),
            // The integrity check reads: it is put off rather than let the WAL grow.
            Ok(false) if Self::wal_bytes() > 2 * limit => self.integrity.stop(),
            Ok(false) => {}
            Err(error) => tracing::warn!(error = %error, "cannot bring the WAL into the file"),
        }
    }

    fn publish(&mut self) {
        let next = self.store.next_view(&self.view.borrow(), self.disk_full);
        if let Some(view) = next {
            self.view.send_replace(Arc::new(view));
        }
    }

    /// Marks the file as closed, with everything in it.
    fn close(mut self) -> Result<(), QueueError> {
        self.integrity.stop();
        if self.broken {
            return Ok(());
        }
        let mark = |writer: &mut Self| {
            writer.store.execute("UPDATE meta SET clean = 1", [])?;
            checkpoint(&writer.store.connection, "TRUNCATE")
        };
        let marked = mark(&mut self);
        match self.with_relief(marked, mark) {
            Ok(_) => {}
            // Nothing is lost by it: the next start looks closer.
            Err(error) if classify(&error) == Class::Full => {
                tracing::warn!(error = %error, "cannot mark the queue as closed on a full disk");
            }
            Err(error) => return Err(QueueError::sqlite("cannot close the queue", error)),
        }
        self.store.connection.flush_prepared_statement_cache();
        let closed = self
            .store
            .connection
            .close()
            .map_err(|(_, error)| QueueError::sqlite("cannot close the queue", error));
        // The next start may find the disk full; where nothing waits it loses nothing by that.
        if self.store.state.queued > 0 {
            let _ = self.reserve.ensure(STEP / 2);
        }
        closed
    }
}

/// Answers a command that cannot be carried out.
fn refuse(command: Command, why: &QueueError) {
    fn send<T>(reply: Reply<T>, why: &QueueError) {
        let kind = if why.kind == ErrorKind::DiskFull {
            ErrorKind::DiskFull
        } else {
            ErrorKind::Io
        };
        drop(reply.send(Err(QueueError {
            kind,
            attempt: format!("the queue's file is not open: {why}"),
            source: None,
        })));
    }
    match command {
        Command::Append(_, reply) => send(reply, why),
        Command::Claim(_, reply) | Command::Preview { reply, .. } => send(reply, why),
        Command::Settle(_, reply) => send(reply, why),
        Command::SettleAndClaim(_, _, reply) => send(reply, why),
        Command::Purge(_, reply) => send(reply, why),
        Command::Requeue(_, _, reply) => send(reply, why),
        Command::Rows(_, reply) => send(reply, why),
        Command::Sent { reply, .. } => send(reply, why),
        Command::Books(_, reply) => send(reply, why),
        Command::DestinationStates(reply) => send(reply, why),
        Command::SetDestinationState(_, _, reply)
        | Command::SetLimits(_, reply)
        | Command::Checkpoint(reply) => {
            send(reply, why);
        }
        Command::Checked(reply) => send(reply, why),
        Command::Wake => {}
    }
}
