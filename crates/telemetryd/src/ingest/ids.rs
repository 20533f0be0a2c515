//! Ids for events whose client gave none: UUIDv7 (RFC 9562, section 5.7), so that they sort by time.

use telemetry_queue::Moment;
use uuid::Uuid;

/// Makes ids from the moment and a seeded generator.
#[derive(Debug)]
pub(super) struct Ids {
    random: fastrand::Rng,
}

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
        }
    }

    pub(super) fn make(&mut self, at: Moment) -> Uuid {
        let mut bytes = [0; 10];
        self.random.fill(&mut bytes);
        uuid::Builder::from_unix_timestamp_millis(u64::try_from(at.wall_ms).unwrap_or(0), &bytes).into_uuid()
    }
}
