//! TERM, INT, HUP, USR1, `stop`, and ways to end by itself.

#[cfg(target_os = "linux")]
use std::fs::File;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{Collector, DEADLINE, Daemon, Deadline, Heard, eventually};
#[cfg(target_os = "linux")]
use telemetry_testkit::{Home, Running, Tool};

use crate::stage::{SOON, Stage, TOLD, TOOL, ask, destination, event, home, id, queue, status, waiting};

#[test]
fn term_and_int_deliver_what_waits_and_exit_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut stage = Stage::new(Script::new(), "batch = { max_events = 40, max_wait = \"1h\" }\n");
        let ids = stage.queue((0..100).map(event));
        stage.daemon.signal(signal);
        let exit = stage.daemon.wait(DEADLINE).expect_code(0);
        stage.endpoint.wait_for_ids(&ids);
        assert!(!stage.daemon.socket().exists(), "its socket is gone");
        assert!(exit.stdout.is_empty(), "stdout is for data: {}", exit.stdout);
    }
}

#[test]
fn a_term_processes_every_line_that_reached_the_socket() {
    for round in 0..10 {
        let mut stage = Stage::new(Script::new(), TOLD);
        let mut tool = stage.daemon.connect();
        let lines: String = (0..200).map(|n| format!("{}\n", event(n))).collect();
        tool.send_bytes(lines.as_bytes());
        if round % 2 == 0 {
            tool.finish_sending();
        }
        stage.daemon.signal(Signal::TERM);
        let answers = tool.until_closed();
        stage.daemon.wait(DEADLINE).expect_code(0);
        assert_eq!(answers.len(), 200, "each line is answered before the daemon goes");
        let queued = answers
            .iter()
            .filter(|answer| answer.contains("\"queued\""))
            .count();
        assert_eq!(queued, 200, "{answers:?}");
        stage.endpoint.wait_for_events(200);
    }
}

#[test]
fn a_drain_ends_in_its_time_and_what_is_left_goes_after_the_next_start() {
    let script = Script::new().then(Step::hang_for_ever().times(1));
    let mut stage = Stage::new(
        script,
        &format!("{TOLD}timeout = \"60s\"\n[daemon]\nshutdown_drain = \"300ms\"\n"),
    );
    stage.queue([event(1)]);
    stage.daemon.signal(Signal::TERM);
    // The time of the drain and what leaving takes, not the request's.
    stage.daemon.wait(Duration::from_secs(5)).expect_code(0);
    stage.daemon.restart();
    stage.endpoint.wait_for_ids([id(1)]);
}

#[test]
fn a_second_term_ends_at_once() {
    let script = Script::new().then(Step::hang_for_ever());
    let mut stage = Stage::new(
        script,
        &format!("{TOLD}timeout = \"600s\"\n[daemon]\nshutdown_drain = \"600s\"\n"),
    );
    stage.queue([event(1)]);
    stage.daemon.signal(Signal::TERM);
    stage.endpoint.wait_for("the drain sends", DEADLINE, |seen| {
        (seen.counts().requests > 0 || !stage.daemon.socket().exists()).then_some(())
    });
    eventually("it drains", DEADLINE, || {
        stage.daemon.log().contains("draining").then_some(())
    });
    stage.daemon.signal(Signal::TERM);
    stage.daemon.wait(Duration::from_secs(5)).expect_code(0);
    stage.daemon.restart();
    assert_eq!(waiting(&stage.daemon).len(), 1, "nothing was lost");
}

#[test]
fn a_drain_leaves_a_destination_in_backoff_alone() {
    let mut stage = Stage::new(Script::new().then(Step::status(503)), TOLD);
    stage.queue([event(1)]);
    ask(&stage.daemon, &json!({"op": "flush"}));
    eventually("it is in backoff", DEADLINE, || {
        (stage.destination()["state"] == "backoff").then_some(())
    });
    stage.daemon.term().expect_code(0);
    assert_eq!(stage.endpoint.requests().len(), 1);
}

#[test]
fn a_hup_takes_good_settings_and_keeps_the_old_ones_when_the_new_are_bad() {
    let mut stage = Stage::new(Script::new(), TOLD);
    let said = |stage: &Stage, what: &str| {
        eventually(what, DEADLINE, || stage.daemon.log().contains(what).then_some(()));
    };
    for bad in [
        "[destinations.default\n",
        "[queue]\nmax_bites = 1\n",
        "[destinations.default]\nurl = \"http://telemetry.example.org\"\n",
    ] {
        stage.home.write_config(bad);
        stage.daemon.signal(Signal::HUP);
        said(&stage, "the old ones stay");
        let answer = ask(&stage.daemon, &json!({"op": "reload"}));
        assert_eq!(answer["ok"], false, "{answer}");
        assert!(
            answer["problems"]
                .as_array()
                .is_some_and(|problems| !problems.is_empty()),
            "{answer}"
        );
    }
    stage.queue([event(1)]);
    assert_eq!(stage.flush()["left"], 0, "it goes where it went before");
    stage.home.write_config(&destination(
        &stage.endpoint.url(),
        &format!("{SOON}[limits]\nmax_depth = 3\n"),
    ));
    stage.daemon.signal(Signal::HUP);
    said(&stage, "reloaded");
    stage.queue([event(2)]);
    stage.endpoint.wait_for_ids([id(1), id(2)]);
    let deep = ask(
        &stage.daemon,
        &json!({"tool": TOOL, "event": "ran", "properties": {"a": {"b": {}}}}),
    );
    assert_eq!(deep["error"], "invalid_event", "{deep}");
}

#[test]
fn a_hup_reads_manifests_again() {
    let mut stage = Stage::new(Script::new(), SOON);
    let late = |stage: &Stage| ask(&stage.daemon, &json!({"tool": "late", "event": "ran"}))["status"].clone();
    assert_eq!(late(&stage), "declined");
    stage.home.write_manifest("late", &crate::stage::manifest("late"));
    stage.endpoint.expect_tool("late");
    stage.daemon.signal(Signal::HUP);
    eventually("it is taken", DEADLINE, || {
        (ask(&stage.daemon, &json!({"tool": "late", "event": "ran"}))["status"] == "queued").then_some(())
    });
    stage.home.write_manifest("late", "name = \"late\"\nevnts = 1\n");
    stage.daemon.signal(Signal::HUP);
    eventually("the mistake is told", DEADLINE, || {
        stage.daemon.log().contains("late.toml").then_some(())
    });
    let answer = ask(&stage.daemon, &json!({"tool": "late", "event": "ran"}));
    assert_eq!(
        answer["status"], "queued",
        "the manifest that was good still counts: {answer}"
    );
    // A start has no older one: the tool has none, and no other is disturbed.
    stage.daemon.restart();
    assert_eq!(late(&stage), "declined");
    stage.queue([event(1)]);
}

/// Holds a home's queue, so that whoever wants it is in the middle of its start for as long as the test likes.
#[cfg(target_os = "linux")]
struct Held {
    home: Home,
    _lock: File,
}

#[cfg(target_os = "linux")]
impl Held {
    fn of(home: &Home) -> Self {
        let lock = File::create(home.state_dir().join("queue.lock")).unwrap();
        lock.lock().unwrap();
        Self {
            home: home.clone(),
            _lock: lock,
        }
    }

    /// Waits until that process has found the lock.
    fn is_met_by(&self, process: &Running) {
        let lock = self.home.state_dir().join("queue.lock");
        let opened = format!("/proc/{}/fd", process.pid());
        eventually("it has found the lock", DEADLINE, || {
            let mut opened = std::fs::read_dir(&opened).ok()?.flatten();
            opened.find(|one| std::fs::read_link(one.path()).is_ok_and(|to| to == lock))
        });
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_hup_in_the_middle_of_the_start_is_a_reload_after_it() {
    let home = home();
    home.write_config(&destination("http://127.0.0.1:9/", TOLD));
    let held = Held::of(&home);
    let mut daemon = Daemon::builder(&home).spawn();
    held.is_met_by(&daemon);
    daemon.signal(Signal::USR1);
    daemon.signal(Signal::HUP);
    drop(held);
    eventually("it has reloaded", DEADLINE, || {
        if let Some(ended) = daemon.exited() {
            panic!("{ended:?}");
        }
        daemon.stderr().contains("reloaded").then_some(())
    });
    assert!(Tool::try_connect(&home.socket()).is_ok());
    daemon.signal(Signal::TERM);
    daemon.wait(DEADLINE).expect_code(0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_hup_does_not_end_a_job() {
    let home = home();
    let held = Held::of(&home);
    let mut job = Daemon::builder(&home).arg("--purge").spawn();
    held.is_met_by(&job);
    job.signal(Signal::HUP);
    drop(held);
    job.wait(DEADLINE).expect_code(0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_term_in_the_middle_of_the_start_ends_it_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = home();
        let held = Held::of(&home);
        let mut daemon = Daemon::builder(&home).spawn();
        held.is_met_by(&daemon);
        daemon.signal(signal);
        let exit = daemon.wait(DEADLINE).expect_code(0);
        assert!(exit.stderr.is_empty(), "{}", exit.stderr);
        assert!(!home.socket().exists());
    }
}

#[test]
fn usr1_flushes() {
    let mut stage = Stage::new(Script::new(), TOLD);
    stage.queue([event(1)]);
    stage.daemon.signal(Signal::USR1);
    stage.endpoint.wait_for_ids([id(1)]);
}

#[test]
fn idle_exit_leaves_when_nothing_waits_and_nobody_is_connected() {
    let endpoint = Collector::for_tool(TOOL);
    let home = home();
    home.write_config(&destination(
        &endpoint.url(),
        "batch = { max_wait = \"300ms\" }\n",
    ));
    let mut daemon = Daemon::builder(&home).arg("--idle-exit").arg("400ms").start();
    let mut tool = daemon.connect();
    tool.send(&event(1));
    assert_eq!(tool.answer()["status"], "queued");
    endpoint.wait_for_ids([id(1)]);
    // Somebody is connected: it stays for longer than its time.
    assert_eq!(tool.hear(Duration::from_millis(900)), Heard::Nothing);
    drop(tool);
    daemon.wait(DEADLINE).expect_code(0);
    assert!(!home.socket().exists());
}

#[test]
fn idle_exit_does_not_leave_while_something_waits() {
    let home = home();
    home.write_config(&destination("http://127.0.0.1:9/", TOLD));
    let mut daemon = Daemon::builder(&home).arg("--idle-exit").arg("100ms").start();
    queue(&daemon, [event(1)]);
    let later = Deadline::after(Duration::from_millis(400));
    eventually("four times its time", DEADLINE, || {
        later.left().is_none().then_some(())
    });
    assert!(daemon.ended().is_none());
    assert_eq!(status(&daemon)["queue"]["events"], 1);
}

#[test]
fn stop_with_no_time_to_drain_keeps_everything() {
    let mut stage = Stage::new(Script::new().then(Step::hang_for_ever()), TOLD);
    stage.queue((0..50).map(event));
    assert_eq!(
        ask(&stage.daemon, &json!({"op": "stop", "drain_ms": 0}))["ok"],
        true
    );
    stage.daemon.wait(Duration::from_secs(5)).expect_code(0);
    stage.daemon.restart();
    assert_eq!(waiting(&stage.daemon).len(), 50);
}

#[test]
fn lines_behind_a_stop_in_the_same_write_are_processed_too() {
    let mut stage = Stage::new(Script::new(), TOLD);
    let mut tool = stage.daemon.connect();
    let lines = format!(
        "{}\n{}\n{}\n",
        event(1),
        json!({"op": "stop", "drain_ms": 5_000}),
        event(2)
    );
    tool.send_bytes(lines.as_bytes());
    let said = tool.until_closed();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said[0].contains("queued") && said[2].contains("queued"),
        "{said:?}"
    );
    stage.daemon.wait(DEADLINE).expect_code(0);
    stage.endpoint.wait_for_ids([id(1), id(2)]);
}
