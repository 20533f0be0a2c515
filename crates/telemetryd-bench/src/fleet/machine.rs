//! One machine of a fleet: what waits on it, how its endpoint is to it, and the daemon's own functions, which decide.

use std::time::Duration;

use telemetry_delivery::{BatchLimits, Retry};
use telemetry_queue::{Moment, Waiting};
use telemetryd::flush::again;
use telemetryd::flush::state::{Condition, State};
use telemetryd::flush::trigger::{self, Inputs, Next};
use telemetryd::phase::Phase;

use super::weather::Answer;

/// The defaults of the config.
const BATCH: BatchLimits = BatchLimits {
    max_events: 500,
    max_bytes: 256 * 1024,
    max_wait: Duration::from_secs(60),
};
/// The defaults of the config.
const RETRY: Retry = Retry {
    initial: Duration::from_secs(5),
    max: Duration::from_secs(30 * 60),
    spread: Duration::from_secs(120),
};
/// Bytes of an event.
const EVENT: u64 = 350;

/// A machine with a daemon and one destination.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Decisions so far: a timer that was set before the last one counts no more.
    pub(super) decisions: u32,
    /// Something waited at the return, and did not get through yet.
    pub(super) away: bool,
    percent: u32,
    random: fastrand::Rng,
    state: State,
    waiting: Waiting,
}

fn at(now_ms: u64) -> Moment {
    Moment {
        wall_ms: 1_800_000_000_000_i64.saturating_add_unsigned(now_ms),
        boot_ms: now_ms,
    }
}

impl Machine {
    pub(super) fn new(seed: u64) -> Self {
        let waiting = Waiting {
            oldest_this_boot: true,
            ..Waiting::default()
        };
        Self {
            decisions: 0,
            away: false,
            percent: trigger::percent(seed),
            random: fastrand::Rng::with_seed(seed),
            state: State::default(),
            waiting,
        }
    }

    /// Events that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.events
    }

    /// A tool writes one.
    pub(super) fn event(&mut self, now_ms: u64) {
        self.waiting.events += 1;
        self.waiting.bytes += EVENT;
        self.waiting.oldest.get_or_insert(at(now_ms));
    }

    /// What the daemon does now: asks its endpoint as often as its trigger says, and then waits; for how long, if a timer
    /// is needed.
    pub(super) fn decide(&mut self, now_ms: u64, mut ask: impl FnMut(u64) -> Answer) -> Option<Duration> {
        self.decisions += 1;
        let now = at(now_ms);
        loop {
            let next = trigger::next(&Inputs {
                now,
                waiting: &self.waiting,
                state: &self.state,
                batch: &BATCH,
                percent: self.percent,
                flush: false,
                drained: false,
                phase: Phase::Running,
            });
            match next {
                Next::Send => self.request(now, ask(now_ms)),
                Next::Wait(wait) => return Some(wait),
                Next::Sleep | Next::Leave => return None,
            }
        }
    }

    fn request(&mut self, now: Moment, answer: Answer) {
        match answer {
            Answer::Taken => {
                self.away = false;
                self.state.succeeded(now);
                let sent = self.waiting.events.min(BATCH.max_events.into());
                self.waiting.events -= sent;
                self.waiting.bytes -= sent * EVENT;
                self.waiting.open_batches = 0;
                if self.waiting.events == 0 {
                    self.waiting.oldest = None;
                }
            }
            Answer::Failed(retry_after) => {
                // The batch was formed, and goes on being one.
                self.waiting.open_batches = 1;
                let wait = again::after_a_failure(&self.state, &RETRY, now, self.random.u64(..));
                let why = (None, String::new());
                let seed = self.random.u64(..);
                again::fail(
                    &mut self.state,
                    Condition::Backoff,
                    why,
                    (wait, retry_after),
                    &RETRY,
                    now,
                    seed,
                );
            }
        }
    }
}
