//! The only place of this crate that reads clocks (I9): the wall clock to show beside a request, and the
//! runtime's to measure `after` and `until` of a script. A paused runtime pauses the latter.

use std::time::SystemTime;

use tokio::time::Instant;

/// The wall clock now. Nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "this is the sink's clock.rs")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// The runtime's clock now.
#[expect(clippy::disallowed_methods, reason = "this is the sink's clock.rs")]
pub(crate) fn running() -> Instant {
    Instant::now()
}
