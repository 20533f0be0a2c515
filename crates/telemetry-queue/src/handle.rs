//! The door: what other threads hold of the queue.
//!
//! Each method sends one command to the writer thread and awaits its answer. The channel is bounded (I6): while
//! it is full, sending waits, which is the back-pressure on the sockets. An answer to an append comes after the
//! commit that holds its events (I1).
//!
//! **Cancel safety, for all methods alike:** dropped before the command was sent, nothing happens. Dropped later,
//! the command is carried out and its answer is lost: appended events stay queued; a lease that nobody waited for
//! ends at once, but one that was answered to a future which was then dropped lasts until the queue is opened
//! again. Where that matters, do not drop: await the future in a task of its own, or (appends) use
//! [`Queue::send_append`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::command::{Claim, Command, Purge, Reply, Rows, Settle};
use crate::types::{
    Append, Appended, Book, Checked, ClaimLimits, Claimed, Filter, Id, Limits, Moment, Outcome, Page,
    PurgeReason, Purged, QueueError, RowState, Sent, Settled, View,
};

/// Commands that wait for the writer at most. With the daemon's bound on the bytes of one append (a socket
/// buffer, 64 KiB) this is at most 16 MiB, and half a turn of the writer at its best.
pub(crate) const CHANNEL: usize = 256;

/// An open queue. Clones speak to the same writer.
#[derive(Clone, Debug)]
pub struct Queue {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) view: watch::Receiver<Arc<View>>,
    pub(crate) file: Arc<Path>,
}

impl Queue {
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, QueueError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| QueueError::closed())?;
        answer.await.map_err(|_| QueueError::closed())?
    }

    /// Appends events in one transaction and answers for each, in order, after the commit (after the fsync where
    /// `synced` is set, duplicates included).
    ///
    /// # Errors
    ///
    /// `DiskFull`: none of the events was added. `Io`: none was added, and it may pass. `Closed`.
    ///
    /// # Cancel safety
    ///
    /// See the module: once sent, the events are appended.
    pub async fn append(&self, append: Append) -> Result<Vec<Appended>, QueueError> {
        self.ask(|reply| Command::Append(append, reply)).await
    }

    /// The same in two steps, so that a connection can go on reading while earlier events are written: awaits a
    /// place in the channel; the answer comes through the receiver (which errs when the queue is closed).
    ///
    /// # Errors
    ///
    /// `Closed`.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing was appended.
    pub async fn send_append(
        &self,
        append: Append,
    ) -> Result<oneshot::Receiver<Result<Vec<Appended>, QueueError>>, QueueError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Append(append, reply))
            .await
            .map_err(|_| QueueError::closed())?;
        Ok(answer)
    }

    /// Takes a batch for a destination under lease: one that was formed before and is not under lease, else a new
    /// one of the oldest waiting events, of one uid (uids and tools in turn, by bytes). `None`: nothing waits
    /// that is not under lease. The lease ends by [`settle`](Self::settle), or with the process.
    ///
    /// # Errors
    ///
    /// `DiskFull`, `Io`: nothing was claimed. `Closed`.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: see the module.
    pub async fn claim(
        &self,
        destination: &Arc<str>,
        limits: ClaimLimits,
        at: Moment,
    ) -> Result<Option<Claimed>, QueueError> {
        let claim = Claim {
            destination: Arc::clone(destination),
            uid: None,
            limits,
            at,
        };
        self.ask(|reply| Command::Claim(claim, reply)).await
    }

    /// [`claim`](Self::claim) of one uid's rows, out of its turn; what it takes counts as its turn.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: see the module.
    pub async fn claim_of(
        &self,
        destination: &Arc<str>,
        uid: u32,
        limits: ClaimLimits,
        at: Moment,
    ) -> Result<Option<Claimed>, QueueError> {
        let claim = Claim {
            destination: Arc::clone(destination),
            uid: Some(uid),
            limits,
            at,
        };
        self.ask(|reply| Command::Claim(claim, reply)).await
    }

    /// Ends a lease. `batch` is the id that the claim gave. `state` is stored for the batch's destination in the
    /// same transaction. An id that is not under lease (all its rows were purged meanwhile) settles nothing.
    ///
    /// # Errors
    ///
    /// `DiskFull`, `Io`: nothing was settled and the lease goes on: try again. `Closed`.
    ///
    /// # Cancel safety
    ///
    /// Once sent, the batch is settled.
    pub async fn settle(
        &self,
        batch: Id,
        outcome: Outcome,
        state: Option<String>,
        at: Moment,
    ) -> Result<Settled, QueueError> {
        self.ask(|reply| {
            Command::Settle(
                Settle {
                    batch,
                    outcome,
                    state,
                    at,
                },
                reply,
            )
        })
        .await
    }

    /// Settles, and claims the next batch of the same destination, in one turn of the writer. Nothing is claimed
    /// where the settlement [refused everything](Settled::refuses_everything).
    ///
    /// # Errors
    ///
    /// As for [`settle`](Self::settle): nothing was settled or claimed.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe, as [`claim`](Self::claim) is not.
    pub async fn settle_and_claim(
        &self,
        batch: Id,
        outcome: Outcome,
        state: Option<String>,
        limits: ClaimLimits,
        at: Moment,
    ) -> Result<(Settled, Option<Claimed>), QueueError> {
        self.ask(|reply| {
            Command::SettleAndClaim(
                Settle {
                    batch,
                    outcome,
                    state,
                    at,
                },
                limits,
                reply,
            )
        })
        .await
    }

    /// What a claim would take now, of this uid where one is given. Changes nothing; the id of a batch that has
    /// not been formed yet is all zeros.
    ///
    /// # Errors
    ///
    /// `Io`, `Closed`.
    pub async fn preview(
        &self,
        destination: &Arc<str>,
        limits: ClaimLimits,
        uid: Option<u32>,
        at: Moment,
    ) -> Result<Option<Claimed>, QueueError> {
        let claim = Claim {
            destination: Arc::clone(destination),
            uid,
            limits,
            at,
        };
        self.ask(|reply| Command::Preview(claim, reply)).await
    }

    /// Erases rows in the writer's next turn: queued ones (under lease too), parked ones, bodies of the sent log
    /// (with [`PurgeReason::Forget`] its metadata as well), and every corrupt file that was set aside. Afterwards
    /// the bytes are neither in the file nor in its WAL.
    ///
    /// # Errors
    ///
    /// `DiskFull`, `Io`: a part may have been purged; purge again. `Closed`.
    pub async fn purge(&self, filter: Filter, reason: PurgeReason, at: Moment) -> Result<Purged, QueueError> {
        let purge = Box::new(Purge { filter, reason, at });
        self.ask(|reply| Command::Purge(purge, reply)).await
    }

    /// Puts parked rows back into the queue, behind what waits there; returns how many.
    ///
    /// # Errors
    ///
    /// `DiskFull`, `Io`: a part may have been put back. `Closed`.
    pub async fn requeue(&self, filter: Filter, at: Moment) -> Result<u64, QueueError> {
        self.ask(|reply| Command::Requeue(Box::new(filter), at, reply))
            .await
    }

    /// One page of rows in these states (none given: all), at most `limit` and about 1 MiB of them. The writer
    /// looks at a bounded part of the file for each page, so that a page may be empty and yet have a next one.
    ///
    /// # Errors
    ///
    /// `Io`, `Closed`.
    pub async fn rows(
        &self,
        filter: Filter,
        states: &[RowState],
        after: Option<u64>,
        limit: u32,
    ) -> Result<Page, QueueError> {
        let rows = Rows {
            filter,
            states: states.to_vec(),
            after,
            limit,
        };
        self.ask(|reply| Command::Rows(Box::new(rows), reply)).await
    }

    /// The newest `limit` entries of the sent log (of this uid, with this tool), newest last; with `bodies` also
    /// their members, as far as the log still has them, and at most about 1 MiB of them.
    ///
    /// # Errors
    ///
    /// `Io`, `Closed`.
    pub async fn sent(
        &self,
        limit: u32,
        uid: Option<u32>,
        tool: Option<Arc<str>>,
        bodies: bool,
    ) -> Result<Vec<Sent>, QueueError> {
        self.ask(|reply| Command::Sent {
            limit,
            uid,
            tool,
            bodies,
            reply,
        })
        .await
    }

    /// The books of all lanes, or of one uid's.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub async fn books(&self, uid: Option<u32>) -> Result<Vec<Book>, QueueError> {
        self.ask(|reply| Command::Books(uid, reply)).await
    }

    /// What waits of one uid's rows, and how much they take: the view as if there were nobody else.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub async fn view_of(&self, uid: u32) -> Result<View, QueueError> {
        self.ask(|reply| Command::ViewOf(uid, reply)).await
    }

    /// What was stored for each destination.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub async fn destination_states(&self) -> Result<Vec<(Arc<str>, String)>, QueueError> {
        self.ask(Command::DestinationStates).await
    }

    /// Stores a text for a destination; an empty one removes it.
    ///
    /// # Errors
    ///
    /// `DiskFull`, `Io`: the old one stays. `Closed`.
    pub async fn set_destination_state(&self, name: &Arc<str>, state: String) -> Result<(), QueueError> {
        let name = Arc::clone(name);
        self.ask(|reply| Command::SetDestinationState(name, state, reply))
            .await
    }

    /// These users' rows for this destination are claimed no more, whoever was held before are again. Known only
    /// as long as the queue is open; of a destination that has no rows yet nothing is remembered.
    ///
    /// # Errors
    ///
    /// `Closed`.
    ///
    /// # Cancel safety
    ///
    /// Once sent, it holds.
    pub async fn hold_users(&self, destination: &Arc<str>, users: Vec<u32>) -> Result<(), QueueError> {
        let name = Arc::clone(destination);
        self.ask(|reply| Command::HoldUsers(name, users, reply)).await
    }

    /// Changes the limits; what is over the new ones goes in the writer's next turns.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub async fn set_limits(&self, limits: Limits) -> Result<(), QueueError> {
        self.ask(|reply| Command::SetLimits(limits, reply)).await
    }

    /// Begins the check in the background: every row is read once and counted behind the books, and after an unclean
    /// stop SQLite looks at the whole file. Until then only that is read which a command needs, so that whoever opens a
    /// queue is served at once, however much waits in it. Called again, it does nothing.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub async fn begin_check(&self) -> Result<(), QueueError> {
        let sent = self.commands.send(Command::Check).await;
        sent.map_err(|_| QueueError::closed())
    }

    /// How far the [check in the background](Self::begin_check) has come since the queue was opened.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub async fn checked(&self) -> Result<Checked, QueueError> {
        self.ask(Command::Checked).await
    }

    /// Brings everything into the main file and empties the WAL.
    ///
    /// # Errors
    ///
    /// `DiskFull`, `Io`, `Closed`.
    pub async fn checkpoint(&self) -> Result<(), QueueError> {
        self.ask(Command::Checkpoint).await
    }

    /// What waits, as of the last transaction that changed it.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// The queue's file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Bytes on the disk: the file and its WAL. Asks the file system, not the writer.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        let wal = PathBuf::from(format!("{}-wal", self.file.display()));
        [&*self.file, &*wal]
            .iter()
            .filter_map(|path| path.metadata().ok())
            .map(|file| file.len())
            .sum()
    }
}
