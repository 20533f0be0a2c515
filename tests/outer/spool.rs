//! What clients left while no daemon answered: taken over at the start and when it appears, by the same door as the
//! socket, and removed only when it was answered for (docs/spool.md).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use telemetry_testkit::sink::Script;
use telemetry_testkit::{Ctl, DEADLINE, Daemon, Home, eventually};

use crate::stage::{
    SOON, TOLD, TOOL, ask, booked, destination, endpoint, event, home, id, manifest, queue, status,
};

/// The spool of that home, made as a client makes it.
fn spool(home: &Home) -> PathBuf {
    let directory = home.state_dir().join("spool");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).unwrap();
    directory
}

/// Leaves a file as a client does: whole, by a rename.
fn leave(directory: &Path, name: &str, text: &str) {
    let beside = directory.join(format!(".{name}.tmp"));
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, directory.join(name)).unwrap();
}

fn leave_event(directory: &Path, event: &Value) {
    let (id, tool) = (event["id"].as_str().unwrap(), event["tool"].as_str().unwrap());
    leave(directory, &format!("{id}.{tool}.ndjson"), &format!("{event}\n"));
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn empty(directory: &Path) {
    eventually("the spool is empty", DEADLINE, || {
        names(directory).is_empty().then_some(())
    });
}

fn metric(daemon: &Daemon, name: &str) -> u64 {
    let text = ask(daemon, &json!({"op": "metrics"}))["text"]
        .as_str()
        .unwrap()
        .to_owned();
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{name}_total ")))
        .unwrap()
        .to_owned();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn what_waited_is_delivered_by_the_daemon_that_starts_and_what_appears_later_too() {
    let endpoint = endpoint(Script::new());
    let home = home();
    let spool = spool(&home);
    for n in 0..300 {
        leave_event(&spool, &event(n));
    }
    let daemon = Daemon::start(&home, &destination(&endpoint.url(), SOON));
    endpoint.wait_for_ids((0..300).map(id));
    empty(&spool);
    leave_event(&spool, &event(300));
    endpoint.wait_for_ids([id(300)]);
    empty(&spool);
    assert_eq!(metric(&daemon, "telemetryd_spool_events"), 301);
    assert_eq!(booked(&status(&daemon), "accepted"), 301);
    drop(daemon);
    endpoint.finish();
}

#[test]
fn a_spool_that_is_made_while_the_daemon_runs_is_seen() {
    let endpoint = endpoint(Script::new());
    let home = home();
    let _daemon = Daemon::start(&home, &destination(&endpoint.url(), SOON));
    leave_event(&spool(&home), &event(1));
    endpoint.wait_for_ids([id(1)]);
    endpoint.finish();
}

#[test]
fn the_manifest_that_a_client_carried_is_registered_before_its_events_are_judged() {
    let endpoint = telemetry_testkit::Collector::for_tool("new");
    let home = home();
    let spool = spool(&home);
    leave(
        &spool,
        "new.toml",
        &manifest("new").replace(
            "\"opt-out\"",
            "\"opt-out\"\nnotice_required = \"tool\"\nnotice = \"It is on.\"",
        ),
    );
    leave_event(&spool, &json!({"tool": "new", "event": "ran", "id": id(1)}));
    let daemon = Daemon::start(&home, &destination(&endpoint.url(), SOON));
    endpoint.wait_for_ids([id(1)]);
    empty(&spool);
    let shown = ask(&daemon, &json!({"op": "tools", "action": "show", "tool": "new"}));
    assert!(shown.to_string().contains("registered"), "{shown}");
    drop(daemon);
    endpoint.finish();
}

#[test]
fn consent_is_asked_again_and_what_is_denied_now_is_erased_and_never_stored() {
    let endpoint = endpoint(Script::new());
    let home = home();
    let spool = spool(&home);
    leave_event(&spool, &event(1));
    leave_event(
        &spool,
        &json!({"tool": "other", "event": "ran", "id": id(2), "properties": {"n": 424_242}}),
    );
    home.write(home.config_dir().join("consent.toml"), "[tools]\nother = false\n");
    let daemon = Daemon::start(&home, &destination(&endpoint.url(), SOON));
    endpoint.wait_for_ids([id(1)]);
    empty(&spool);
    assert_eq!(booked(&status(&daemon), "accepted"), 1);
    drop(daemon);
    endpoint.finish();
}

#[test]
fn what_is_no_event_is_removed_and_counted_and_what_is_nobodys_stays() {
    let endpoint = endpoint(Script::new());
    let home = home();
    let spool = spool(&home);
    leave(&spool, &format!("{}.{TOOL}.ndjson", id(1)), "");
    leave(&spool, &format!("{}.{TOOL}.ndjson", id(2)), "{\"op\":\"stop\"}\n");
    leave(
        &spool,
        &format!("{}.{TOOL}.ndjson", id(3)),
        &format!("{}\n", event(4)),
    );
    leave(
        &spool,
        &format!("{}.{TOOL}.ndjson", id(5)),
        &format!("{}\n{}\n", event(5), event(6)),
    );
    leave(&spool, "notes.txt", "mine");
    leave(&spool, "wedged", "");
    leave(&spool, &format!("{TOOL}.dropped"), "\n\n\n");
    leave(&spool, "other.expired", "\n");
    let daemon = Daemon::start(&home, &destination(&endpoint.url(), SOON));
    eventually("only what is nobody's is left", DEADLINE, || {
        (names(&spool) == ["notes.txt", "wedged"]).then_some(())
    });
    leave_event(&spool, &event(7));
    endpoint.wait_for_ids([id(7)]);
    assert_eq!(booked(&status(&daemon), "accepted"), 1);
    assert_eq!(metric(&daemon, "telemetryd_spool_dropped"), 3);
    assert_eq!(metric(&daemon, "telemetryd_spool_expired"), 1);
    drop(daemon);
    endpoint.finish();
}

#[test]
fn what_waits_and_what_had_no_room_is_told_with_and_without_a_daemon() {
    let endpoint = endpoint(Script::new());
    let home = home();
    let spool = spool(&home);
    leave_event(&spool, &event(1));
    leave(&spool, &format!("{TOOL}.dropped"), "\n\n\n");
    leave(&spool, "other.expired", "\n");
    let ctl = Ctl::new(&home);
    let told =
        "1 event waiting for a daemon; 3 events dropped unsent: it was full; 1 event dropped unsent: too old";
    for command in ["status", "doctor"] {
        let said = ctl.run([command]).expect_code(3).stdout;
        assert!(said.contains(told), "{command}: {said}");
    }
    let daemon = Daemon::start(&home, &destination(&endpoint.url(), SOON));
    endpoint.wait_for_ids([id(1)]);
    empty(&spool);
    assert_eq!(
        status(&daemon)["spool"],
        json!({"taken": 1, "dropped": 3, "expired": 1})
    );
    let said = ctl.run(["status"]).expect_code(0).stdout;
    assert!(
        said.contains("3 events dropped unsent: it was full; 1 event"),
        "{said}"
    );
    let said = ctl.run(["doctor"]).stdout;
    assert!(said.contains("3 events had no room and 1 grew too old"), "{said}");
    drop(daemon);
    endpoint.finish();
}

#[test]
fn an_event_that_the_daemon_has_already_is_one_event() {
    let endpoint = endpoint(Script::new());
    let home = home();
    let spool = spool(&home);
    let daemon = Daemon::start(&home, &destination(&endpoint.url(), TOLD));
    queue(&daemon, [event(1)]);
    leave_event(&spool, &event(1));
    empty(&spool);
    assert_eq!(booked(&status(&daemon), "accepted"), 1);
    assert_eq!(metric(&daemon, "telemetryd_events_duplicate"), 1);
}

#[test]
fn a_spool_that_others_may_write_to_is_left_alone() {
    let endpoint = endpoint(Script::new());
    let home = home();
    let spool = spool(&home);
    leave_event(&spool, &event(1));
    std::fs::set_permissions(&spool, std::fs::Permissions::from_mode(0o777)).unwrap();
    let daemon = Daemon::start(&home, &destination(&endpoint.url(), SOON));
    queue(&daemon, [event(2)]);
    endpoint.wait_for_ids([id(2)]);
    assert_eq!(names(&spool).len(), 1);
    assert_eq!(booked(&status(&daemon), "accepted"), 1);
}

#[test]
fn what_a_full_disk_or_a_killed_daemon_left_is_taken_by_the_next_one_once() {
    let endpoint = endpoint(Script::new());
    let home = home();
    let spool = spool(&home);
    for n in 0..200 {
        leave_event(&spool, &event(n));
    }
    let mut daemon = Daemon::start(&home, &destination(&endpoint.url(), TOLD));
    eventually("some were taken", DEADLINE, || {
        (names(&spool).len() < 200).then_some(())
    });
    daemon.kill9();
    daemon.restart();
    empty(&spool);
    assert_eq!(booked(&status(&daemon), "accepted"), 200);
}

#[test]
fn links_pipes_and_directories_in_the_spool_are_no_events_and_hold_up_nothing() {
    let endpoint = endpoint(Script::new());
    let home = home();
    let spool = spool(&home);
    let name = |n: u64| spool.join(format!("{}.{TOOL}.ndjson", id(n)));
    // A file that only its owner could lead the daemon to, as somebody else's events.
    let elsewhere = home.root().join("elsewhere");
    home.write(&elsewhere, format!("{}\n", event(1)));
    std::os::unix::fs::symlink(&elsewhere, name(1)).unwrap();
    let piped = std::process::Command::new("mkfifo")
        .arg(name(2))
        .status()
        .unwrap();
    assert!(piped.success());
    std::fs::create_dir(name(3)).unwrap();
    std::os::unix::fs::symlink("/dev/zero", name(4)).unwrap();
    std::os::unix::fs::symlink(name(5), name(5)).unwrap();
    std::os::unix::net::UnixListener::bind(name(6)).unwrap();
    leave_event(&spool, &event(7));
    let daemon = Daemon::start(&home, &destination(&endpoint.url(), SOON));
    endpoint.wait_for_ids([id(7)]);
    eventually("only the directory is left", DEADLINE, || {
        (names(&spool).len() == 1).then_some(())
    });
    assert!(elsewhere.exists(), "what a link leads to is nobody's business");
    assert_eq!(booked(&status(&daemon), "accepted"), 1);
    drop(daemon);
    endpoint.finish();
}

#[test]
fn a_file_that_changes_while_it_is_read_is_the_event_of_its_name_or_none() {
    let endpoint = endpoint(Script::new());
    let home = home();
    let spool = spool(&home);
    let daemon = Daemon::start(&home, &destination(&endpoint.url(), TOLD));
    let long = |n: u64| {
        let mut event = event(n);
        event["properties"] = json!({"pad": "x".repeat(30_000)});
        format!("{event}\n")
    };
    let others = format!("{}{{\"op\":\"stop\"}}\n", event(9_999));
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (spool, long, others) = (&spool, &long, &others);
            scope.spawn(move || {
                for round in 0..50 {
                    // In the place where it is, over and over: another length, another event, a request behind it.
                    let number = n * 1_000 + round;
                    let path = spool.join(format!("{}.{TOOL}.ndjson", id(number)));
                    for text in [long(number), others.clone(), format!("{}\n", event(number))] {
                        std::fs::write(&path, text).unwrap();
                    }
                }
            });
        }
    });
    // Written in their place, which no client does, they are not noticed; what is renamed into it is.
    leave_event(&spool, &event(8_888));
    empty(&spool);
    // Whole events of their names, each once; the daemon is there, and was asked for nothing.
    let rows = crate::stage::waiting(&daemon);
    assert!((1..=201).contains(&rows.len()), "{}", rows.len());
    assert!(rows.iter().all(|row| row["id"] != id(9_999).as_str()), "{rows:?}");
    queue(&daemon, [event(10_000)]);
}
