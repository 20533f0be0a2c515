//! How often one user may connect: a connection costs as much as a few events, whether or not one is sent over it.
//! And how often a connection is read whose lines come in pieces: a read costs as much as an event, whatever it brings.

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

/// Steps of [`Pieces`]: the last one waits four seconds, in which the socket of whoever writes byte by byte is full, so that
/// it waits as well.
const PIECES: u32 = 8;

/// A read of so many bytes costs no more than they do, and is no piece: where a long write happens to be cut is nobody's
/// doing.
const SMALL: usize = 1024;

/// How the lines of a connection come: small reads that ended within a line, less all others.
#[derive(Debug, Default)]
pub(super) struct Pieces(u32);

impl Pieces {
    /// What one more read has brought: how long the next one waits, four times as long each time. A line in two
    /// pieces waits for nothing.
    pub(super) fn wait(&mut self, bytes: &[u8]) -> Duration {
        if bytes.len() >= SMALL || bytes.ends_with(b"\n") {
            self.0 = self.0.saturating_sub(1);
            return Duration::ZERO;
        }
        self.0 = (self.0 + 1).min(PIECES);
        match self.0.checked_sub(2) {
            Some(steps) => Duration::from_millis(1 << (2 * steps)),
            None => Duration::ZERO,
        }
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
    fn lines_in_two_pieces_wait_for_nothing_and_a_byte_at_a_time_for_ever_longer() {
        let mut pieces = Pieces::default();
        for _ in 0..1000 {
            assert_eq!(pieces.wait(b"{"), Duration::ZERO);
            assert_eq!(pieces.wait(b"}\n"), Duration::ZERO);
        }
        let waits: Vec<u128> = (0..9).map(|_| pieces.wait(b"{").as_millis()).collect();
        assert_eq!(waits, [0, 1, 4, 16, 64, 256, 1024, 4096, 4096]);
        assert_eq!(pieces.wait(b"}\n"), Duration::ZERO);
        assert_eq!(pieces.wait(b"{").as_millis(), 4096, "one line's end is no change");
    }

    #[test]
    fn a_long_write_that_is_cut_anywhere_is_read_as_it_comes() {
        let mut pieces = Pieces::default();
        for _ in 0..1000 {
            assert_eq!(pieces.wait(&[b'x'; SMALL]), Duration::ZERO);
            assert_eq!(pieces.wait(b"x"), Duration::ZERO);
        }
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
