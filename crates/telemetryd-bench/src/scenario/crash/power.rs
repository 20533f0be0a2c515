//! Power cuts by replay: the real daemon is recorded (strace), and for every fsync of the record the directories that a
//! power cut before it could leave are built and given to a real daemon.

mod disk;
mod record;
mod replay;
mod trace;

use anyhow::Result;

use super::trial::Outcome;
use crate::lines::Ack;
use crate::scenario::Bench;

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A daemon's life from its first start, in an empty directory, to its end.
    Life,
    /// The same, and now and then an fsync fails.
    FailingSyncs,
    /// The start on a file whose header is damaged, with events in it.
    Salvage,
}

/// A row of the matrix that is replayed.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    pub(super) kind: Kind,
    pub(super) may_lose: &'static [Ack],
}

/// All of them, in the order of the page.
pub(super) const ROWS: [Row; 3] = [
    Row {
        name: "power cut, at every fsync of a life",
        method: "replay of a recorded life: before each fsync, what is not synced is left out, kept, or kept in part; worst of all cuts",
        kind: Kind::Life,
        may_lose: &[Ack::None, Ack::Queued],
    },
    Row {
        name: "an fsync fails, then a power cut",
        method: "the same, of a life in which strace lets fsyncs fail: what they should have written is gone",
        kind: Kind::FailingSyncs,
        may_lose: &[Ack::None, Ack::Queued],
    },
    Row {
        name: "power cut while a damaged file is salvaged",
        method: "the same, of the start on a file whose header was overwritten while events waited",
        kind: Kind::Salvage,
        may_lose: &[Ack::None, Ack::Queued],
    },
];

/// What came of a row, for each level, and how many directories were tried.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) outcomes: Vec<(Ack, Outcome)>,
    pub(super) cuts: u64,
    pub(super) directories: u64,
}

/// Records and replays.
///
/// # Errors
/// When the daemon cannot be recorded, or does not start on what a cut leaves.
pub(super) fn play(bench: &Bench, row: &Row, events: usize, seed: u64) -> Result<Replayed> {
    let mut random = fastrand::Rng::with_seed(seed);
    let recorded = record::record(bench, row.kind, events, &mut random)?;
    replay::replay(bench, &recorded, row, &mut random)
}
