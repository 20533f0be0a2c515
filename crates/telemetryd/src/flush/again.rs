//! When a destination is asked again after it has failed: pure functions of how it is, what it said, and a seed (I9).
//! "Wait longer when…" belongs into the delivery room's `backoff`; which of its waits counts is decided here, for a
//! destination and for the fleet that `telemetryd-bench` simulates.

use std::time::Duration;

use telemetry_delivery::{Retry, backoff, spread};
use telemetry_queue::Moment;

use super::state::{Condition, Deadline, State};

/// No wait of our own: only a server's `Retry-After`, clamped.
const SERVERS_WORD: Retry = Retry {
    initial: Duration::ZERO,
    max: Duration::ZERO,
    spread: Duration::ZERO,
};

/// How long after a failure: backoff, or a part of `retry.spread` where it is the first after a long healthy time.
#[must_use]
pub fn after_a_failure(state: &State, retry: &Retry, now: Moment, seed: u64) -> Duration {
    match state.long_healthy(now) {
        true => spread(retry, seed),
        false => backoff(state.attempts.saturating_add(1), None, retry, seed),
    }
}

/// How long while it is held, the slowest pace: half of `retry.max` and up to the other half, so that a fleet that was
/// refused together does not knock together.
#[must_use]
pub fn while_held(retry: &Retry, seed: u64) -> Duration {
    retry.max / 2 + backoff(u32::MAX, None, retry, seed) / 2
}

/// It failed: nothing goes for `wait`, and nothing at all before the server's `Retry-After` is over.
///
/// Where the server's word is the longer one it is the floor, not the moment: a maintenance page may have told ten
/// thousand machines the same end. Each comes at a moment of its own within as long again as it was told to wait, at
/// most `retry.max`; an explicit flush goes once the server's time is over.
pub fn fail(
    state: &mut State,
    condition: Condition,
    why: (Option<String>, String),
    waits: (Duration, Option<Duration>),
    retry: &Retry,
    now: Moment,
    seed: u64,
) {
    let (wait, retry_after) = waits;
    let asked = retry_after.map(|asked| backoff(1, Some(asked), &SERVERS_WORD, 0));
    state.retry_after = asked.map(|asked| Deadline::after(now, asked));
    let until = match asked {
        Some(asked) if asked >= wait => {
            let own = Retry {
                spread: asked.min(retry.max),
                ..*retry
            };
            asked + spread(&own, seed)
        }
        _ => wait,
    };
    let (reason, error) = why;
    state.failed(condition, reason, error, Deadline::after(now, until));
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry {
        initial: Duration::from_secs(5),
        max: Duration::from_secs(30 * 60),
        spread: Duration::from_secs(120),
    };
    const NOW: Moment = Moment {
        wall_ms: 1_800_000_000_000,
        boot_ms: 0,
    };

    fn failed(asked: u64, seed: u64) -> State {
        let mut state = State::default();
        let wait = after_a_failure(&state, &RETRY, NOW, seed);
        let waits = (wait, Some(Duration::from_secs(asked)));
        let why = (None, "503".to_owned());
        fail(
            &mut state,
            Condition::Backoff,
            why,
            waits,
            &RETRY,
            NOW,
            seed.rotate_left(32),
        );
        state
    }

    fn seconds(until: Option<Deadline>) -> u64 {
        until.and_then(|until| until.left(NOW)).unwrap().as_secs()
    }

    #[test]
    fn a_fleet_that_was_told_the_same_end_comes_within_as_long_again_and_never_before_it() {
        for (asked, most) in [(10, 10), (600, 600), (7200, 1800)] {
            let next: Vec<u64> = (0..2000)
                .map(|seed| seconds(failed(asked, seed).next_try))
                .collect();
            assert!(
                next.iter().all(|next| (asked..=asked + most).contains(next)),
                "{asked}"
            );
            let early = next.iter().filter(|next| **next < asked + most / 2).count();
            assert!((800..1200).contains(&early), "{asked}: {early} in the first half");
            assert_eq!(seconds(failed(asked, 1).retry_after), asked);
        }
    }

    #[test]
    fn what_was_spread_beyond_the_servers_word_is_spread_after_a_restart_too() {
        let state = failed(7200, 7);
        let restored = State::restore(&state.text(), NOW, [0; 16], RETRY.max);
        assert_eq!(restored.next_try, state.next_try);
        assert_eq!(restored.retry_after, state.retry_after);
    }
}
