//! One connection's place among the seats: whether it is idle and since when, and whether it is to leave (I13).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, Semaphore};

/// Who was idle first was idle longest: moments are told apart by their order.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A connection's place.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Waits for a byte since then; 0: it does not.
    since: AtomicU64,
    /// Answers that may still be outstanding, and how many that are when none is.
    room: OnceLock<(Arc<Semaphore>, usize)>,
    /// Told to leave.
    pub(super) leave: Notify,
}

impl Place {
    /// By this room it is known whether an answer is outstanding: then the connection is not idle.
    pub(super) fn answers(&self, room: &Arc<Semaphore>) {
        let _ = self.room.set((Arc::clone(room), room.available_permits()));
    }

    /// The connection waits for its next bytes, until this is dropped.
    pub(super) fn wait(&self) -> Waits<'_> {
        self.since
            .store(NEXT.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Waits(self)
    }

    /// Since when it is idle; `None`: it is not.
    pub(super) fn idle_since(&self) -> Option<u64> {
        let answered = |(room, all): &(Arc<Semaphore>, usize)| room.available_permits() == *all;
        let since = self.since.load(Ordering::Relaxed);
        (since > 0 && self.room.get().is_none_or(answered)).then_some(since)
    }
}

/// A connection waits for bytes.
#[derive(Debug)]
pub(super) struct Waits<'p>(&'p Place);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.since.store(0, Ordering::Relaxed);
    }
}
