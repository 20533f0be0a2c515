//! When to try again: pure functions of the attempt and a seed (I9).
//!
//! The jitter comes after the cap: a delay that is first jittered and then capped ends, after a long
//! outage, at the cap on every machine, and the fleet comes back in one second. (That, and a jitter that
//! only ever adds to the plain delay, is why this is not a crate's exponential builder.)

use std::time::Duration;

use crate::types::Retry;

/// The shortest `Retry-After` that is honoured: a zero must not make a loop.
pub const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
/// The longest: a slip in a server's unit must not silence it for months.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long to wait after the `attempt`-th failure in a row (1 is the first; 0 is taken as 1).
///
/// The ceiling is `retry.initial`, doubled for each further attempt, at most `retry.max`; the delay is
/// uniform in 0..=ceiling ("full jitter": Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
/// 2015). `retry_after` wins when it is longer, clamped to [`RETRY_AFTER_MIN`]..=[`RETRY_AFTER_MAX`].
///
/// The seed decides: the same seed gives the same delay.
#[must_use]
pub fn backoff(attempt: u32, retry_after: Option<Duration>, retry: &Retry, seed: u64) -> Duration {
    let doublings = attempt.saturating_sub(1);
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    let ceiling = retry.initial.saturating_mul(factor).min(retry.max);
    let jittered = uniform(ceiling, seed);
    match retry_after {
        Some(asked) => jittered.max(asked.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)),
        None => jittered,
    }
}

/// How long to wait where many machines act at once: after the first failure of a long healthy time, a
/// resume from suspend, the return of the network. Uniform in 0..=`retry.spread`.
#[must_use]
pub fn spread(retry: &Retry, seed: u64) -> Duration {
    uniform(retry.spread, seed)
}

/// Uniform in 0..=`most`, in nanoseconds, by wyrand (crate `fastrand`) under the seed.
fn uniform(most: Duration, seed: u64) -> Duration {
    // 584 years fit; what is longer is cut there.
    let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(fastrand::Rng::with_seed(seed).u64(0..=most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RETRY: Retry = Retry {
        initial: Duration::from_secs(5),
        max: Duration::from_secs(30 * 60),
        spread: Duration::from_secs(120),
    };

    /// The chi-squared statistic of `delays` over 20 equal bins of 0..=`most`: 19 degrees of freedom,
    /// so above 50 with a chance of 1 in 8,000.
    fn chi_squared(delays: &[Duration], most: Duration) -> f64 {
        let mut bins = [0_u32; 20];
        for delay in delays {
            let share = delay.as_secs_f64() / most.as_secs_f64();
            bins[((share * 20.0) as usize).min(19)] += 1;
        }
        let expected = delays.len() as f64 / 20.0;
        bins.iter()
            .map(|&n| (f64::from(n) - expected).powi(2) / expected)
            .sum()
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_maximum() {
        let largest = |attempt| {
            (0..2_000)
                .map(|seed| backoff(attempt, None, &RETRY, seed))
                .max()
                .unwrap()
        };
        for (attempt, ceiling) in [
            (0, 5),
            (1, 5),
            (2, 10),
            (3, 20),
            (9, 1280),
            (10, 1800),
            (11, 1800),
            (32, 1800),
            (33, 1800),
            (u32::MAX, 1800),
        ] {
            let ceiling = Duration::from_secs(ceiling);
            let largest = largest(attempt);
            assert!(largest <= ceiling, "{attempt}: {largest:?}");
            assert!(largest > ceiling.mul_f64(0.99), "{attempt}: {largest:?}");
        }
    }

    #[test]
    fn a_fleet_of_ten_thousand_does_not_synchronise_at_the_cap() {
        // Neighbouring seeds, the worst case of a poor generator.
        for attempt in [1, 5, 12, 40] {
            let delays: Vec<_> = (0..10_000)
                .map(|seed| backoff(attempt, None, &RETRY, seed))
                .collect();
            let most = backoff_ceiling(attempt);
            assert!(chi_squared(&delays, most) < 50.0, "attempt {attempt}");
            // No second sees more than a small part of them.
            let mut seconds: Vec<u64> = delays.iter().map(Duration::as_secs).collect();
            seconds.sort_unstable();
            let fullest = seconds.chunk_by(|a, b| a == b).map(<[u64]>::len).max().unwrap();
            let fair = 10_000 / most.as_secs() as usize;
            assert!(
                fullest <= fair + 30 + fair / 4,
                "attempt {attempt}: {fullest} in one second"
            );
        }
    }

    fn backoff_ceiling(attempt: u32) -> Duration {
        (RETRY.initial * 2_u32.pow((attempt - 1).min(20))).min(RETRY.max)
    }

    #[test]
    fn a_fleet_comes_back_from_an_outage_spread_out() {
        let delays: Vec<_> = (0..10_000).map(|seed| spread(&RETRY, seed)).collect();
        assert!(chi_squared(&delays, RETRY.spread) < 50.0);
    }

    #[test]
    fn retry_after_wins_when_it_is_longer() {
        let hour = Duration::from_secs(3600);
        assert_eq!(backoff(1, Some(hour), &RETRY, 7), hour);
        // A shorter one does not shorten the delay.
        let plain = backoff(10, None, &RETRY, 7);
        assert!(plain > Duration::from_secs(1));
        assert_eq!(backoff(10, Some(Duration::from_secs(1)), &RETRY, 7), plain);
    }

    #[test]
    fn retry_after_is_clamped() {
        let still = Retry {
            initial: Duration::ZERO,
            max: Duration::ZERO,
            spread: Duration::ZERO,
        };
        assert_eq!(backoff(1, Some(Duration::ZERO), &still, 1), RETRY_AFTER_MIN);
        assert_eq!(backoff(1, Some(Duration::MAX), &still, 1), RETRY_AFTER_MAX);
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_its_bounds(
            attempt: u32,
            initial in 0_u64..100_000_000,
            max in 0_u64..100_000_000,
            asked in proptest::option::of(0_u64..1_000_000_000),
            seed: u64,
        ) {
            let retry = Retry {
                initial: Duration::from_millis(initial),
                max: Duration::from_millis(max),
                spread: Duration::ZERO,
            };
            let asked = asked.map(Duration::from_millis);
            let delay = backoff(attempt, asked, &retry, seed);
            let clamped = asked.map(|asked| asked.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX));
            prop_assert!(delay <= retry.max.max(clamped.unwrap_or_default()));
            if let Some(clamped) = clamped {
                prop_assert!(delay >= clamped);
            }
            prop_assert_eq!(delay, backoff(attempt, asked, &retry, seed));
        }

        #[test]
        fn no_setting_overflows(initial: u64, max: u64, attempt: u32, seed: u64) {
            let retry = Retry {
                initial: Duration::from_secs(initial),
                max: Duration::from_secs(max),
                spread: Duration::from_secs(max),
            };
            prop_assert!(backoff(attempt, None, &retry, seed) <= retry.max);
            prop_assert!(spread(&retry, seed) <= retry.spread);
        }
    }
}
