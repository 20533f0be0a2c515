//! The only room that reads time (I9). Ages and backoff count by the clock that goes on through
//! suspend; the wall clock is for people and for what outlives a boot.

use telemetry_queue::{Id, Moment};

/// Where the time comes from; tests bring their own.
pub trait Clock: Send + Sync {
    /// The moment.
    fn now(&self) -> Moment;

    /// How long the machine has been suspended since its boot, in milliseconds: the clock that goes on through
    /// suspend less the one that timers go by. Two readings that differ tell of a suspend between them, without
    /// anybody having been woken for it.
    fn suspended_ms(&self) -> u64;

    /// Tells this boot of the machine from others, so that `boot_ms` is only compared within one. Where the system does
    /// not say, each question is of a boot of its own: what was before then goes by the wall clock.
    fn boot(&self) -> Id;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment {
            wall_ms: wall_ms(),
            boot_ms: boot_ms(),
        }
    }

    #[cfg(target_os = "linux")]
    fn suspended_ms(&self) -> u64 {
        // Timers first: what passes between the two readings counts as suspend, and is less than a millisecond.
        let timers = ms_of(rustix::time::ClockId::Monotonic);
        boot_ms().saturating_sub(timers)
    }

    #[cfg(not(target_os = "linux"))]
    fn suspended_ms(&self) -> u64 {
        // macOS: CLOCK_UPTIME_RAW does not count sleep (clock_gettime(3)), and is what timers go by; it has no name
        // in the crates that are used here. A resume is then seen as a wait that is over.
        0
    }

    fn boot(&self) -> Id {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .and_then(|text| uuid::Uuid::try_parse(text.trim()).ok())
            .unwrap_or_else(uuid::Uuid::new_v4)
            .into_bytes()
    }
}

fn wall_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is clock.rs")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let wall = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    #[cfg(feature = "kill-points")]
    let wall = wall.saturating_add(crate::kill_points::clock().0);
    wall
}

fn boot_ms() -> u64 {
    // macOS: CLOCK_MONOTONIC counts sleep there (clock_gettime(3)).
    #[cfg(target_os = "linux")]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let boot = ms_of(CLOCK);
    #[cfg(feature = "kill-points")]
    let boot = boot.saturating_add(crate::kill_points::clock().1);
    boot
}

fn ms_of(clock: rustix::time::ClockId) -> u64 {
    let now = rustix::time::clock_gettime(clock);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}
