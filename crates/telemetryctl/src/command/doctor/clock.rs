//! Is this machine's clock believable? It was never before this program was made, and not before files that are
//! there already. (With `--probe` the daemon compares it with the servers' clocks, which sees the rest.)

use std::path::Path;
use std::time::UNIX_EPOCH;

use telemetry_protocol::place::Mode;
use telemetry_protocol::time::Rfc3339;

use super::{Check, State, files};
use crate::Context;
use crate::clock::wall_ms;

/// The first of the month in which this version was begun: no program of it ran earlier. 2026-11-01, UTC.
const BEGUN_MS: i64 = 1_793_491_200_000;

const MINUTE_MS: i64 = 60 * 1000;
/// Clocks are set by so much in daily life.
const ORDINARY_MS: i64 = 5 * MINUTE_MS;
/// From here on ages, backoffs and certificates go by a wrong day.
const WRONG_MS: i64 = 24 * 60 * MINUTE_MS;

const HINT: &str = "set it ('timedatectl set-ntp true'): certificates and the times of events depend on it";

pub(super) fn check(context: &Context, mode: Mode) -> Check {
    let written = files::dirs(context, mode).and_then(|dirs| newest(&dirs.state));
    judge(wall_ms(), written)
}

/// What is said of `now`, where the newest file of the daemon was written at `written` (both in milliseconds).
fn judge(now: i64, written: Option<(i64, String)>) -> Check {
    let check = |state, detail: String| {
        let check = Check::new("clock", state, detail);
        if state == State::Ok {
            check
        } else {
            check.hint(HINT)
        }
    };
    if now < BEGUN_MS {
        let detail = format!("{} is before this program was made", Rfc3339(now));
        return check(State::Fail, detail);
    }
    match written {
        Some((at, file)) if at.saturating_sub(now) > ORDINARY_MS => {
            let state = if at.saturating_sub(now) > WRONG_MS {
                State::Fail
            } else {
                State::Warn
            };
            let (now, at) = (Rfc3339(now), Rfc3339(at));
            check(
                state,
                format!("{now} is before {at}, when {file} was written: it is wrong, or was"),
            )
        }
        _ => check(State::Ok, Rfc3339(now).to_string()),
    }
}

/// The newest of the files that a daemon writes.
fn newest(state: &Path) -> Option<(i64, String)> {
    let files = ["queue.db", "queue.db-wal", "queue.lock", "consent.toml"].map(|name| state.join(name));
    let times = files.iter().filter_map(|path| {
        let since = path
            .metadata()
            .ok()?
            .modified()
            .ok()?
            .duration_since(UNIX_EPOCH)
            .ok()?;
        Some((i64::try_from(since.as_millis()).ok()?, path.display().to_string()))
    });
    times.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_this_program_or_before_its_files_is_wrong() {
        let now = BEGUN_MS + WRONG_MS;
        let file = |ahead: i64| Some((now + ahead, "/s/queue.db".to_owned()));
        for (now, written, state) in [
            (now, None, State::Ok),
            (now, file(-WRONG_MS), State::Ok),
            (now, file(ORDINARY_MS), State::Ok),
            (now, file(ORDINARY_MS + 1), State::Warn),
            (now, file(WRONG_MS + 1), State::Fail),
            (0, None, State::Fail),
        ] {
            let check = judge(now, written);
            assert_eq!(check.state, state, "{check:?}");
            assert_eq!(check.hint.is_some(), state != State::Ok, "{check:?}");
        }
    }
}
