//! The only place of this program that reads time or waits for it to pass.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now, to measure from.
#[expect(clippy::disallowed_methods, reason = "this is the bench's clock.rs")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Seconds since the epoch, as strace writes them.
#[expect(clippy::disallowed_methods, reason = "this is the bench's clock.rs")]
pub(crate) fn wall() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// Lets time pass.
#[expect(
    clippy::disallowed_methods,
    reason = "a figure over 20 idle seconds, and moments of a kill, are times and no conditions"
)]
pub(crate) fn pause(wait: Duration) {
    std::thread::sleep(wait);
}

/// Asks `look` again and again until it finds something, at most for `wait`.
pub(crate) fn until<T>(wait: Duration, step: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if begun.elapsed() > wait {
            return None;
        }
        pause(step);
    }
}
