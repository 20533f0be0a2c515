//! How often one user may connect: a connection costs as much as a few events, whether or not one is sent over it.

use std::collections::HashMap;
use std::time::Duration;

/// One connection a millisecond: as many as `limits.rate` takes events of one tool by default.
const EACH_MS: u64 = 1;
/// So far ahead of that a user may be: a thousand tools that start at once.
const AHEAD_MS: u64 = 1000;
/// Users that are remembered, as many as may be connected by default. Past it the one that is ahead least is forgotten.
const USERS: usize = 1024;

/// When each user's next connection is due, by the boot clock in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Pace(HashMap<u32, u64>);

impl Pace {
    /// One more connection of this user: how long it waits before it is served.
    pub(super) fn wait(&mut self, uid: u32, now_ms: u64) -> Duration {
        if self.0.len() >= USERS && !self.0.contains_key(&uid) {
            self.0.retain(|_, due| *due > now_ms);
            let least = self.0.iter().min_by_key(|(_, due)| **due).map(|(uid, _)| *uid);
            if let (Some(least), true) = (least, self.0.len() >= USERS) {
                self.0.remove(&least);
            }
        }
        let due = self.0.entry(uid).or_default();
        *due = now_ms.max(*due) + EACH_MS;
        Duration::from_millis(due.saturating_sub(now_ms + AHEAD_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rush_is_served_at_once_and_a_loop_one_a_millisecond() {
        let mut pace = Pace::default();
        for _ in 0..AHEAD_MS {
            assert_eq!(pace.wait(7, 5), Duration::ZERO);
        }
        assert_eq!(pace.wait(7, 5), Duration::from_millis(1));
        assert_eq!(pace.wait(7, 5), Duration::from_millis(2));
        assert_eq!(pace.wait(8, 5), Duration::ZERO, "another user waits for nobody");
        assert_eq!(pace.wait(7, 7), Duration::from_millis(1));
        assert_eq!(pace.wait(7, 5000), Duration::ZERO);
    }

    #[test]
    fn only_so_many_users_are_remembered_and_who_is_furthest_ahead_is_among_them() {
        let mut pace = Pace::default();
        for _ in 0..=AHEAD_MS {
            pace.wait(1, 0);
        }
        for uid in 2..5000 {
            pace.wait(uid, 0);
        }
        assert!(pace.0.len() <= USERS);
        assert!(!pace.wait(1, 0).is_zero());
    }
}
