//! A disk that is full or cannot be written: said clearly, nothing lost, and over by itself when there is room again.
//!
//! They need a mount of their own, so they need root; without it they say that they were skipped, and fail where
//! `CI=true`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use telemetry_testkit::{Collector, DEADLINE, Daemon, DaemonBuilder, Home, eventually};

use crate::stage::{SOON, TOLD, TOOL, ask, booked, destination, home, id, status};

/// Room for the queue below, what it keeps in reserve, and not much more.
const SMALL: &str = "size=24m";

/// A queue that is small beside that disk.
const QUEUE: &str = "[queue]\nmax_bytes = \"8MiB\"\nmax_bytes_per_tool = \"8MiB\"\n";

/// Whether a file system can be mounted for one process alone.
fn can_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .status();
    if tried.is_ok_and(|status| status.success()) {
        return true;
    }
    crate::stage::skipped("root and unshare are needed");
    false
}

/// A daemon whose state directory is a file system of its own, mounted with these options, with these files in it.
fn on_a_small_disk(home: &Home, options: &str, files: Option<&Path>) -> DaemonBuilder {
    let copy = files.map_or(String::new(), |files| {
        // The queue first: what is left takes the rest of the room.
        let files = files.display();
        format!("cp -p {files}/queue* \"$TELEMETRYD_STATE_DIR\"/; cp -p {files}/filler \"$TELEMETRYD_STATE_DIR\"/;")
    });
    let script = format!(
        "#!/bin/sh\nexec unshare -m sh -c 'mount -t tmpfs -o mode=0700,{options} tmpfs \"$TELEMETRYD_STATE_DIR\" && {{ {copy} exec {}; }}'\n",
        telemetry_testkit::telemetryd().display()
    );
    home.write("on-a-small-disk", script);
    let program = home.root().join("on-a-small-disk");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Daemon::builder(home).program(program)
}

/// The daemon's state directory, as it sees it.
fn inside(daemon: &Daemon) -> PathBuf {
    let state = daemon.home().state_dir();
    PathBuf::from(format!("/proc/{}/root", daemon.pid())).join(state.strip_prefix("/").unwrap())
}

fn sized(n: u64) -> Value {
    json!({"tool": TOOL, "event": "ran", "id": id(n), "properties": {"s": "x".repeat(2_000)}})
}

/// Takes all the room there is.
fn fill(daemon: &Daemon) -> PathBuf {
    let path = inside(daemon).join("filler");
    let mut file = fs::File::create(&path).unwrap();
    let block = vec![0u8; 4096];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
    path
}

#[test]
fn a_full_disk_refuses_new_events_goes_on_delivering_and_is_over_by_itself() {
    if !can_mount() {
        return;
    }
    let endpoint = Collector::builder().expect_tool(TOOL).start();
    let home = home();
    home.write_config(&destination(&endpoint.url(), &format!("{TOLD}{QUEUE}")));
    let daemon = on_a_small_disk(&home, SMALL, None).start();
    let mut tool = daemon.connect();
    let mut accepted = Vec::new();
    let mut n = 0;
    while n < 200 {
        assert_eq!(tool.ask(&sized(n))["status"], "queued");
        accepted.push(id(n));
        n += 1;
    }
    let filler = fill(&daemon);
    let refused = eventually("an event is refused", DEADLINE, || {
        let answer = tool.ask(&sized(n));
        n += 1;
        if answer["status"] == "queued" {
            accepted.push(answer["id"].as_str().unwrap().to_owned());
            return None;
        }
        Some(answer)
    });
    assert_eq!(refused["error"], "storage", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("disk"), "{refused}");
    let synced = tool.ask(&json!({"tool": TOOL, "event": "ran", "id": id(1_000_000), "ack": "synced", "properties": {"s": "x".repeat(60_000)}}));
    assert_eq!(synced["error"], "storage", "{synced}");
    assert_eq!(status(&daemon)["queue"]["disk_full"], true);
    let doctor = ask(&daemon, &json!({"op": "doctor"}));
    let disk = doctor["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["check"] == "disk")
        .unwrap();
    assert_eq!(disk["state"], "fail", "{disk}");
    // Delivery goes on.
    assert_eq!(
        ask(
            &daemon,
            &json!({"op": "flush", "wait": true, "timeout_ms": 15_000})
        )["left"],
        0,
        "{}",
        daemon.log()
    );
    endpoint.wait_for_ids(&accepted);
    // The same events come again, as clients resend: none is a second one, and none was half stored.
    fs::remove_file(filler).unwrap();
    let last = eventually("there is room again", DEADLINE, || {
        n += 1;
        let answer = tool.ask(&sized(n));
        (answer["status"] == "queued").then(|| answer["id"].as_str().unwrap().to_owned())
    });
    let shown = status(&daemon);
    assert_eq!(shown["queue"]["disk_full"], false, "{shown}");
    assert_eq!(booked(&shown, "accepted"), accepted.len() as u64 + 1);
    assert_eq!(tool.ask(&sized(0))["status"], "duplicate");
    assert_eq!(
        ask(
            &daemon,
            &json!({"op": "flush", "wait": true, "timeout_ms": 15_000})
        )["left"],
        0
    );
    endpoint.wait_for_ids([last]);
    assert_eq!(
        endpoint.ids().len(),
        accepted.len() + 1,
        "what was refused did not arrive"
    );
}

#[test]
fn a_daemon_killed_on_a_full_disk_starts_again_there_and_delivers() {
    if !can_mount() {
        return;
    }
    // The mount goes with the process: the second daemon gets a full disk with a copy of the files.
    let endpoint = Collector::builder().expect_tool(TOOL).expect_duplicates().start();
    let home = home();
    home.write_config(&destination(&endpoint.url(), &format!("{TOLD}{QUEUE}")));
    let mut first = on_a_small_disk(&home, SMALL, None).start();
    let mut tool = first.connect();
    let accepted: Vec<String> = (0..150)
        .map(|n| {
            let answer = tool.ask(&sized(n));
            assert_eq!(answer["status"], "queued");
            answer["id"].as_str().unwrap().to_owned()
        })
        .collect();
    fill(&first);
    // What the kill leaves, taken while the process is stopped.
    first.signal(rustix::process::Signal::STOP);
    let kept = home.root().join("kept");
    fs::create_dir(&kept).unwrap();
    for entry in fs::read_dir(inside(&first)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, kept.join(path.file_name().unwrap())).unwrap();
        }
    }
    first.kill9();
    drop(first);
    let second = on_a_small_disk(&home, SMALL, Some(&kept)).start();
    assert_eq!(
        ask(
            &second,
            &json!({"op": "flush", "wait": true, "timeout_ms": 15_000})
        )["left"],
        0,
        "{}",
        second.log()
    );
    endpoint.wait_for_ids(&accepted);
}

#[test]
fn a_state_directory_that_is_read_only_is_a_clear_error() {
    if !can_mount() {
        return;
    }
    let home = home();
    home.write_config(&destination("http://127.0.0.1:9/", SOON));
    let exit = on_a_small_disk(&home, "ro", None).run();
    assert!(
        matches!(exit.code, Some(1 | 77)),
        "{:?}: {}",
        exit.code,
        exit.stderr
    );
    assert!(exit.stderr.starts_with("error: "), "{}", exit.stderr);
    assert!(
        exit.stderr.contains(&home.state_dir().display().to_string()),
        "{}",
        exit.stderr
    );
    assert!(
        exit.stderr.to_lowercase().contains("read-only"),
        "{}",
        exit.stderr
    );
    assert!(
        !home.socket().exists(),
        "no socket of a daemon that did not start"
    );
}
