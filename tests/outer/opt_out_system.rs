//! `telemetryctl opt-out --system`: with a daemon and without, as root and not; the receipt says what was purged and
//! cancelled, whom it has reached and whom not (CONSENT.md, "The admin's switch").

use serde_json::{Value, json};
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{Ctl, Home};

use crate::stage::{Stage, TOLD, TOOL, ask, booked, event, status};
use crate::system::{ANN, Machine, ctl_as};

fn receipt(home: &Home, args: &[&str]) -> Value {
    let ended = Ctl::new(home).run(args).expect_code(0);
    let receipt: Value = serde_json::from_str(&ended.stdout).unwrap();
    let keys: Vec<&String> = receipt.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["cancelled", "not_reached", "purged", "reached"]);
    receipt
}

fn has(list: &Value, part: &str) -> bool {
    let list = list.as_array().unwrap().iter().filter_map(Value::as_str);
    list.into_iter().any(|one| one.contains(part))
}

#[test]
fn without_a_daemon_it_purges_what_it_can_reach_and_says_what_it_cannot() {
    let mut stage = Stage::new(Script::new(), TOLD);
    stage.queue((0..10).map(event));
    stage.daemon.kill9();
    let receipt = receipt(&stage.home, &["opt-out", "--system", "--json"]);
    assert_eq!(
        (&receipt["purged"], &receipt["cancelled"]),
        (&json!(10), &json!(0))
    );
    let file = stage.home.machine_dir().join("opt-out");
    assert!(
        file.exists() && has(&receipt["reached"], file.to_str().unwrap()),
        "{receipt}"
    );
    assert!(
        has(&receipt["reached"], "the queue, through telemetryd --purge"),
        "{receipt}"
    );
    assert!(
        has(&receipt["not_reached"], "users whose daemon does not run"),
        "{receipt}"
    );
    // It holds for the daemon that starts later; a later allow brings nothing back.
    stage.daemon.restart();
    assert_eq!(ask(&stage.daemon, &event(20))["by"], "machine");
    Ctl::new(&stage.home).ok(["opt-in", "--system"]);
    assert!(!file.exists());
    stage.queue([event(21)]);
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_events(1);
    assert_eq!(
        stage.endpoint.ids().len(),
        1,
        "what was written before is not released"
    );
}

#[test]
fn a_daemon_that_runs_needs_no_restart_and_its_requests_are_cancelled() {
    let script = Script::new().then(Step::hang_for_ever().times(1));
    let stage = Stage::new(script, &format!("{TOLD}timeout = \"60s\"\n"));
    stage.queue((0..10).map(event));
    ask(&stage.daemon, &json!({"op": "flush"}));
    stage.endpoint.wait_for_requests(1);
    let receipt = receipt(&stage.home, &["opt-out", "--system", "--json"]);
    assert_eq!(
        (&receipt["purged"], &receipt["cancelled"]),
        (&json!(10), &json!(1)),
        "{receipt}"
    );
    assert!(
        has(&receipt["reached"], stage.home.socket().to_str().unwrap()),
        "{receipt}"
    );
    assert_eq!(booked(&status(&stage.daemon), "purged"), 10);
    assert_eq!(ask(&stage.daemon, &event(20))["by"], "machine");
    // One tool alone, and undone.
    Ctl::new(&stage.home).ok(["opt-in", "--system"]);
    Ctl::new(&stage.home).ok(["opt-out", "--system", "--tool", TOOL]);
    assert_eq!(ask(&stage.daemon, &event(21))["by"], "machine");
    let other = json!({"tool": "other", "event": "ran"});
    assert_eq!(ask(&stage.daemon, &other)["status"], "queued");
}

#[test]
fn a_users_own_receipt_counts_what_was_parked_and_cancelled_too() {
    let script = Script::new()
        .then(Step::status(400).event("poison").times(1))
        .then(Step::hang_for_ever().times(1));
    let stage = Stage::new(script, &format!("{TOLD}timeout = \"60s\"\n"));
    stage.queue([json!({"tool": TOOL, "event": "poison"})]);
    assert_eq!(stage.flush()["left"], 0);
    stage.queue((0..4).map(event));
    ask(&stage.daemon, &json!({"op": "flush"}));
    stage.endpoint.wait_for_requests(2);
    let receipt = receipt(&stage.home, &["opt-out", "--tool", TOOL, "--json"]);
    assert_eq!(
        (&receipt["purged"], &receipt["cancelled"]),
        (&json!(5), &json!(1)),
        "{receipt}"
    );
    assert_eq!(receipt["not_reached"], json!([]));
}

#[test]
fn who_is_not_root_is_told_what_it_needs_and_nothing_changes() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.queue(ANN, [event(1)]);
    let output = ctl_as(&machine.home, ANN)
        .env("TELEMETRYD_MACHINE_DIR", machine.home.machine_dir())
        .args(["opt-out", "--system"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(77));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("run it as root") && said.contains("opt-out"),
        "{said}"
    );
    assert!(!machine.home.machine_dir().join("opt-out").exists());
    assert_eq!(booked(&machine.status(ANN), "queued"), 1);
    // Root's word reaches the machine's daemon, which purges for each of its users.
    let ended = Ctl::new(&machine.home).ok(["opt-out", "--system", "--json"]);
    let receipt: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(receipt["purged"], 1, "{receipt}");
    assert_eq!(booked(&machine.status(ANN), "purged"), 1);
}
