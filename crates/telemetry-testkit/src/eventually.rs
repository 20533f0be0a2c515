//! Waiting for a condition. The only place where a test sleeps, and the only one that reads a clock (I9).

use std::time::{Duration, Instant};

/// How long a test waits for what must happen: generous, since machines are noisy and a wait ends as soon as
/// it can.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks. Short against everything that is waited for, long against a look.
const PAUSE: Duration = Duration::from_millis(3);

/// A moment until which something is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    /// This long from now.
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        Self { at: now() + wait }
    }

    /// How long is left; `None` when it is over.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.at
            .checked_duration_since(now())
            .filter(|left| !left.is_zero())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's deadline is real time, and is read here alone"
)]
fn now() -> Instant {
    Instant::now()
}

/// Looks until there is something to see.
///
/// # Panics
/// When there is nothing after `wait`, with `what` was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, wait: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(wait);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(deadline.left().is_some(), "after {wait:?} still not: {what}");
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is how a test waits for a condition that cannot wake it"
)]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// As [`eventually`], for a test that runs on the runtime that has to go on meanwhile.
///
/// # Panics
/// When there is nothing after `wait`, with `what` was waited for.
///
/// # Cancel safety
/// Nothing is lost when it is dropped.
pub async fn eventually_async<T>(what: &str, wait: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(wait);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(deadline.left().is_some(), "after {wait:?} still not: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_until_there_is_something() {
        let mut looks = 0;
        let found = eventually("the third look", DEADLINE, || {
            looks += 1;
            (looks == 3).then_some("found")
        });
        assert_eq!((found, looks), ("found", 3));
    }

    #[test]
    #[should_panic(expected = "still not: a miracle")]
    fn it_says_what_did_not_happen() {
        eventually("a miracle", Duration::from_millis(5), || None::<()>);
    }
}
