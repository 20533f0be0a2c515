//! The command line beside a machine-wide daemon, run by real users through setpriv.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{ANN, BEN, Machine, ROOT, ctl_as};
use crate::stage::{TOLD, TOOL, booked, event, id};

fn run(command: &mut Command, args: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.args(args).output().expect("setpriv can be started");
    (
        status.code().expect("it ended by itself"),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

#[test]
fn each_user_sees_its_own_and_root_all() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.queue(ANN, [event(1), event(2)]);
    machine.queue(BEN, [event(11)]);
    let ctl = |uid: u32, args: &[&str]| run(&mut ctl_as(&machine.home, uid), args);
    for (uid, ids) in [(ANN, vec![id(1), id(2)]), (BEN, vec![id(11)])] {
        let (code, out, err) = ctl(uid, &["queue", "list", "--json"]);
        assert_eq!(code, 0, "{err}");
        let listed: Vec<Value> = out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(super::ids(&listed), ids);
        let (_, out, _) = ctl(uid, &["status", "--json"]);
        let status: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(status["daemon"]["mode"], "system");
        assert_eq!(booked(&status, "queued"), ids.len() as u64);
        for args in [
            &["status", "--all-users"][..],
            &["queue", "list", "--all-users"],
            &["metrics", "--all-users"],
            &["sent", "--all-users"],
            &["tail", "--all-users"],
            &["doctor", "--all-users", "--json"],
            &["flush", "--all-users"],
            &["consent", "log", "--all-users"],
            &["identity", "--all-users"],
            &["stop"],
            &["pause"],
            &["resume"],
            &["reload"],
        ] {
            let (code, out, err) = ctl(uid, args);
            let expected = if args[0] == "doctor" { 1 } else { 77 };
            assert_eq!(code, expected, "{args:?}: {out}{err}");
            assert!(format!("{out}{err}").contains("root"), "{args:?}: {out}{err}");
        }
    }
    let (code, out, err) = ctl(ROOT, &["queue", "list", "--all-users"]);
    assert_eq!(code, 0, "{err}");
    for part in ["uid", &ANN.to_string(), &BEN.to_string(), &id(1), &id(11)] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let (code, out, err) = ctl(ROOT, &["status", "--all-users"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("system mode") && out.contains(&ANN.to_string()),
        "{out}"
    );
    let (code, out, err) = ctl(ROOT, &["metrics", "--all-users"]);
    assert!(
        code == 0 && out.contains("telemetryd_connections_total"),
        "{out}{err}"
    );
    let (code, _, err) = ctl(ROOT, &["sent", "--all-users"]);
    assert_eq!(code, 0, "{err}");
}

#[test]
fn an_opt_out_is_the_users_own_word_here_and_in_its_home() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    let ctl = |uid: u32, args: &[&str]| run(&mut ctl_as(&machine.home, uid), args);
    for uid in [ANN, BEN] {
        let (code, _, err) = ctl(uid, &["send", TOOL, "ran", "--strict"]);
        assert_eq!(code, 0, "{err}");
        assert_eq!(booked(&machine.status(uid), "queued"), 1);
    }
    let (code, out, err) = ctl(ANN, &["opt-out", "--tool", TOOL, "--json"]);
    assert_eq!(code, 0, "{err}");
    let receipt: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(receipt["purged"], 1, "{receipt}");
    assert_eq!(receipt["not_reached"], json!([]), "{receipt}");
    let own = machine
        .home
        .root()
        .join(format!("homes/{ANN}/.config/telemetryd/consent.toml"));
    assert!(fs::read_to_string(own).unwrap().contains("demo = false"));
    assert_eq!(machine.ask(ANN, &event(2))["by"], "user");
    assert_eq!(machine.ask(BEN, &event(3))["status"], "queued");
    let (code, _, _) = ctl(ANN, &["opt-out", "--system"]);
    assert_eq!(code, 77, "the machine's switch is root's");
}

#[test]
fn a_denial_in_a_users_own_file_reaches_the_machines_daemon_through_that_users_client() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.queue(ANN, (1..4).map(event));
    machine.queue(BEN, [event(11)]);
    let send = || {
        let mut command = ctl_as(&machine.home, ANN);
        let output = command.args(["send", TOOL, "ran", "--strict"]).output().unwrap();
        output.status.code()
    };
    assert_eq!(send(), Some(0));
    let own = machine
        .home
        .root()
        .join(format!("homes/{ANN}/.config/telemetryd"));
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("consent.toml"), "telemetry = false\n").unwrap();
    assert_eq!(send(), Some(4));
    let hers = machine.status(ANN);
    assert_eq!(
        (booked(&hers, "purged"), &hers["telemetry"]["verdict"]),
        (4, &json!("deny"))
    );
    assert_eq!(booked(&machine.status(BEN), "queued"), 1);
    // Root sees it among everybody's changes, with what was erased for it.
    let mut root = ctl_as(&machine.home, ROOT);
    let (code, log, _) = run(&mut root, &["consent", "log", "--all-users", "--json"]);
    let change = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let change = change
        .into_iter()
        .find(|line| line["uid"] == ANN && line["verdict"] == "deny");
    assert_eq!(
        (code, change.map(|line| line["purged"].clone())),
        (0, Some(json!(4))),
        "{log}"
    );
    // Kept by the daemon, whatever becomes of the file.
    assert_eq!(machine.ask(ANN, &event(5))["by"], "user");
}
