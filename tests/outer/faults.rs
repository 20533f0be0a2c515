//! What the system does to a daemon: failing writes and syncs, no descriptors left, nobody who reads its log.
//!
//! Faults are injected by strace into the running daemon, and taken away again.

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use telemetry_testkit::sink::Script;
use telemetry_testkit::{Collector, DEADLINE, Daemon, Running, Tool, eventually};

use crate::stage::{
    SOON, Stage, TOLD, TOOL, ask, booked, destination, event, home, id, skipped, status, waiting,
};

/// strace at work on a daemon; it lets go when this is dropped.
struct Strace {
    running: Running,
    file: std::path::PathBuf,
}

impl Strace {
    /// Attaches to all threads with these arguments; `None` where that does not work.
    fn attach(daemon: &Daemon, args: &[&str]) -> Option<Self> {
        let file = daemon.home().root().join("trace");
        let mut command = daemon.home().command("strace");
        command
            .args(["-f", "-p", &daemon.pid().to_string(), "-o"])
            .arg(&file)
            .args(args);
        if Command::new("strace")
            .arg("-V")
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            skipped("strace is needed");
            return None;
        }
        let mut running = Running::start(command, None);
        let attached = eventually("strace is attached", DEADLINE, || {
            if running.exited().is_some() {
                return Some(false);
            }
            // It says so once for the process, with the number of its threads if there are more.
            running.stderr().contains("attached").then_some(true)
        });
        if !attached {
            skipped("strace is needed, and may not attach here");
            return None;
        }
        Some(Self { running, file })
    }

    /// Lets go; what was seen.
    fn detach(mut self) -> String {
        self.running.signal(Signal::INT);
        self.running.wait(DEADLINE);
        fs::read_to_string(&self.file).unwrap()
    }
}

fn synced(n: u64) -> Value {
    json!({"tool": TOOL, "event": "ran", "id": id(n), "ack": "synced"})
}

#[test]
fn synced_is_said_after_the_sync_and_queued_without_one() {
    let stage = Stage::new(Script::new(), TOLD);
    let mut tool = stage.daemon.connect();
    assert_eq!(tool.ask(&event(0))["status"], "queued");
    let Some(strace) = Strace::attach(
        &stage.daemon,
        &[
            "-s",
            "100",
            "-e",
            "trace=fsync,fdatasync,write,sendto,sendmsg,writev",
        ],
    ) else {
        return;
    };
    assert_eq!(tool.ask(&event(1))["status"], "queued");
    assert_eq!(tool.ask(&synced(2))["status"], "synced");
    // A duplicate is answered after a sync of its own.
    assert_eq!(tool.ask(&synced(1))["status"], "duplicate");
    let trace = strace.detach();
    let place = |what: &str| {
        trace
            .find(what)
            .unwrap_or_else(|| panic!("no {what} in\n{trace}"))
    };
    let syncs_between = |from: usize, to: usize| {
        trace[from..to]
            .lines()
            .filter(|line| line.contains("sync"))
            .count()
    };
    let (queued, synced, duplicate) = (place("queued"), place("\\\"synced"), place("duplicate"));
    assert_eq!(syncs_between(0, queued), 0, "{trace}");
    assert!(syncs_between(queued, synced) >= 1, "{trace}");
    assert!(syncs_between(synced, duplicate) >= 1, "{trace}");
}

#[test]
fn an_event_whose_sync_fails_is_never_said_to_be_synced() {
    let stage = Stage::new(Script::new(), TOLD);
    let mut tool = stage.daemon.connect();
    assert_eq!(tool.ask(&synced(0))["status"], "synced");
    let Some(strace) = Strace::attach(
        &stage.daemon,
        &[
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            "inject=fsync,fdatasync:error=EIO",
        ],
    ) else {
        return;
    };
    let refused = tool.ask(&synced(1));
    assert_eq!(refused["error"], "storage", "{refused}");
    strace.detach();
    let again = eventually("it recovers by itself", DEADLINE, || {
        let answer = tool.ask(&synced(1));
        (answer["ok"] == true).then_some(answer)
    });
    assert!(
        ["synced", "duplicate"].contains(&again["status"].as_str().unwrap()),
        "{again}"
    );
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids([id(0), id(1)]);
}

#[test]
fn while_writes_fail_nothing_is_acknowledged_and_afterwards_nothing_is_missing() {
    for error in ["EIO", "ENOSPC", "EDQUOT"] {
        let mut stage = Stage::new(Script::new(), TOLD);
        stage.endpoint.expect_duplicates();
        let mut accepted = stage.queue((0..100).map(event));
        let inject = format!("inject=pwrite64,pwritev,ftruncate,fallocate:error={error}");
        let Some(strace) = Strace::attach(
            &stage.daemon,
            &["-e", "trace=pwrite64,pwritev,ftruncate,fallocate", "-e", &inject],
        ) else {
            return;
        };
        let mut tool = stage.daemon.connect();
        for n in 1_000..1_050 {
            let answer = tool.ask(&event(n));
            assert_eq!(answer["error"], "storage", "{error}: {answer}");
        }
        assert_eq!(
            ask(&stage.daemon, &json!({"op": "status"}))["ok"],
            true,
            "it answers"
        );
        strace.detach();
        let mut n = 2_000;
        let first = eventually("it recovers by itself", DEADLINE, || {
            n += 1;
            let answer = tool.ask(&event(n));
            (answer["status"] == "queued").then(|| answer["id"].as_str().unwrap().to_owned())
        });
        accepted.push(first);
        accepted.extend(stage.queue((3_000..3_100).map(event)));
        if error == "EIO" {
            stage.daemon.restart();
        }
        assert_eq!(stage.flush()["left"], 0);
        stage.endpoint.wait_for_ids(&accepted);
        assert_eq!(
            stage.endpoint.ids().len(),
            accepted.len(),
            "{error}: what was refused did not arrive"
        );
        assert_eq!(
            booked(&status(&stage.daemon), "accepted"),
            accepted.len() as u64,
            "{error}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn when_no_descriptors_are_left_clients_wait_and_are_served() {
    let mut stage = Stage::new(Script::new(), SOON);
    stage.queue([event(0)]);
    stage.endpoint.wait_for_ids([id(0)]);
    let open = fs::read_dir(format!("/proc/{}/fd", stage.daemon.pid()))
        .unwrap()
        .count();
    let limit = format!("--nofile={}", open + 8);
    let set = Command::new("prlimit")
        .args(["--pid", &stage.daemon.pid().to_string(), &limit])
        .status();
    if !set.is_ok_and(|status| status.success()) {
        skipped("prlimit of util-linux is needed");
        return;
    }
    let mut all: Vec<Tool> = (1..41)
        .map(|n| {
            let mut tool = stage.daemon.connect();
            tool.send(&event(n));
            tool
        })
        .collect();
    assert_eq!(all[0].answer()["status"], "queued");
    eventually("it says so", DEADLINE, || {
        stage.daemon.log().contains("cannot accept").then_some(())
    });
    assert!(stage.daemon.ended().is_none());
    // One after the other leaves; the next is let in.
    for mut tool in all.drain(1..) {
        assert_eq!(tool.answer()["status"], "queued");
    }
    drop(all);
    stage.endpoint.wait_for_ids((0..41).map(id));
    let said = stage.daemon.log().matches("cannot accept").count();
    assert!(said < 100, "{said} times the same line");
}

#[test]
fn a_daemon_whose_log_nobody_reads_goes_on() {
    let endpoint = Collector::for_tool(TOOL);
    let home = home();
    home.write_config(&format!(
        "[daemon]\nlog = \"trace\"\n{}",
        destination(&endpoint.url(), SOON)
    ));
    let mut command = home.command(telemetry_testkit::telemetryd());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let mut tool = eventually("it answers", DEADLINE, || {
        UnixStream::connect(home.socket())
            .ok()
            .map(|_| Tool::connect(&home.socket()))
    });
    for n in 0..50 {
        assert_eq!(tool.ask(&event(n))["status"], "queued");
    }
    endpoint.wait_for_ids((0..50).map(id));
    assert_eq!(tool.ask(&json!({"op": "stop"}))["ok"], true);
    let code = eventually("it ends", DEADLINE, || child.try_wait().unwrap()).code();
    assert_eq!(code, Some(0));
}

#[test]
fn no_log_level_shows_what_is_in_an_event() {
    let script = Script::new().then(
        telemetry_testkit::sink::Step::status(400)
            .body("telling-answer")
            .event("telling-event"),
    );
    let stage = Stage::new(script, &format!("{TOLD}[daemon]\nlog = \"trace\"\n"));
    let telling = |n| json!({"tool": TOOL, "event": "telling-event", "id": id(n), "properties": {"k": "telling-value"}, "project": "telling-project", "user": "telling-user"});
    stage.queue((0..3).map(telling));
    ask(
        &stage.daemon,
        &json!({"tool": TOOL, "event": "telling-event", "time": "telling-time"}),
    );
    ask(
        &stage.daemon,
        &json!({"tool": "stranger", "event": "telling-event"}),
    );
    assert_eq!(stage.flush()["left"], 0);
    assert!(waiting(&stage.daemon).is_empty());
    let log = stage.daemon.log();
    assert!(log.contains("DEBUG") || log.contains("TRACE"), "{log}");
    assert!(!log.contains("telling"), "{log}");
}
