//! What is remembered of a destination between attempts and between starts: how it answers, when to try
//! again, what it takes. Kept as text beside the queue's rows, in the same transaction as the settlement.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use telemetry_delivery::RETRY_AFTER_MAX;
use telemetry_queue::{Id, Moment};
use uuid::Uuid;

/// What is said of a hold where all of a batch was refused with one status.
pub const REFUSES_EVERYTHING: &str = "refuses_everything";
/// A learned limit doubles again after so long (DELIVERY.md, 413).
const RELEARN_MS: i64 = 24 * 60 * 60 * 1000;
/// No limit below this is learned: one event of that size is then parked, not split for ever.
const LEAST_BYTES: u64 = 1024;
/// A streak of success this long makes the next failure the first "after a long healthy time".
const HEALTHY_MS: i64 = 10 * 60 * 1000;

/// How a destination is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It answers, or was never asked.
    #[default]
    Idle,
    /// It does not answer as it should: tried again later.
    Backoff,
    /// A captive portal answers in its place.
    Captive,
    /// Its operator has to change something.
    Held,
    /// It said that it is gone (410).
    Closed,
}

/// A moment in the future, by the clock that counts suspend, and by the wall for people and other boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// Wall clock, milliseconds.
    pub wall_ms: i64,
    #[serde(default)]
    boot_ms: u64,
}

impl Deadline {
    /// `wait` from now.
    #[must_use]
    pub fn after(now: Moment, wait: Duration) -> Self {
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self {
            wall_ms: now.wall_ms.saturating_add_unsigned(ms),
            boot_ms: now.boot_ms.saturating_add(ms),
        }
    }

    /// How long it still is; `None` when it is over.
    #[must_use]
    pub fn left(self, now: Moment) -> Option<Duration> {
        self.boot_ms
            .checked_sub(now.boot_ms)
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis)
    }

    /// After a restart: as it was in the boot that it was set in, whatever became of the wall clock. In another boot
    /// only that is known; a clock that was set wrong must not wait for years.
    fn restored(self, now: Moment, this_boot: bool, at_most: Duration) -> Self {
        let left = if this_boot {
            self.left(now).unwrap_or_default()
        } else {
            Duration::from_millis(u64::try_from(self.wall_ms.saturating_sub(now.wall_ms)).unwrap_or(0))
        };
        Self::after(now, left.min(at_most))
    }
}

/// The destination's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// How it is.
    pub condition: Condition,
    /// Why it is held, captive, closed: a word for `status`.
    pub reason: Option<String>,
    /// Failed attempts since the last success.
    pub attempts: u32,
    /// Nothing goes before this, `flush` aside.
    pub next_try: Option<Deadline>,
    /// Nothing goes before this, `flush` included.
    pub retry_after: Option<Deadline>,
    /// What went wrong last, for people.
    pub last_error: Option<String>,
    /// Wall clock of the first success since the last failure, milliseconds.
    pub healthy_since_ms: Option<i64>,
    /// Bytes that it takes, learned from a 413.
    pub learned_max_bytes: Option<u64>,
    /// Wall clock when that was learned, milliseconds.
    pub learned_at_ms: i64,
    /// Single events of each user that were refused one after the other, where a request has one event.
    pub refused_alone: BTreeMap<u32, u32>,
    /// A person stopped it, until then or until `resume`.
    pub paused: bool,
    /// See `paused`.
    pub paused_until: Option<Deadline>,
    /// Users whose rows wait although the destination answers: all of a batch of theirs was refused with one status
    /// (in a machine-wide daemon).
    pub held_users: BTreeMap<u32, HeldUser>,
    /// Somebody's batch was refused as a whole, and nothing was delivered since.
    pub doubted: bool,
    /// A request is under way.
    #[serde(skip)]
    pub sending: bool,
    /// The boot of the machine that the deadlines are of.
    boot: Uuid,
}

/// A user whose rows for a destination wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldUser {
    /// They are tried again then.
    pub next_try: Deadline,
    /// What went wrong, for people.
    pub last_error: String,
}

impl State {
    /// What was kept, in this boot or another, deadlines bounded: a wait is at most as long as it could have been.
    #[must_use]
    pub fn restore(text: &str, now: Moment, boot: Id, longest_wait: Duration) -> Self {
        let mut state: Self = serde_json::from_str(text).unwrap_or_default();
        let boot = Uuid::from_bytes(boot);
        let this_boot = std::mem::replace(&mut state.boot, boot) == boot;
        state.retry_after = state
            .retry_after
            .map(|d| d.restored(now, this_boot, RETRY_AFTER_MAX));
        // Beyond the server's word as long as it could have been without one.
        let servers = state.retry_after.and_then(|d| d.left(now)).unwrap_or_default();
        state.next_try = state
            .next_try
            .map(|d| d.restored(now, this_boot, servers + longest_wait));
        state.paused_until = state
            .paused_until
            .map(|d| d.restored(now, this_boot, Duration::from_secs(u32::MAX.into())));
        state
    }

    /// As it is kept.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether a person's pause holds now; one whose time is over does not.
    #[must_use]
    pub fn paused(&self, now: Moment) -> bool {
        self.paused && self.paused_until.is_none_or(|until| until.left(now).is_some())
    }

    /// The word of `status`.
    #[must_use]
    pub fn word(&self, now: Moment) -> &'static str {
        match self.condition {
            _ if self.paused(now) => "paused",
            _ if self.sending => "sending",
            Condition::Idle => "idle",
            Condition::Backoff => "backoff",
            Condition::Captive => "captive",
            Condition::Held => "held",
            Condition::Closed => "closed",
        }
    }

    /// As it is to this user, whose rows may be held apart; `None`: to everybody, where rows of others may go.
    #[must_use]
    pub fn seen_by(&self, uid: Option<u32>, others_wait: bool) -> Cow<'_, Self> {
        let held = match uid {
            Some(uid) => self.held_users.get(&uid),
            None if others_wait => None,
            None => self.held_users.values().min_by_key(|held| held.next_try.wall_ms),
        };
        match held {
            Some(held)
                if matches!(
                    self.condition,
                    Condition::Idle | Condition::Backoff | Condition::Captive
                ) =>
            {
                let mut seen = self.clone();
                seen.condition = Condition::Held;
                seen.reason = Some(REFUSES_EVERYTHING.to_owned());
                seen.next_try = Some(held.next_try);
                seen.last_error = Some(held.last_error.clone());
                seen.sending = false;
                Cow::Owned(seen)
            }
            _ => Cow::Borrowed(self),
        }
    }

    /// It took a batch.
    pub fn succeeded(&mut self, now: Moment) {
        self.doubted = false;
        self.condition = Condition::Idle;
        self.reason = None;
        self.attempts = 0;
        self.next_try = None;
        self.retry_after = None;
        self.last_error = None;
        self.healthy_since_ms.get_or_insert(now.wall_ms);
    }

    /// It answered, though it did not take the batch: what was said of its absence is over.
    pub fn answered(&mut self) {
        if self.is_away() {
            self.condition = Condition::Idle;
            self.attempts = 0;
            self.next_try = None;
            self.last_error = None;
        }
    }

    /// Whether it was not there to answer.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self.condition, Condition::Backoff | Condition::Captive)
    }

    /// It did not: wait.
    pub fn failed(&mut self, condition: Condition, reason: Option<String>, error: String, until: Deadline) {
        self.condition = condition;
        self.reason = reason;
        self.attempts = self.attempts.saturating_add(1);
        self.next_try = Some(until);
        self.last_error = Some(error);
        self.healthy_since_ms = None;
    }

    /// Whether a failure now would be the first after a long healthy time.
    #[must_use]
    pub fn long_healthy(&self, now: Moment) -> bool {
        self.healthy_since_ms
            .is_some_and(|since| now.wall_ms.saturating_sub(since) >= HEALTHY_MS)
    }

    /// A batch of so many encoded bytes was too large.
    pub fn learn_too_large(&mut self, bytes: u64, now: Moment) {
        let half = (bytes / 2).max(LEAST_BYTES);
        self.learned_max_bytes = Some(self.learned_max_bytes.map_or(half, |learned| learned.min(half)));
        self.learned_at_ms = now.wall_ms;
    }

    /// Encoded bytes that a batch may have: what was learned, doubled each day, at most `configured`.
    #[must_use]
    pub fn max_bytes(&self, configured: u64, now: Moment) -> u64 {
        let Some(learned) = self.learned_max_bytes else {
            return configured;
        };
        let days = now.wall_ms.saturating_sub(self.learned_at_ms).max(0) / RELEARN_MS;
        let factor = u32::try_from(days)
            .ok()
            .and_then(|days| 1_u64.checked_shl(days))
            .unwrap_or(u64::MAX);
        learned.saturating_mul(factor).min(configured)
    }

    /// What was learned is forgotten when it does not narrow any more.
    pub fn forget_learned(&mut self, configured: u64, now: Moment) {
        if self.max_bytes(configured, now) == configured {
            self.learned_max_bytes = None;
        }
    }

    /// A person stops it.
    pub fn pause(&mut self, now: Moment, hold: Option<Duration>) {
        self.paused = true;
        self.paused_until = hold.map(|hold| Deadline::after(now, hold));
    }

    /// A person lets it go on, and takes a hold for mended.
    pub fn resume(&mut self) {
        self.paused = false;
        self.paused_until = None;
        self.release();
    }

    /// A pause that is over is no pause.
    pub fn end_pause(&mut self, now: Moment) {
        if self.paused && !self.paused(now) {
            self.paused = false;
            self.paused_until = None;
        }
    }

    /// A person changed something: what held it may be mended.
    pub fn release(&mut self) {
        self.held_users.clear();
        self.doubted = false;
        if matches!(self.condition, Condition::Held | Condition::Closed) {
            self.condition = Condition::Idle;
            self.reason = None;
            self.next_try = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment {
            wall_ms: 1_800_000_000_000 + i64::try_from(ms).unwrap(),
            boot_ms: ms,
        }
    }

    #[test]
    fn a_deadline_survives_a_restart_and_a_wrong_clock() {
        let mut state = State::default();
        state.failed(
            Condition::Backoff,
            None,
            "x".into(),
            Deadline::after(at(0), Duration::from_secs(60)),
        );
        let text = state.text();
        let later = State::restore(&text, at(20_000), [2; 16], Duration::from_secs(1800));
        assert_eq!(
            later.next_try.unwrap().left(at(20_000)),
            Some(Duration::from_secs(40))
        );
        // The clock was set back a year: the wait is as long as it could have been, no longer.
        let back = Moment {
            wall_ms: at(0).wall_ms - 31_536_000_000,
            boot_ms: 5,
        };
        let state = State::restore(&text, back, [2; 16], Duration::from_secs(1800));
        assert_eq!(
            state.next_try.unwrap().left(back),
            Some(Duration::from_secs(1800))
        );
        assert_eq!(
            State::restore("not json", at(0), [0; 16], Duration::ZERO),
            State::default()
        );
    }

    #[test]
    fn a_deadline_of_this_boot_survives_a_restart_though_the_wall_clock_was_set() {
        let mut state = State::restore("", at(0), [1; 16], Duration::ZERO);
        state.retry_after = Some(Deadline::after(at(0), Duration::from_secs(10)));
        state.pause(at(0), Some(Duration::from_secs(3600)));
        let text = state.text();
        for by in [-31_536_000_000, 31_536_000_000] {
            let now = Moment {
                wall_ms: at(0).wall_ms + by,
                boot_ms: 4_000,
            };
            let left = |until: Option<Deadline>| until.and_then(|until| until.left(now));
            let restored = State::restore(&text, now, [1; 16], Duration::from_secs(1800));
            assert_eq!(left(restored.retry_after), Some(Duration::from_secs(6)));
            assert_eq!(left(restored.paused_until), Some(Duration::from_secs(3596)));
            let shown = restored.retry_after.unwrap().wall_ms;
            assert_eq!(shown, now.wall_ms + 6_000, "as people see it");
        }
    }

    #[test]
    fn a_learned_limit_doubles_each_day_until_it_is_none() {
        let mut state = State::default();
        state.learn_too_large(100_000, at(0));
        state.learn_too_large(200_000, at(0));
        assert_eq!(
            state.max_bytes(262_144, at(0)),
            50_000,
            "a limit is never learned upwards"
        );
        let day = |n: u64| at(n * 86_400_000);
        for (days, bytes) in [(1, 100_000), (2, 200_000), (3, 262_144), (4000, 262_144)] {
            assert_eq!(state.max_bytes(262_144, day(days)), bytes);
        }
        state.forget_learned(262_144, day(2));
        assert_eq!(state.learned_max_bytes, Some(50_000));
        state.forget_learned(262_144, day(3));
        assert_eq!(state.learned_max_bytes, None);
    }
}
