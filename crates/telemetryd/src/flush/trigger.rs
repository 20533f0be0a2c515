//! When a batch goes: one pure function of what waits, how the destination is, and the time (DELIVERY.md,
//! "When a batch goes"). "Send sooner when…" belongs here.

use std::time::Duration;

use telemetry_delivery::BatchLimits;
use telemetry_queue::{Moment, Waiting};

use super::state::{Condition, State};
use crate::phase::Phase;

/// The machine's own share of `max_wait`, in percent: 80 to 120, from a seed, so that a fleet that started
/// together does not send together.
#[must_use]
pub fn percent(seed: u64) -> u32 {
    80 + u32::try_from(fastrand::Rng::with_seed(seed).u64(0..=40)).unwrap_or(20)
}

/// What the flusher does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Claims and sends.
    Send,
    /// Waits for this long, or until something changes.
    Wait(Duration),
    /// Waits until something changes: no timer (I11).
    Sleep,
    /// Draining, and nothing can be done any more.
    Leave,
}

/// Everything that the decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The time.
    pub now: Moment,
    /// What waits for this destination.
    pub waiting: &'a Waiting,
    /// How it is.
    pub state: &'a State,
    /// Its batch settings.
    pub batch: &'a BatchLimits,
    /// [`percent`] of this machine.
    pub percent: u32,
    /// Somebody asked to flush what waited, and not all of that has left.
    pub flush: bool,
    /// An attempt failed since the drain began.
    pub drained: bool,
    /// Where the daemon is in its life.
    pub phase: Phase,
}

/// Decides.
#[must_use]
pub fn next(inputs: &Inputs<'_>) -> Next {
    let Inputs {
        now,
        waiting,
        state,
        batch,
        ..
    } = *inputs;
    let draining = inputs.phase >= Phase::Draining;
    let idle = if draining { Next::Leave } else { Next::Sleep };
    if inputs.phase == Phase::Stopping || waiting.events == 0 {
        return idle;
    }
    if draining && (inputs.drained || state.condition != Condition::Idle) {
        return Next::Leave;
    }
    let wait = |left: Duration| if draining { Next::Leave } else { Next::Wait(left) };
    if state.paused {
        return state
            .paused_until
            .and_then(|until| until.left(now))
            .map_or(idle, wait);
    }
    // A server's word, and a hold, stand above everything, `flush` included.
    if let Some(left) = state.retry_after.and_then(|until| until.left(now)) {
        return wait(left);
    }
    let past_backoff = inputs.flush && !matches!(state.condition, Condition::Held | Condition::Closed);
    if !past_backoff && let Some(left) = state.next_try.and_then(|until| until.left(now)) {
        return wait(left);
    }
    let full = is_full(waiting, batch);
    // What was formed once goes on at once: halves, and batches whose wait is over.
    if draining || inputs.flush || full || waiting.open_batches > 0 {
        return Next::Send;
    }
    let max_wait = batch.max_wait * inputs.percent / 100;
    match max_wait.checked_sub(age(now, waiting)) {
        Some(left) if !left.is_zero() => Next::Wait(left),
        _ => Next::Send,
    }
}

/// Whether a whole batch waits.
#[must_use]
pub fn is_full(waiting: &Waiting, batch: &BatchLimits) -> bool {
    waiting.events >= u64::from(batch.max_events) || waiting.bytes >= batch.max_bytes
}

/// How long the oldest has waited. By the wall clock where it was received in another boot; a clock that was set
/// forward since makes it seem old, which moves one batch. What seems to come from the future was received before the
/// clock was set back, nobody knows when: it goes now, for it would wait until that future.
fn age(now: Moment, waiting: &Waiting) -> Duration {
    let ms = match waiting.oldest {
        None => 0,
        Some(oldest) if waiting.oldest_this_boot => now.boot_ms.saturating_sub(oldest.boot_ms),
        Some(oldest) => u64::try_from(now.wall_ms.saturating_sub(oldest.wall_ms)).unwrap_or(u64::MAX),
    };
    Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flush::state::Deadline;

    const BATCH: BatchLimits = BatchLimits {
        max_events: 500,
        max_bytes: 262_144,
        max_wait: Duration::from_secs(60),
    };

    fn at(ms: u64) -> Moment {
        Moment {
            wall_ms: 1_800_000_000_000,
            boot_ms: ms,
        }
    }

    fn waiting(events: u64) -> Waiting {
        Waiting {
            events,
            bytes: events * 400,
            oldest: (events > 0).then(|| at(0)),
            oldest_this_boot: true,
            ..Waiting::default()
        }
    }

    struct Case {
        waiting: Waiting,
        state: State,
        now: Moment,
        flush: bool,
        phase: Phase,
    }

    impl Case {
        fn new(events: u64) -> Self {
            let (waiting, state) = (waiting(events), State::default());
            Self {
                waiting,
                state,
                now: at(0),
                flush: false,
                phase: Phase::Running,
            }
        }

        fn next(&self) -> Next {
            next(&Inputs {
                now: self.now,
                waiting: &self.waiting,
                state: &self.state,
                batch: &BATCH,
                percent: 100,
                flush: self.flush,
                drained: false,
                phase: self.phase,
            })
        }
    }

    fn failing(condition: Condition) -> Case {
        let mut case = Case::new(1);
        let until = Deadline::after(at(0), Duration::from_secs(9));
        case.state.failed(condition, None, "x".into(), until);
        case
    }

    #[test]
    fn nothing_waiting_means_no_timer() {
        assert_eq!(Case::new(0).next(), Next::Sleep);
    }

    #[test]
    fn a_batch_goes_when_it_is_full_or_old_whichever_comes_first() {
        assert_eq!(Case::new(500).next(), Next::Send);
        let mut case = Case::new(3);
        assert_eq!(case.next(), Next::Wait(Duration::from_secs(60)));
        case.now = at(59_000);
        assert_eq!(case.next(), Next::Wait(Duration::from_secs(1)));
        case.now = at(60_000);
        assert_eq!(case.next(), Next::Send);
        let mut case = Case::new(3);
        case.waiting.bytes = 262_144;
        assert_eq!(case.next(), Next::Send);
    }

    #[test]
    fn what_another_boot_received_under_a_clock_that_was_set_back_since_goes_now() {
        let mut case = Case::new(1);
        case.waiting.oldest_this_boot = false;
        assert_eq!(case.next(), Next::Wait(Duration::from_secs(60)));
        case.now.wall_ms -= 365 * 86_400_000;
        assert_eq!(case.next(), Next::Send);
    }

    #[test]
    fn a_flush_goes_past_a_backoff_but_never_past_a_hold_a_pause_or_a_retry_after() {
        let mut backoff = failing(Condition::Backoff);
        assert_eq!(backoff.next(), Next::Wait(Duration::from_secs(9)));
        backoff.flush = true;
        assert_eq!(backoff.next(), Next::Send);
        backoff.state.retry_after = Some(Deadline::after(at(0), Duration::from_secs(7)));
        assert_eq!(backoff.next(), Next::Wait(Duration::from_secs(7)));
        let mut held = failing(Condition::Held);
        held.flush = true;
        assert_eq!(held.next(), Next::Wait(Duration::from_secs(9)));
        let mut paused = Case::new(500);
        paused.flush = true;
        paused.state.paused = true;
        assert_eq!(paused.next(), Next::Sleep);
    }

    #[test]
    fn halves_and_batches_whose_wait_is_over_go_at_once() {
        let mut case = Case::new(1);
        case.waiting.open_batches = 1;
        assert_eq!(case.next(), Next::Send);
    }

    #[test]
    fn a_drain_sends_what_waits_once_and_leaves_what_is_in_backoff() {
        let mut case = Case::new(1);
        case.phase = Phase::Draining;
        assert_eq!(case.next(), Next::Send);
        let mut backoff = failing(Condition::Backoff);
        backoff.phase = Phase::Draining;
        assert_eq!(backoff.next(), Next::Leave);
        let mut empty = Case::new(0);
        empty.phase = Phase::Draining;
        assert_eq!(empty.next(), Next::Leave);
    }

    #[test]
    fn machines_spread_over_two_fifths_of_the_wait() {
        let shares: Vec<u32> = (0..1000).map(percent).collect();
        assert!(shares.iter().all(|share| (80..=120).contains(share)));
        assert!(shares.iter().any(|share| *share < 85) && shares.iter().any(|share| *share > 115));
    }
}
