//! Named points at which the daemon kills itself, and a clock that can be moved, for the tests that look for what a
//! crash, a wrong clock or a night's sleep loses.
//!
//! Only in a build with the feature `kill-points`, which nothing that is shipped has, and only where
//! `TELEMETRYD_KILL_AT` names a point: `after-commit:3` is the third time that the queue has committed. Where
//! `TELEMETRYD_CLOCK` names a file, it says by how many milliseconds the wall clock is wrong, and how long the machine
//! has slept: `-3600000 0`.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The variable that names the point.
const VARIABLE: &str = "TELEMETRYD_KILL_AT";

/// The variable that names the file by which the clock is moved.
const CLOCK: &str = "TELEMETRYD_CLOCK";

/// By how much the wall clock is wrong, and how long the machine has slept, in milliseconds; nothing where nobody says.
#[must_use]
pub fn clock() -> (i64, u64) {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os(CLOCK).map(PathBuf::from));
    let said = file.as_ref().and_then(|file| {
        let text = std::fs::read_to_string(file).ok()?;
        let (wall, slept) = text.trim().split_once(' ')?;
        Some((wall.parse().ok()?, slept.parse().ok()?))
    });
    said.unwrap_or_default()
}

/// Which point, and how often it is still passed.
struct Chosen {
    point: String,
    left: AtomicU32,
}

/// Passes a point, or ends here as `kill -9` would.
pub fn at(point: &'static str) {
    static CHOSEN: OnceLock<Option<Chosen>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (point, nth) = text.split_once(':').unwrap_or((&text, "1"));
        Some(Chosen {
            point: point.to_owned(),
            left: AtomicU32::new(nth.parse().ok()?),
        })
    });
    if let Some(chosen) = chosen
        && chosen.point == point
        && chosen.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        // Nothing runs after it: no destructor, no flush.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal is delivered before this thread goes on; were it not, nothing may be done any more.
        loop {
            std::thread::park();
        }
    }
}
