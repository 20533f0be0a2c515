//! Rates: a token bucket for each (uid, tool) (`limits.rate`).

use std::collections::HashMap;

use telemetry_queue::Moment;

use crate::config::Rate;

/// Tools of one user that are remembered: twice as many as the queue takes of one. Past it the one that has most left is
/// forgotten, which gives its user least.
const TOOLS: usize = 128;
/// Users that are remembered, as many as may be connected by default. Past it the one that was away longest is
/// forgotten.
const USERS: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: u64,
}

impl Bucket {
    /// What is in it by now.
    fn refilled(self, rate: Rate, now: Moment) -> f64 {
        let millis = u32::try_from(now.boot_ms.saturating_sub(self.at)).unwrap_or(u32::MAX);
        (self.tokens + f64::from(millis) * f64::from(rate.per_second) / 1000.0).min(f64::from(rate.burst))
    }
}

/// One user's buckets, by tool. Nobody's names crowd out another's (I13).
#[derive(Debug, Default)]
struct Tools {
    buckets: HashMap<String, Bucket>,
    last: u64,
}

/// The buckets of everybody.
#[derive(Debug, Default)]
pub(super) struct Rates {
    users: HashMap<u32, Tools>,
}

impl Rates {
    /// Takes a token; `false`: there is none.
    pub(super) fn take(&mut self, uid: u32, tool: &str, rate: Rate, now: Moment) -> bool {
        if self.users.len() >= USERS && !self.users.contains_key(&uid) {
            let away = self.users.iter().min_by_key(|(_, tools)| tools.last);
            if let Some(away) = away.map(|(uid, _)| *uid) {
                self.users.remove(&away);
            }
        }
        let tools = self.users.entry(uid).or_default();
        tools.last = now.boot_ms;
        let buckets = &mut tools.buckets;
        if let Some(bucket) = buckets.get_mut(tool) {
            let tokens = bucket.refilled(rate, now);
            let granted = tokens >= 1.0;
            let tokens = if granted { tokens - 1.0 } else { tokens };
            *bucket = Bucket {
                tokens,
                at: now.boot_ms,
            };
            return granted;
        }
        if buckets.len() >= TOOLS {
            let fullest = buckets
                .iter()
                .max_by(|a, b| a.1.refilled(rate, now).total_cmp(&b.1.refilled(rate, now)));
            if let Some(fullest) = fullest.map(|(tool, _)| tool.clone()) {
                buckets.remove(&fullest);
            }
        }
        // At least one: a burst of none would be no limit but a ban.
        let tokens = f64::from(rate.burst) - 1.0;
        let at = now.boot_ms;
        buckets.insert(tool.to_owned(), Bucket { tokens, at });
        tokens >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_granted_and_then_the_rate() {
        let rate = Rate {
            per_second: 10,
            burst: 3,
        };
        let mut rates = Rates::default();
        let mut take = |ms| {
            rates.take(
                7,
                "t",
                rate,
                Moment {
                    wall_ms: 0,
                    boot_ms: ms,
                },
            )
        };
        assert_eq!([take(0), take(0), take(0), take(0)], [true, true, true, false]);
        assert_eq!([take(100), take(100)], [true, false]);
    }

    #[test]
    fn names_of_one_user_crowd_out_nobody_elses_bucket() {
        let rate = Rate {
            per_second: 1,
            burst: 1,
        };
        let now = Moment {
            wall_ms: 0,
            boot_ms: 0,
        };
        let mut rates = Rates::default();
        assert!(rates.take(1, "t", rate, now));
        for name in 0..5000 {
            rates.take(2, &name.to_string(), rate, now);
        }
        assert!(!rates.take(1, "t", rate, now), "it is empty and known to be");
        assert!(rates.users[&2].buckets.len() <= TOOLS);
    }
}
