//! The writer thread: it takes the first command, gathers those that wait already, does them in one transaction,
//! and answers after the commit. Group commit falls out of the shape.
//!
//! I1: answers come after the commit, for `synced` after its fsync. I6: a group is bounded by commands and bytes.
//! I7: one thread owns the connection. I11: what is done between commands comes to an end, and then it sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, watch};

use crate::command::Command;
use crate::error::{Class, classify};
use crate::file::Place;
use crate::integrity::Integrity;
use crate::lock::Lock;
use crate::reserve::{Reserve, STEP};
use crate::store::Store;
use crate::types::{QueueError, View};

mod group;
mod idle;
mod long;
mod recover;
mod single;
mod wal;

pub(crate) use recover::load;

/// Commands of one group: the channel's worth.
const GROUP_COMMANDS: usize = crate::handle::CHANNEL;

/// Payload bytes of one group: with SQLite's share about 1.2 MiB of WAL, and some milliseconds.
const GROUP_BYTES: usize = 1024 * 1024;

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
    /// What takes long and is done between the others.
    longs: long::Longs,
    /// The check in the background may read.
    checks: bool,
    integrity: Integrity,
    reserve: Reserve,
    /// The last checkpoint failed, which was said.
    wal_is_stuck: bool,
    /// A sync failed, and what it should have written was not written anew yet.
    sync_failed: bool,
    /// The work between commands failed: not again before the next command.
    tired: bool,
    /// What a purge has erased may still be in the WAL.
    erased: bool,
    /// The last group held what several appends brought.
    several: bool,
    /// There may be more free pages than when they were counted last.
    may_be_free: bool,
    /// What was shown last has not been told to those who watch.
    untold: bool,
    /// The file was salvaged because its rows were not what its books said.
    mended: bool,
    /// Held until the connection is closed, however the thread ends (I7).
    _lock: Lock,
}

/// The ends by which other threads reach the writer.
pub(crate) struct Ends {
    pub(crate) commands: mpsc::Receiver<Command>,
    /// By which the integrity check wakes the writer.
    pub(crate) to_self: mpsc::WeakSender<Command>,
    pub(crate) view: watch::Sender<Arc<View>>,
    pub(crate) closing: Arc<AtomicBool>,
}

/// How the queue was opened.
pub(crate) struct Opening {
    /// The last owner did not close it.
    pub(crate) unclean: bool,
    /// For one job: see [`Options`](crate::Options).
    pub(crate) job: bool,
}

impl Writer {
    pub(crate) fn new(
        store: Store,
        place: Place,
        lock: Lock,
        ends: Ends,
        Opening { unclean, job }: Opening,
    ) -> Self {
        let Ends {
            commands,
            to_self,
            view,
            closing,
        } = ends;
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
            longs: long::Longs::default(),
            checks: false,
            integrity: Integrity::of(unclean),
            wal_is_stuck: false,
            sync_failed: false,
            tired: false,
            // A purge may have been interrupted before the WAL was emptied.
            erased: unclean,
            several: false,
            untold: false,
            may_be_free: true,
            mended: false,
            _lock: lock,
        };
        writer.store.checked.integrity_pending = unclean;
        if job {
            writer.inherit_let_go();
        }
        // Before the thread runs: whoever holds the queue sees what waits at once.
        writer.publish();
        writer
    }

    /// Takes it that an earlier owner of the file has let go of something.
    fn inherit_let_go(&mut self) {
        self.store.let_go |= !self.store.state.lanes.is_empty();
    }

    /// Works until the queue is closed.
    pub(crate) fn run(mut self) -> Result<(), QueueError> {
        self.watch_wal();
        while let Some(command) = self.wait() {
            self.turn(command);
            if !self.longs.pause_goes_on() {
                self.long_work();
            }
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
                Err(TryRecvError::Disconnected) if !self.long_work() => return None,
                Err(TryRecvError::Disconnected) => continue,
                Err(TryRecvError::Empty) => {}
            }
            if self.pauses() || self.long_work() {
                continue;
            }
            if self.closing.load(Ordering::Acquire) || !self.work_between_commands() {
                return self.commands.blocking_recv();
            }
        }
    }

    fn turn(&mut self, command: Command) {
        self.tired = false;
        // Asked for once: it holds for the file that comes after a broken one, too.
        self.checks |= matches!(command, Command::Check);
        self.hear_integrity_check();
        if self.broken
            && let Err(error) = self.reopen()
        {
            tracing::error!(error = %error, "the queue's file still cannot be opened");
            return recover::refuse(command, &error);
        }
        match group::Job::from(command) {
            Ok(job) => {
                let jobs = self.gather(job);
                // What appends evict, appends use again.
                self.may_be_free |= !jobs.iter().all(group::Job::is_append);
                self.do_group(jobs);
            }
            Err(command) => {
                self.may_be_free = true;
                self.single(command);
            }
        }
        self.publish();
        self.checkpoint_when_due();
    }

    /// Shows what changed, and tells whoever watches.
    fn publish(&mut self) {
        self.show();
        if std::mem::take(&mut self.untold) {
            self.view.send_modify(|_| {});
        }
    }

    /// Shows what changed to who looks, and tells nobody yet: an answer that waits for no other thread's wake-up is
    /// heard sooner.
    fn show(&mut self) {
        let next = self.store.next_view(&self.view.borrow(), self.disk_full);
        if let Some(view) = next {
            self.view.send_if_modified(|shown| {
                *shown = Arc::new(view);
                false
            });
            self.untold = true;
        }
    }

    /// Marks the file as closed, with everything in it; not one whose check has not come to its end: the next owner
    /// checks it.
    fn close(mut self) -> Result<(), QueueError> {
        let owed = self.integrity.is_pending();
        self.integrity.stop();
        if self.broken {
            return Ok(());
        }
        let mark = |writer: &mut Self| {
            if !owed {
                writer.store.execute("UPDATE meta SET clean = 1", [])?;
            }
            writer.checkpoint("TRUNCATE")
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
