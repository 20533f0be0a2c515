//! The only place of this crate that reads time: deadlines are moments on the monotonic clock (I9, I10), an event's time
//! is the wall clock's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

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

/// The wall clock.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "when an event happened, its process says"
)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn wall_ms() -> i64 {
    let since = wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A UUID of version 7 (RFC 9562 §5.7): its first 48 bits say when. Made from fresh random bytes each time, with nothing
/// remembered in between: what a fork copies cannot make two ids one.
#[must_use]
pub fn new_id() -> Uuid {
    let random = *Uuid::new_v4().as_bytes();
    // Without the bytes that say a version and a variant.
    let [a, b, c, d, e, f, _, g, _, h, i, ..] = random;
    let bytes = [a, b, c, d, e, f, g, h, i, random[11]];
    let millis = u64::try_from(wall_ms()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

/// How long ago a file was changed; `None` where that is in the future or nobody says it.
pub(crate) fn age(found: &std::fs::Metadata) -> Option<Duration> {
    let now = Duration::from_millis(u64::try_from(wall_ms()).ok()?);
    let changed = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    now.checked_sub(changed).or_else(|| {
        // Milliseconds are cut off, files have nanoseconds.
        (changed.saturating_sub(now) < Duration::from_millis(2)).then_some(Duration::ZERO)
    })
}
