//! The only place of this crate that reads time: deadlines are moments on the monotonic clock (I9, I10).

use std::time::{Duration, Instant};

/// A moment from now; the far future where the clock cannot count that far.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the client library has deadlines of its own (I9 names it as the exception)"
)]
pub fn after(duration: Duration) -> Instant {
    /// A year: nobody waits longer, and every clock can add it.
    const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let now = Instant::now();
    now.checked_add(duration)
        .or_else(|| now.checked_add(FAR))
        .unwrap_or(now)
}

/// What is left until `deadline`; zero once it has passed.
#[must_use]
pub fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(after(Duration::ZERO))
}
