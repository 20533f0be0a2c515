//! The only place of this program that reads time and makes ids: ages that a person is shown, the time of
//! an event that is sent, deadlines (I9 leaves these to the programs that are not the daemon).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// Milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "this is telemetryctl's clock.rs")]
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A new event's id: time-ordered, as the queue's look-ups like it.
pub(crate) fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// A moment from now.
pub(crate) fn after(duration: Duration) -> Instant {
    telemetry_client::clock::after(duration)
}

/// How long ago.
pub(crate) fn since(began: Instant) -> Duration {
    after(Duration::ZERO).saturating_duration_since(began)
}
