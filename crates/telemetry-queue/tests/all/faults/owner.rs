//! Other owners, wrong owners, and a directory that is not as it should be.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use telemetry_queue::ErrorKind;

use super::file;
use crate::support::{Bench, START, after, assert_balanced, events, lane, options, scratch};

#[test]
fn a_second_owner_is_refused_and_told_the_first_ones_pid() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    bench
        .append(events(&lane(1, "a", "t"), 0..10, 100, START))
        .unwrap();
    // In this process, and in another.
    let refused = Bench::open_at_once(&options(directory.path()), START)
        .err()
        .unwrap();
    assert_eq!(
        refused.kind,
        ErrorKind::Busy {
            pid: Some(std::process::id())
        }
    );
    assert!(
        refused.to_string().contains(&std::process::id().to_string()),
        "{refused}"
    );
    let said = crate::kill::tries_to_open(directory.path());
    assert_eq!(said, format!("Busy {{ pid: Some({}) }}", std::process::id()));
    bench
        .append(events(&lane(1, "a", "t"), 10..20, 100, START))
        .unwrap();
    bench.close();
    assert_eq!(crate::kill::tries_to_open(directory.path()), "open");
}

/// Whoever is the last to close a database removes its WAL, a person with the sqlite3 shell, too. That others have it
/// open is told by locks, and a process loses those that it has on a file by closing it in any way of its own.
#[test]
#[cfg(target_os = "linux")]
fn the_file_is_locked_from_its_first_life_on_so_that_nobody_who_looks_into_it_removes_the_wal() {
    let directory = scratch();
    // The life that makes the file, and one that finds it.
    for life in 0..2 {
        let bench = Bench::start(directory.path());
        bench
            .append(events(&lane(1, "a", "t"), life * 10..life * 10 + 5, 100, START))
            .unwrap();
        let inode = std::fs::metadata(file(directory.path())).unwrap().ino();
        let (pid, inode) = (std::process::id().to_string(), format!(":{inode}"));
        // proc_locks(5): `1: POSIX ADVISORY READ <pid> <major>:<minor>:<inode> <from> <to>`.
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let held = locks.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(1..4) == Some(&["POSIX", "ADVISORY", "READ"])
                && words.get(4) == Some(&&*pid)
                && words.get(5).is_some_and(|file| file.ends_with(&inode))
        });
        assert!(held, "life {life}:\n{locks}");
        bench.close();
    }
}

#[test]
fn what_a_dead_owner_left_is_no_obstacle() {
    let directory = scratch();
    assert!(crate::kill::opens_and_is_killed(directory.path(), "opened", 1));
    let lock = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        lock.into_iter()
            .any(|name| name.to_string_lossy().contains("lock")),
        "it left its lock"
    );
    let bench = Bench::start(directory.path());
    assert!(bench.report.unclean);
    assert_balanced(&bench);
}

#[test]
fn the_file_is_its_owners_alone() {
    let directory = scratch();
    let state = directory.path().join("state/telemetryd");
    let bench = Bench::start(&state);
    bench
        .append(events(&lane(1, "a", "t"), 0..10, 100, START))
        .unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for entry in std::fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_file_of_another_owner_is_refused_and_left_alone() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can make a file of another owner");
        return;
    }
    let directory = scratch();
    Bench::start(directory.path()).close();
    let before = std::fs::read(file(directory.path())).unwrap();
    std::os::unix::fs::chown(file(directory.path()), Some(65_534), Some(65_534)).unwrap();
    let refused = Bench::open(&options(directory.path()), START).err().unwrap();
    assert_eq!(refused.kind, ErrorKind::Denied, "{refused}");
    assert_eq!(std::fs::read(file(directory.path())).unwrap(), before);
    assert_eq!(std::fs::metadata(file(directory.path())).unwrap().uid(), 65_534);
}

#[test]
fn a_directory_of_another_owner_is_refused() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can make a directory of another owner");
        return;
    }
    let directory = scratch();
    std::os::unix::fs::chown(directory.path(), Some(65_534), Some(65_534)).unwrap();
    let refused = Bench::open(&options(directory.path()), START).err().unwrap();
    assert_eq!(refused.kind, ErrorKind::Denied, "{refused}");
}

#[test]
fn a_link_in_place_of_the_file_is_not_followed() {
    let directory = scratch();
    let elsewhere = scratch();
    let target = elsewhere.path().join("precious");
    std::fs::write(&target, b"precious").unwrap();
    std::os::unix::fs::symlink(&target, file(directory.path())).unwrap();
    let _ = Bench::open(&options(directory.path()), START);
    assert_eq!(std::fs::read(&target).unwrap(), b"precious");
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_with_that_reason() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    bench
        .append(events(&lane(1, "a", "t"), 0..10, 100, START))
        .unwrap();
    bench.close();
    // Root may write where permissions forbid it: a read-only mount is what stops both.
    let said = crate::kill::tries_to_open_read_only(directory.path());
    match said {
        Some(said) => assert_eq!(said, "Denied"),
        None => return skip("no private mount namespace can be made here"),
    }
    let bench = Bench::start(directory.path());
    assert_eq!(bench.rows().len(), 10);
}

#[test]
fn a_file_of_a_newer_schema_is_refused_and_left_alone() {
    let directory = scratch();
    let bench = Bench::start(directory.path());
    bench
        .append(events(&lane(1, "a", "t"), 0..10, 100, START))
        .unwrap();
    bench.close();
    let newer = rusqlite::Connection::open(file(directory.path())).unwrap();
    newer.pragma_update(None, "user_version", 1_000).unwrap();
    newer.close().unwrap();
    let before = std::fs::read(file(directory.path())).unwrap();
    for _ in 0..2 {
        let refused = Bench::open(&options(directory.path()), after(1)).err().unwrap();
        assert_eq!(refused.kind, ErrorKind::NewerSchema, "{refused}");
        assert!(refused.to_string().contains("1000"), "{refused}");
    }
    assert_eq!(
        std::fs::read(file(directory.path())).unwrap(),
        before,
        "not one byte of it has changed"
    );
    assert_eq!(super::set_aside(directory.path()).len(), 0);
}

#[test]
fn a_state_directory_that_is_deleted_under_a_running_queue_stops_nothing() {
    let directory = scratch();
    let state = directory.path().join("state");
    let bench = Bench::start(&state);
    bench
        .append(events(&lane(1, "a", "t"), 0..10, 100, START))
        .unwrap();
    std::fs::remove_dir_all(&state).unwrap();
    // Whatever is answered, it is an answer; and what was queued is still delivered or said to be gone.
    for turn in 0..20_u64 {
        let first = 100 + turn * 10;
        let _ = bench.append(events(&lane(1, "a", "t"), first..first + 10, 100, after(turn)));
    }
    let _ = bench.wait(
        bench
            .queue()
            .claim(&"a".into(), crate::support::at_most(5), after(100)),
    );
    assert!(bench.books().iter().all(telemetry_queue::Book::balanced));
    drop(bench);
    let bench = Bench::start(&state);
    assert_balanced(&bench);
    bench
        .append(events(&lane(1, "a", "t"), 0..10, 100, after(200)))
        .unwrap();
    bench.close();
}

/// Says visibly that a test could not run here; where it must be able to, that is a failure.
#[expect(clippy::print_stderr, reason = "a skipped test is to be seen")]
pub(super) fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("SKIPPED: {why}");
}

/// Whether `unshare` can give a child mounts of its own here: as root, or in a user namespace.
pub(crate) fn unshare() -> Option<Command> {
    for flags in [&["-m"][..], &["-Urm"]] {
        let works = Command::new("unshare").args(flags).arg("true").output();
        if works.is_ok_and(|output| output.status.success()) {
            let mut command = Command::new("unshare");
            command.args(flags);
            return Some(command);
        }
    }
    None
}
