//! The machine's clocks, moved by hand together with tokio's: awake, asleep, set wrong, and after a boot.

use std::sync::Mutex;

use telemetry_queue::{Id, Moment};
use telemetryd::clock::Clock;

/// 2026-11-22, noon.
const BEGIN_MS: i64 = 1_795_348_800_000;

/// The clocks of one machine.
#[derive(Debug)]
pub(crate) struct Laptop(Mutex<Clocks>);

#[derive(Clone, Copy, Debug)]
struct Clocks {
    wall_ms: i64,
    boot_ms: u64,
    slept_ms: u64,
    /// Which boot this is.
    boot: u8,
}

impl Laptop {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Clocks {
            wall_ms: BEGIN_MS,
            boot_ms: 60_000,
            slept_ms: 0,
            boot: 1,
        }))
    }

    fn with<T>(&self, with: impl FnOnce(&mut Clocks) -> T) -> T {
        with(&mut self.0.lock().unwrap())
    }

    /// Time passes, timers go on.
    pub(crate) fn pass(&self, ms: u64) {
        self.with(|clocks| {
            clocks.wall_ms += i64::try_from(ms).unwrap();
            clocks.boot_ms += ms;
        });
    }

    /// The lid is closed for so long: timers stand still.
    pub(crate) fn sleep(&self, ms: u64) {
        self.pass(ms);
        self.with(|clocks| clocks.slept_ms += ms);
    }

    /// Somebody sets the wall clock.
    pub(crate) fn set(&self, by_ms: i64) {
        self.with(|clocks| clocks.wall_ms += by_ms);
    }

    /// The power was gone for so long.
    pub(crate) fn reboot(&self, off_ms: u64) {
        self.with(|clocks| {
            clocks.wall_ms += i64::try_from(off_ms).unwrap();
            clocks.boot_ms = 20_000;
            clocks.slept_ms = 0;
            clocks.boot += 1;
        });
    }

    /// Which boot this is.
    pub(crate) fn boot_number(&self) -> u8 {
        self.with(|clocks| clocks.boot)
    }
}

impl Clock for Laptop {
    fn now(&self) -> Moment {
        self.with(|clocks| Moment {
            wall_ms: clocks.wall_ms,
            boot_ms: clocks.boot_ms,
        })
    }

    fn suspended_ms(&self) -> u64 {
        self.with(|clocks| clocks.slept_ms)
    }

    fn boot(&self) -> Id {
        [self.boot_number(); 16]
    }
}
