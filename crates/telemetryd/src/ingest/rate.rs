//! Rates: a token bucket for each (uid, tool) (`limits.rate`).

use std::collections::HashMap;

use telemetry_queue::Moment;

use crate::config::Rate;

/// Buckets that are remembered; more than any user's tools. Past it the fullest one is forgotten.
const BUCKETS: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: u64,
}

/// The buckets of everybody.
#[derive(Debug, Default)]
pub(super) struct Rates {
    buckets: HashMap<(u32, String), Bucket>,
}

impl Rates {
    /// Takes a token; `false`: there is none.
    pub(super) fn take(&mut self, uid: u32, tool: &str, rate: Rate, now: Moment) -> bool {
        let (per_second, burst) = (f64::from(rate.per_second), f64::from(rate.burst));
        let refilled = |bucket: Bucket| {
            let millis = u32::try_from(now.boot_ms.saturating_sub(bucket.at)).unwrap_or(u32::MAX);
            (bucket.tokens + f64::from(millis) * per_second / 1000.0).min(burst)
        };
        let key = (uid, tool.to_owned());
        if self.buckets.len() >= BUCKETS && !self.buckets.contains_key(&key) {
            let fullest = self
                .buckets
                .iter()
                .max_by(|a, b| refilled(*a.1).total_cmp(&refilled(*b.1)));
            if let Some(fullest) = fullest.map(|(key, _)| key.clone()) {
                self.buckets.remove(&fullest);
            }
        }
        let bucket = self.buckets.entry(key).or_insert(Bucket {
            tokens: burst,
            at: now.boot_ms,
        });
        let tokens = refilled(*bucket);
        let granted = tokens >= 1.0;
        *bucket = Bucket {
            tokens: if granted { tokens - 1.0 } else { tokens },
            at: now.boot_ms,
        };
        granted
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
}
