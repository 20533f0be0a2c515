//! How old something is, without trusting the wall clock more than one must.
//!
//! In the boot in which a row was received, its age is the difference of the boot clock (which counts suspend and
//! which nobody sets). For rows of earlier boots there is only the wall clock; it is read both as it is now and as
//! it was when the queue was opened, and the lesser age counts: a clock that is set forward by a year while the
//! daemon runs expires nothing, and one that is set back keeps rows longer, never loses them.

use crate::segment::Stamp;
use crate::types::Moment;

/// The clocks as far as the queue was told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ages {
    /// This boot's number.
    pub(crate) boot: u32,
    /// The newest moment that a caller gave.
    pub(crate) now: Moment,
    /// Wall clock less boot clock when the queue was opened.
    offset: i64,
}

impl Ages {
    pub(crate) fn new(boot: u32, now: Moment) -> Self {
        Self {
            boot,
            now,
            offset: now.wall_ms.saturating_sub_unsigned(now.boot_ms),
        }
    }

    /// Takes note of a caller's moment.
    pub(crate) fn tell(&mut self, at: Moment) {
        if at.boot_ms >= self.now.boot_ms {
            self.now = at;
        }
    }

    /// The stamp of something that happens now.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp {
            received: self.now,
            boot: self.boot,
            epoch: 0,
        }
    }

    /// Milliseconds since then, at least.
    pub(crate) fn age(&self, stamp: &Stamp) -> u64 {
        if stamp.boot == self.boot {
            return self.now.boot_ms.saturating_sub(stamp.received.boot_ms);
        }
        let by_wall = self.now.wall_ms.saturating_sub(stamp.received.wall_ms);
        u64::try_from(by_wall)
            .unwrap_or(0)
            .min(self.age_by_boot_clock(stamp))
    }

    /// The moment of the boot clock before which this cannot be `limit` milliseconds old.
    pub(crate) fn not_before(&self, stamp: &Stamp, limit: u64) -> u64 {
        let age = if stamp.boot == self.boot {
            self.age(stamp)
        } else {
            self.age_by_boot_clock(stamp)
        };
        // Where only the wall clock holds it back: look again in a minute.
        self.now
            .boot_ms
            .saturating_add(limit.saturating_sub(age).max(60_000 * u64::from(age >= limit)))
    }

    fn age_by_boot_clock(&self, stamp: &Stamp) -> u64 {
        let wall = self.offset.saturating_add_unsigned(self.now.boot_ms);
        u64::try_from(wall.saturating_sub(stamp.received.wall_ms)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: i64 = 365 * 86_400_000;

    fn at(wall_ms: i64, boot_ms: u64) -> Moment {
        Moment { wall_ms, boot_ms }
    }

    fn stamp(boot: u32, wall_ms: i64, boot_ms: u64) -> Stamp {
        Stamp {
            received: at(wall_ms, boot_ms),
            boot,
            epoch: 0,
        }
    }

    #[test]
    fn a_clock_set_by_a_year_in_either_direction_ages_nothing() {
        let start = 1_800_000_000_000;
        let mut ages = Ages::new(2, at(start, 1_000));
        for jump in [YEAR, -YEAR] {
            ages.tell(at(start + jump, 61_000));
            assert_eq!(ages.age(&stamp(2, start, 1_000)), 60_000);
            assert!(ages.age(&stamp(1, start - 5_000, 9_000_000)) <= 65_000);
        }
    }

    #[test]
    fn rows_of_an_earlier_boot_age_by_the_wall_clock() {
        let ages = Ages::new(2, at(1_800_000_000_000, 1_000));
        assert_eq!(
            ages.age(&stamp(1, 1_800_000_000_000 - 86_400_000, 77)),
            86_400_000
        );
    }
}
