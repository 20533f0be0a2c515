//! A queue in a directory of its own, spoken to without `async`, and the laws that hold after every step.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use telemetry_queue::{
    Append, Book, ClaimLimits, Id, Lane, Limits, Moment, NewEvent, Options, Outcome, RowState,
};
use tempfile::TempDir;

mod bench;

pub(crate) use bench::Bench;

/// Tests run in one made-up boot unless they say otherwise.
pub(crate) const BOOT: Id = [7; 16];

/// 2026-01-01: a wall clock that the tests start at.
pub(crate) const START: Moment = Moment {
    wall_ms: 1_767_225_600_000,
    boot_ms: 60_000,
};

pub(crate) const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The defaults of the config.
pub(crate) fn limits() -> Limits {
    Limits {
        max_bytes: 64 << 20,
        max_bytes_per_tool: 16 << 20,
        max_age_ms: 30 * DAY_MS,
        parked_max_age_ms: 30 * DAY_MS,
        sent_max_age_ms: 7 * DAY_MS,
        sent_max_bytes: 4 << 20,
        sent_bodies: true,
    }
}

/// A directory in memory where there is such a place: what these tests are about is what was written, not the
/// time that a disk takes for its fsync.
pub(crate) fn scratch() -> TempDir {
    match TempDir::new_in("/dev/shm") {
        Ok(directory) => directory,
        Err(_) => TempDir::new().unwrap(),
    }
}

pub(crate) fn options(directory: &Path) -> Options {
    Options {
        directory: directory.to_owned(),
        boot_id: BOOT,
        limits: limits(),
        job: false,
        probe: None,
    }
}

/// `START` and so many milliseconds.
pub(crate) fn after(ms: u64) -> Moment {
    Moment {
        wall_ms: START.wall_ms + ms.cast_signed(),
        boot_ms: START.boot_ms + ms,
    }
}

pub(crate) fn lane(uid: u32, destination: &str, tool: &str) -> Arc<Lane> {
    Arc::new(Lane {
        uid,
        destination: destination.into(),
        tool: tool.into(),
    })
}

/// An id that says its number.
pub(crate) fn id(number: u64) -> Id {
    let mut id = [0x5a; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    id
}

/// A payload that says its number, so that a mix-up shows.
pub(crate) fn payload(number: u64, bytes: usize) -> Vec<u8> {
    let mut payload = format!("{{\"event\":{number},\"pad\":\"").into_bytes();
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while payload.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        payload.push(b'a' + (state % 26) as u8);
    }
    payload.truncate(bytes.max(1));
    payload
}

/// Events of one lane, numbered, in one append.
pub(crate) fn events(
    lane: &Arc<Lane>,
    numbers: impl IntoIterator<Item = u64>,
    bytes: usize,
    at: Moment,
) -> Append {
    let mut append = Append {
        at,
        ..Append::default()
    };
    for number in numbers {
        push(&mut append, lane, id(number), &payload(number, bytes));
    }
    append
}

pub(crate) fn push(append: &mut Append, lane: &Arc<Lane>, id: Id, payload: &[u8]) {
    let start = append.arena.len();
    append.arena.extend_from_slice(payload);
    append.events.push(NewEvent {
        lane: Arc::clone(lane),
        id,
        project: None,
        epoch: 1,
        payload: start..append.arena.len(),
    });
}

/// Claims without a limit that matters.
pub(crate) const ALL: ClaimLimits = ClaimLimits {
    max_events: 1_000_000,
    max_bytes: u64::MAX / 4,
    per_batch: 0,
    per_event: 0,
    in_a_row: None,
};

pub(crate) fn at_most(max_events: u32) -> ClaimLimits {
    ClaimLimits { max_events, ..ALL }
}

pub(crate) fn delivered() -> Outcome {
    Outcome::Delivered {
        status: 200,
        meta: "{}".into(),
    }
}

pub(crate) fn retry() -> Outcome {
    Outcome::Retry {
        error: "connection refused".into(),
    }
}

pub(crate) fn bisect(status: u16) -> Outcome {
    Outcome::Bisect {
        status,
        answer: b"no".to_vec(),
    }
}

pub(crate) fn split() -> Outcome {
    Outcome::Split {
        status: 413,
        answer: b"too large".to_vec(),
    }
}

/// The law of the books, for all lanes, and against the rows that are really there.
pub(crate) fn assert_balanced(bench: &Bench) {
    // The rows first: if damage is met in them, the books change.
    let rows = bench.rows();
    let books = bench.books();
    let mut counted: BTreeMap<Lane, (u64, u64)> = BTreeMap::new();
    for row in rows {
        let count = counted.entry((*row.lane).clone()).or_default();
        match row.state {
            RowState::Parked => count.1 += 1,
            RowState::Waiting | RowState::Claimed => count.0 += 1,
        }
    }
    for book in &books {
        assert!(book.balanced(), "books do not balance: {book:?}");
        let (queued, parked) = counted.remove(&book.lane).unwrap_or_default();
        assert_eq!(
            (book.queued, book.parked),
            (queued, parked),
            "rows differ from the books: {book:?}"
        );
    }
    assert!(counted.is_empty(), "rows without books: {counted:?}");
}

/// All lanes together.
pub(crate) fn total(books: &[Book]) -> Book {
    let mut total = Book {
        lane: (*lane(0, "all", "all")).clone(),
        accepted: 0,
        delivered: 0,
        parked: 0,
        queued: 0,
        evicted: 0,
        expired: 0,
        purged: 0,
        lost: 0,
    };
    for book in books {
        total.accepted += book.accepted;
        total.delivered += book.delivered;
        total.parked += book.parked;
        total.queued += book.queued;
        total.evicted += book.evicted;
        total.expired += book.expired;
        total.purged += book.purged;
        total.lost += book.lost;
    }
    total
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// At least 0, below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

pub(crate) fn hex(id: &Id) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
