//! `Retry-After`: whatever an endpoint says, the wait that follows is within its bounds (I6).

use std::time::{Duration, SystemTime};

use telemetry_delivery::{RETRY_AFTER_MAX, RETRY_AFTER_MIN, Retry, backoff, retry_after};

const RETRY: Retry = Retry {
    initial: Duration::from_secs(5),
    max: Duration::from_secs(30 * 60),
    spread: Duration::from_secs(120),
};

/// The header's value.
pub fn hold(bytes: &[u8]) {
    // 21 November 2026, and a clock that stands at its beginning.
    for now in [1_795_255_200, 0].map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)) {
        let asked = retry_after(bytes, now);
        for (attempt, seed) in [(1, 0), (7, u64::MAX), (u32::MAX, 7)] {
            let wait = backoff(attempt, asked, &RETRY, seed);
            assert!(wait <= RETRY_AFTER_MAX, "{wait:?}");
            match asked {
                Some(asked) => assert!(wait >= asked.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)),
                None => assert!(wait <= RETRY.max),
            }
        }
    }
}
