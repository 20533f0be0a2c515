//! A daemon that was started on demand, and is older than the one beside the tool, is asked to leave when it has sent
//! what it has; the next event starts the newer. Asked once a day, within the deadline of the event before it (I10). What
//! a service manager started is its own to replace.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use serde_json::Value;

use crate::{Connection, Surroundings, TalkError, clock, start};

/// What this library is; the daemon that is packed beside a tool is of its version or newer.
const OURS: &str = env!("CARGO_PKG_VERSION");

/// In the state directory: when a daemon was last asked for its version.
const ASKED_AT: &str = "version-asked";
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether this process has asked.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Asks the daemon at the other end whether it is older, and if so to leave. Nothing that fails here matters.
pub(crate) fn replace_older(
    connection: &mut Connection,
    surroundings: &Surroundings,
    state: &Path,
    until: Instant,
) {
    let marker = state.join(ASKED_AT);
    if ASKED.swap(true, Ordering::Relaxed)
        || !due(&marker)
        || !start::wanted(surroundings)
        || start::program(surroundings).is_none()
        || !on_demand(state)
    {
        return;
    }
    // One that is busy is asked by the next process.
    let _ = ask(connection, &marker, OURS, until);
}

fn due(marker: &Path) -> bool {
    fs::symlink_metadata(marker).map_or(true, |found| clock::age(&found).is_none_or(|age| age >= A_DAY))
}

/// Whether the daemon was started by a client: then it holds the lock.
fn on_demand(state: &Path) -> bool {
    let lock = open(OpenOptions::new().write(true), &state.join(start::LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

fn ask(connection: &mut Connection, marker: &Path, ours: &str, until: Instant) -> Result<(), TalkError> {
    let hello = format!("{{\"op\":\"hello\",\"protocol\":1,\"client\":\"telemetryd-rust/{OURS}\"}}\n");
    connection.send(hello.as_bytes(), until)?;
    let answer: Value = serde_json::from_str(connection.line(until)?).unwrap_or_default();
    let mut create = OpenOptions::new();
    // Made anew or emptied: either way it is of this moment.
    open(create.write(true).create(true).truncate(true).mode(0o600), marker)
        .and_then(|marker| marker.set_modified(clock::wall()))
        .map_err(TalkError::Io)?;
    let theirs = answer["server"].as_str().unwrap_or_default();
    if older(theirs.strip_prefix("telemetryd/").unwrap_or_default(), ours) {
        connection.send(b"{\"op\":\"stop\",\"drain_ms\":10000}\n", until)?;
    }
    Ok(())
}

fn open(options: &mut OpenOptions, path: &Path) -> io::Result<fs::File> {
    options
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

/// By their numbers; what is not made of numbers is no older.
fn older(theirs: &str, ours: &str) -> bool {
    let numbers = |text: &str| {
        text.split('.')
            .map(|part| part.parse().ok())
            .collect::<Option<Vec<u32>>>()
    };
    matches!((numbers(theirs), numbers(ours)), (Some(theirs), Some(ours)) if theirs < ours)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (theirs, older_than) in [
            ("0.9.9", true),
            ("0.10", true),
            ("0.10.0", false),
            ("0.10.1", false),
            ("1.0.0", false),
            ("0.9.0-rc", false),
            ("", false),
        ] {
            assert_eq!(older(theirs, "0.10.0"), older_than, "{theirs}");
        }
    }

    #[test]
    fn an_older_one_is_asked_to_leave_and_another_is_only_asked_for_its_version() {
        for (server, leaves) in [
            ("telemetryd/0.0.9", true),
            ("telemetryd/99.0.0", false),
            ("other/0.0.1", false),
        ] {
            let home = tempfile::tempdir().unwrap();
            let marker = home.path().join(ASKED_AT);
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let daemon = std::thread::spawn(move || {
                let mut answers = theirs.try_clone().unwrap();
                answers
                    .write_all(format!("{{\"ok\":true,\"server\":\"{server}\"}}\n").as_bytes())
                    .unwrap();
                let lines = BufReader::new(theirs).lines().map_while(Result::ok);
                lines.collect::<Vec<_>>()
            });
            assert!(due(&marker));
            let mut connection = Connection::new(ours, "/t.sock".into());
            let until = clock::after(Duration::from_secs(10));
            ask(&mut connection, &marker, "0.1.0", until).unwrap();
            drop(connection);
            let heard = daemon.join().unwrap();
            assert!(heard[0].contains("\"op\":\"hello\""), "{heard:?}");
            assert_eq!(heard.iter().any(|line| line.contains("\"op\":\"stop\"")), leaves);
            assert!(!due(&marker), "asked today");
        }
    }

    #[test]
    fn who_holds_the_lock_was_started_on_demand() {
        let home = tempfile::tempdir().unwrap();
        assert!(!on_demand(home.path()), "nobody ever started one");
        let lock = fs::File::create(home.path().join(start::LOCK)).unwrap();
        assert!(
            !on_demand(home.path()),
            "it has gone, or a service manager's is there"
        );
        lock.lock().unwrap();
        assert!(on_demand(home.path()));
    }
}
