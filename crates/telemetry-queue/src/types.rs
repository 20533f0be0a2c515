//! What callers may say to the queue, and what it says back.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// An event's or a batch's id: the 16 bytes of a UUID.
pub type Id = [u8; 16];

/// A moment, read by the caller: the queue itself reads no clock (I9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the Unix epoch, by the wall clock.
    pub wall_ms: i64,
    /// Milliseconds since boot by the clock that counts suspend (`CLOCK_BOOTTIME`).
    pub boot_ms: u64,
}

/// Rows of one lane share uid, destination and tool: the unit of the books, of quotas and of fairness.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    /// The uid of the socket's peer credentials.
    pub uid: u32,
    /// The destination's name in the config (no URL, no credential is ever stored).
    pub destination: Arc<str>,
    /// The tool's name.
    pub tool: Arc<str>,
}

/// How to open a queue.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory that holds `queue.db`; made with mode 0700 when it does not exist.
    pub directory: PathBuf,
    /// Identifies this boot of the machine, so that ages survive a wrong wall clock.
    pub boot_id: Id,
    /// What the queue may keep.
    pub limits: Limits,
    /// It is opened for one job and closed again: whoever is refused meanwhile may wait for that.
    pub job: bool,
    /// Called at named points, so that tests can kill the process there. `None` outside of tests.
    pub probe: Option<fn(&'static str)>,
}

/// What the queue may keep (`[queue]` in the config). Changeable while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of queued rows, payload and keys; over it the oldest of the largest user's largest tool go.
    pub max_bytes: u64,
    /// The same for one (uid, tool).
    pub max_bytes_per_tool: u64,
    /// Queued rows older than this expire, in milliseconds.
    pub max_age_ms: u64,
    /// Parked rows older than this expire, in milliseconds.
    pub parked_max_age_ms: u64,
    /// Entries of the sent log older than this are erased, in milliseconds.
    pub sent_max_age_ms: u64,
    /// Bytes of the sent log, bodies included.
    pub sent_max_bytes: u64,
    /// Whether the sent log keeps bodies.
    pub sent_bodies: bool,
}

/// One event to append; its payload lies in [`Append::arena`].
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Where it belongs.
    pub lane: Arc<Lane>,
    /// Its id: the same (uid, tool, id) twice is one event.
    pub id: Id,
    /// Keyed hash of its project, so that a project's withdrawal can find it.
    pub project: Option<Id>,
    /// The consent epoch it was accepted under.
    pub epoch: u64,
    /// Its payload within the arena.
    pub payload: Range<usize>,
}

/// Events that are appended in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// The payloads, one after another.
    pub arena: Vec<u8>,
    /// The events, in order.
    pub events: Vec<NewEvent>,
    /// Answer only after an fsync.
    pub synced: bool,
    /// When they were received.
    pub at: Moment,
    /// Events that were not taken because their tool had its day's number, by lane: reported as losses, kept nowhere.
    pub over_quota: Vec<(Arc<Lane>, u64)>,
    /// Dropped when they have been answered: something that the sender holds until then.
    pub ticket: Option<Ticket>,
}

impl Append {
    /// Whether there is nothing to be done for it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.over_quota.is_empty()
    }
}

/// What a sender holds as long as the queue has its events in hand; the queue looks at nothing of it.
pub type Ticket = Arc<dyn std::any::Any + Send + Sync>;

/// What became of one appended event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Committed (and fsynced, where that was asked).
    Queued,
    /// Already queued or in the sent log: nothing was added.
    Duplicate,
    /// The uid has 64 tools already, or the event alone is larger than the queue.
    Refused,
}

/// How much one claim may take, in encoded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimLimits {
    /// Events at most.
    pub max_events: u32,
    /// Encoded bytes at most. A single event that is larger is claimed alone.
    pub max_bytes: u64,
    /// Encoded bytes that a batch has without events.
    pub per_batch: u32,
    /// Encoded bytes that an event has beside its payload (and its tool's name).
    pub per_event: u32,
    /// So many batches of one user that were formed before (halves, above all) go one after the other while another
    /// user has something to send; `None`: all of them go before new claims.
    pub in_a_row: Option<NonZeroU32>,
}

/// Events lost since the last delivered batch, by reason; bound to the batch that reports them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Evicted because the queue was full.
    pub evicted: u64,
    /// Older than `max_age`.
    pub expired: u64,
    /// Over a tool's quota, as [`Append::over_quota`] says.
    pub quota: u64,
}

/// One event of a claimed batch; its payload lies in [`Claimed::arena`].
#[derive(Clone, Debug)]
pub struct ClaimedEvent {
    /// Its id.
    pub id: Id,
    /// Its tool.
    pub tool: Arc<str>,
    /// The consent epoch it was accepted under.
    pub epoch: u64,
    /// Keyed hash of its project.
    pub project: Option<Id>,
    /// When it was received.
    pub received: Moment,
    /// Whether it was received in this boot, so that `received.boot_ms` can be compared.
    pub this_boot: bool,
    /// Its payload within the arena.
    pub payload: Range<usize>,
}

/// A batch under lease: it stays in the queue until it is settled.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The batch's id: unchanged as long as its members are, restarts included (I8).
    pub id: Id,
    /// Whose events: a batch holds one uid.
    pub uid: u32,
    /// Where to.
    pub destination: Arc<str>,
    /// Finished attempts so far.
    pub attempts: u32,
    /// How many events the batch had that this one was cut from, as it was first claimed.
    pub root_events: u32,
    /// What this batch reports as lost.
    pub losses: Losses,
    /// [`View::purges_of`] its user as of the claim: where that has grown, some of these events may have been purged.
    pub purges: u64,
    /// The payloads, one after another.
    pub arena: Vec<u8>,
    /// Its events, oldest first within a tool.
    pub events: Vec<ClaimedEvent>,
}

/// How a claimed batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint has it. `meta` is kept in the sent log as it is (encoding, sent_at, URL without query …).
    Delivered {
        /// The answer's status.
        status: u16,
        /// Opaque to the queue.
        meta: String,
    },
    /// Not now: the batch keeps its id and members, its attempts are counted.
    Retry {
        /// For people, at most 1 KiB; never an event's content.
        error: String,
    },
    /// Too large for the endpoint: two halves with ids of their own go before new claims.
    /// A single event is parked.
    Split {
        /// The answer's status.
        status: u16,
        /// The first 1 KiB of the answer.
        answer: Vec<u8>,
    },
    /// Refused: halves go before new claims, until the refused events stand alone and are parked.
    /// See [`Settled::refuses_everything`].
    Bisect {
        /// The answer's status.
        status: u16,
        /// The first 1 KiB of the answer.
        answer: Vec<u8>,
    },
    /// Nothing was sent (cancelled, consent withdrawn, draining): the lease ends, no attempt is counted.
    Release,
    /// The same for a batch that was never sent: where this very claim has formed it, its events wait as before,
    /// and nobody will hear of its id.
    PutBack,
}

/// What settling did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Rows parked now.
    pub parked: u32,
    /// All events of a root batch of eight or more were refused with one status: they are queued again
    /// and nothing was parked. The destination is to be held.
    pub refuses_everything: bool,
}

/// Which rows; absent fields match all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Rows of this uid.
    pub uid: Option<u32>,
    /// Rows of this tool.
    pub tool: Option<Arc<str>>,
    /// Rows for this destination.
    pub destination: Option<Arc<str>>,
    /// Rows of this project (keyed hash).
    pub project: Option<Id>,
    /// Rows accepted under an epoch below this one.
    pub epoch_below: Option<u64>,
    /// Rows with one of these event ids.
    pub ids: Option<Vec<Id>>,
}

/// Why rows are purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PurgeReason {
    /// Consent was withdrawn.
    Consent,
    /// `queue purge`.
    User,
    /// `forget`: the sent log's metadata goes too.
    Forget,
}

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Queued rows erased.
    pub queued: u64,
    /// Parked rows erased.
    pub parked: u64,
    /// Bodies erased from the sent log.
    pub sent_bodies: u64,
}

/// The books of one lane: `accepted = delivered + parked + queued + evicted + expired + purged + lost` (I5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    /// Whose.
    pub lane: Lane,
    /// Events committed, duplicates not among them.
    pub accepted: u64,
    /// Events whose batch the endpoint took.
    pub delivered: u64,
    /// Events that the endpoint refused and that are still kept.
    pub parked: u64,
    /// Events waiting or claimed.
    pub queued: u64,
    /// Events evicted because the queue was full.
    pub evicted: u64,
    /// Queued or parked events that grew too old.
    pub expired: u64,
    /// Events purged, for whatever reason.
    pub purged: u64,
    /// Events that salvage could not save.
    pub lost: u64,
}

impl Book {
    /// Whether the law of the books holds for this lane.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.accepted
            == self.delivered
                + self.parked
                + self.queued
                + self.evicted
                + self.expired
                + self.purged
                + self.lost
    }
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowState {
    /// Waiting to be claimed.
    Waiting,
    /// Member of a batch that has been formed.
    Claimed,
    /// Refused by the endpoint, kept to be looked at.
    Parked,
}

/// One row, for people.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its id.
    pub id: Id,
    /// Its lane.
    pub lane: Arc<Lane>,
    /// When it was received.
    pub received: Moment,
    /// Where it is.
    pub state: RowState,
    /// Its batch, when claimed.
    pub batch: Option<Id>,
    /// Attempts of that batch.
    pub attempts: u32,
    /// Payload bytes.
    pub payload: Vec<u8>,
    /// When it was parked, with the endpoint's status and answer.
    pub parked: Option<Parked>,
}

/// Why and when a row was parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Wall clock, milliseconds.
    pub at_ms: i64,
    /// The endpoint's status.
    pub status: u16,
    /// The first 1 KiB of its answer.
    pub answer: Vec<u8>,
}

/// A page of rows, and where the next one begins.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The rows, oldest first within a lane.
    pub rows: Vec<Row>,
    /// Pass this back for the next page; `None` at the end.
    pub next: Option<u64>,
}

/// One delivered batch.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The batch's id.
    pub id: Id,
    /// Whose.
    pub uid: u32,
    /// Where to.
    pub destination: Arc<str>,
    /// Wall clock when it was settled, milliseconds.
    pub at_ms: i64,
    /// The answer's status.
    pub status: u16,
    /// How many events.
    pub events: u32,
    /// Payload bytes.
    pub bytes: u64,
    /// Events by tool.
    pub tools: Vec<(Arc<str>, u32)>,
    /// What was given to [`Outcome::Delivered`].
    pub meta: String,
    /// What the batch reported as lost.
    pub losses: Losses,
    /// The members, when bodies are kept and were asked for (payloads in `arena`).
    pub members: Vec<ClaimedEvent>,
    /// The payloads of `members`.
    pub arena: Vec<u8>,
}

/// What waits for one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Events not under lease, members of open batches included.
    pub events: u64,
    /// Their payload and key bytes.
    pub bytes: u64,
    /// Batches that were formed and not settled, leased ones not among them: they go before new claims.
    pub open_batches: u32,
    /// When the oldest was received.
    pub oldest: Option<Moment>,
    /// Whether `oldest.boot_ms` is of this boot.
    pub oldest_this_boot: bool,
    /// Events under lease.
    pub leased: u64,
    /// Counts settled, parked, purged, evicted and expired rows, ever growing: `flush --wait` watches it.
    pub left: u64,
    /// Counts accepted rows, ever growing.
    pub accepted: u64,
    /// Users that are [held](crate::Queue::hold_users), in order, with their events that are not under lease: neither
    /// those nor their batches are among the others here.
    pub held: Vec<(u32, u64)>,
}

impl Waiting {
    /// Events of users that are held.
    #[must_use]
    pub fn held_events(&self) -> u64 {
        self.held.iter().map(|(_, events)| events).sum()
    }

    /// Events of this user, where it is held.
    #[must_use]
    pub fn held_of(&self, uid: u32) -> Option<u64> {
        let at = self.held.binary_search_by_key(&uid, |(uid, _)| *uid).ok()?;
        self.held.get(at).map(|(_, events)| *events)
    }
}

/// A snapshot, published after every transaction that changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// By destination name, sorted.
    pub destinations: Vec<(Arc<str>, Waiting)>,
    /// Queued events, all destinations.
    pub events: u64,
    /// Their bytes as `max_bytes` counts them.
    pub bytes: u64,
    /// Purges since the queue was opened that erased queued rows, by uid, counted in slices.
    pub purges: Arc<BTreeMap<u32, u64>>,
    /// The last write failed because the disk is full; cleared by the next that succeeds.
    pub disk_full: bool,
}

impl View {
    /// Purges that erased queued rows of this uid.
    #[must_use]
    pub fn purges_of(&self, uid: u32) -> u64 {
        self.purges.get(&uid).copied().unwrap_or_default()
    }
}

/// The queue could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}")]
pub struct QueueError {
    /// What callers ask about.
    pub kind: ErrorKind,
    /// What was attempted, on what.
    pub attempt: String,
    /// Why not.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What callers ask about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The disk is full (SQLITE_FULL, ENOSPC, EDQUOT): new events are refused, delivery goes on.
    DiskFull,
    /// Another process owns the queue.
    Busy {
        /// Its process id, where it wrote one.
        pid: Option<u32>,
    },
    /// The same, and it will not be for long: it does one job, or has not said what it is.
    Passing {
        /// Its process id, where it wrote one.
        pid: Option<u32>,
    },
    /// The file was made by a newer version; it is left untouched.
    NewerSchema,
    /// No permission, or the wrong owner.
    Denied,
    /// An I/O error that may pass.
    Io,
    /// The queue has been closed.
    Closed,
}

/// What opening found and did.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// The last owner did not close the queue, or had not come to the end of checking it.
    pub unclean: bool,
    /// A corrupt file was moved aside here.
    pub set_aside: Option<PathBuf>,
    /// Rows salvaged from it, and rows booked as lost.
    pub salvaged: u64,
    /// See `salvaged`.
    pub lost: u64,
    /// Books that do not balance, as found (reported, not repaired silently).
    pub unbalanced: Vec<Book>,
}

/// How far the background check has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// All rows were counted.
    pub complete: bool,
    /// Rows counted.
    pub rows: u64,
    /// Lanes whose count of rows is not what the books say: (lane, counted, booked).
    pub differences: Vec<(Lane, u64, u64)>,
    /// What SQLite's own check said, when it ran and did not say `ok`.
    pub integrity: Option<String>,
}
