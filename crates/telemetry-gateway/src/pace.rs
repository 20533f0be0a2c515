//! What refused requests may cost, all of them together (I6): reading and refusing takes as much of a processor as
//! accepting does, and the clients of the socket have the same processors. Who is refused now and then waits for
//! nothing; who asks in a loop, or sends without an end, is read and answered at a pace that others do not feel, and
//! waits itself meanwhile.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A refusal each so many milliseconds. (Refusing a head takes some 50 µs of a processor here, and as much of the
/// client's: together 2 % of one.)
const REFUSAL_MS: u64 = 5;
/// Bytes that were read or unpacked for nothing in a millisecond: 16 MiB a second, some 2 % of a processor.
const BYTES_A_MS: usize = 16 * 1024;
/// So far ahead of that they may be together: 200 refusals, or one body that is thrown away whole.
const AHEAD_MS: u64 = 1000;
/// Nobody waits longer for an answer: a client that was refused for its one mistake is no loop, whoever is beside it.
const MOST_MS: u64 = 1000;

/// When the next refusal is due.
pub(crate) struct Pace {
    /// By `now`.
    due_ms: AtomicU64,
    now_ms: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Pace {
    /// By a clock in milliseconds that only goes forward.
    pub(crate) fn new(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            due_ms: AtomicU64::new(0),
            now_ms: Box::new(now_ms),
        }
    }

    /// So many bytes were read, or unpacked, for nothing.
    pub(crate) fn wasted(&self, bytes: usize) {
        let ms = u64::try_from(bytes.div_ceil(BYTES_A_MS)).unwrap_or(u64::MAX);
        self.cost(ms);
    }

    /// A request is refused. Waits until that is due.
    ///
    /// # Cancel safety
    /// Cancel safe: what it cost is counted.
    pub(crate) async fn refused(&self) {
        self.cost(REFUSAL_MS);
        self.due().await;
    }

    /// Waits until more may be done for nothing.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn due(&self) {
        let wait = self.wait_ms();
        if wait > 0 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }

    fn cost(&self, ms: u64) {
        let now = (self.now_ms)();
        let later = |due: u64| Some(due.max(now).saturating_add(ms).min(now + AHEAD_MS + MOST_MS));
        // It always says something.
        let _ = self
            .due_ms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    fn wait_ms(&self) -> u64 {
        let due = self.due_ms.load(Ordering::Relaxed);
        due.saturating_sub((self.now_ms)() + AHEAD_MS).min(MOST_MS)
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace")
            .field("due_ms", &self.due_ms)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn at(ms: u64) -> (Arc<AtomicU64>, Pace) {
        let clock = Arc::new(AtomicU64::new(ms));
        let read = Arc::clone(&clock);
        (clock, Pace::new(move || read.load(Ordering::Relaxed)))
    }

    #[test]
    fn refusals_now_and_then_wait_for_nothing_and_a_loop_for_its_turn() {
        let (clock, pace) = at(7);
        for _ in 0..AHEAD_MS / REFUSAL_MS {
            pace.cost(REFUSAL_MS);
            assert_eq!(pace.wait_ms(), 0);
        }
        pace.cost(REFUSAL_MS);
        assert_eq!(pace.wait_ms(), REFUSAL_MS);
        pace.cost(REFUSAL_MS);
        assert_eq!(pace.wait_ms(), 2 * REFUSAL_MS);
        clock.store(7 + 2 * REFUSAL_MS, Ordering::Relaxed);
        assert_eq!(pace.wait_ms(), 0);
        clock.store(100_000, Ordering::Relaxed);
        pace.cost(REFUSAL_MS);
        assert_eq!(pace.wait_ms(), 0, "what is over is forgotten");
    }

    #[test]
    fn what_was_read_for_nothing_counts_and_nobody_waits_for_ever() {
        let (_clock, pace) = at(0);
        pace.wasted(16 * 1024 * 1000);
        assert_eq!(pace.wait_ms(), 0, "one large body is thrown away at once");
        pace.wasted(1);
        assert_eq!(pace.wait_ms(), 1);
        pace.wasted(usize::MAX);
        assert_eq!(pace.wait_ms(), MOST_MS);
    }
}
