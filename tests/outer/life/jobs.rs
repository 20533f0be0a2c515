//! What `telemetryd` does besides running: checking and showing its config, the jobs without a daemon, the background.

use std::fs;
use std::os::unix::fs::PermissionsExt;

#[cfg(target_os = "linux")]
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use telemetry_testkit::sink::Script;
use telemetry_testkit::{Collector, Daemon};
#[cfg(target_os = "linux")]
use telemetry_testkit::{DEADLINE, Tool, eventually};

use crate::stage::{SOON, Stage, TOLD, TOOL, destination, event, home, id, queue};

#[test]
fn check_config_says_every_problem_at_once_and_exits_78() {
    let home = home();
    home.write_config(
        "[queue]\nmax_bites = 7\nmax_age = \"forever\"\n[limits]\nmax_depth = 1\n\
         [destinations.default]\nurl = \"telemetry.example.org\"\nencoding = \"xml\"\n",
    );
    home.write(
        home.config_dir().join("config.d/10-more.toml"),
        "[daemon]\nlog = 3\n",
    );
    let exit = Daemon::builder(&home).arg("--check-config").run().expect_code(78);
    for part in [
        "max_bites",
        "max_bytes",
        "max_age",
        "max_depth",
        "url",
        "encoding",
        "config.toml:2",
        "10-more.toml:2",
        "daemon.log",
    ] {
        assert!(exit.stderr.contains(part), "{part} is not in:\n{}", exit.stderr);
    }
    assert!(exit.stdout.is_empty(), "{}", exit.stdout);
    // Starting says the same, and leaves nothing.
    let start = Daemon::builder(&home).run().expect_code(78);
    assert!(
        start.stderr.contains("max_bites") && start.stderr.contains("max_depth"),
        "{}",
        start.stderr
    );
    assert!(!home.socket().exists() && !home.state_dir().join("queue.db").exists());
}

#[test]
fn check_config_of_a_good_config_exits_0_and_opens_nothing() {
    let home = home();
    home.write_config(&destination("https://telemetry.example.org/v1/events", SOON));
    Daemon::builder(&home).arg("--check-config").run().expect_code(0);
    assert!(!home.state_dir().join("queue.db").exists());
    let daemon = Daemon::builder(&home).start();
    Daemon::builder(&home).arg("--check-config").run().expect_code(0);
    drop(daemon);
}

#[test]
fn check_config_names_a_manifest_that_is_none() {
    let home = home();
    home.write_manifest("broken", "name = \"broken\"\nevnts = \"any\"\n");
    let exit = Daemon::builder(&home).arg("--check-config").run().expect_code(78);
    assert!(
        exit.stderr.contains("broken.toml:2") && exit.stderr.contains("events"),
        "{}",
        exit.stderr
    );
}

#[test]
fn show_config_says_where_every_value_came_from() {
    let home = home();
    home.write_config(&destination(
        "https://telemetry.example.org/v1/events",
        "timeout = \"7s\"\n",
    ));
    home.write(
        home.config_dir().join("config.d/10-more.toml"),
        "[queue]\nmax_age = \"3d\"\n",
    );
    home.set_env("TELEMETRYD__LIMITS__MAX_DEPTH", "9");
    let exit = Daemon::builder(&home)
        .arg("--show-config")
        .arg("--json")
        .run()
        .expect_code(0);
    let lines = exit.json_lines();
    let about = |key: &str| {
        lines
            .iter()
            .find(|line| line["key"] == key)
            .unwrap_or_else(|| panic!("no {key} in {}", exit.stdout))
            .to_string()
    };
    assert!(
        about("queue.max_age").contains("10-more.toml") && about("queue.max_age").contains("3d"),
        "{}",
        about("queue.max_age")
    );
    assert!(
        about("limits.max_depth").contains("TELEMETRYD__LIMITS__MAX_DEPTH"),
        "{}",
        about("limits.max_depth")
    );
    assert!(
        about("destinations.default.timeout").contains("config.toml"),
        "{}",
        about("destinations.default.timeout")
    );
    assert!(
        about("limits.max_connections").contains("default"),
        "{}",
        about("limits.max_connections")
    );
    let plain = Daemon::builder(&home).arg("--show-config").run().expect_code(0);
    assert!(
        plain.stdout.contains("limits.max_depth") || plain.stdout.contains("max_depth"),
        "{}",
        plain.stdout
    );
}

#[test]
fn a_config_file_named_on_the_command_line_takes_the_place_of_the_others() {
    let home = home();
    home.write_config("this is no TOML");
    let endpoint = Collector::for_tool(TOOL);
    home.write("elsewhere.toml", destination(&endpoint.url(), SOON));
    let daemon = Daemon::builder(&home)
        .arg("--config")
        .arg(home.root().join("elsewhere.toml"))
        .start();
    queue(&daemon, [event(1)]);
    endpoint.wait_for_ids([id(1)]);
    drop(daemon);
    let exit = Daemon::builder(&home)
        .arg("--config")
        .arg(home.root().join("missing.toml"))
        .run()
        .expect_code(78);
    assert!(exit.stderr.contains("missing.toml"), "{}", exit.stderr);
}

#[test]
fn a_flag_that_does_not_exist_is_a_usage_error() {
    let exit = Daemon::builder(&home()).arg("--idle-exits").run().expect_code(2);
    assert!(exit.stderr.contains("--idle-exit"), "{}", exit.stderr);
}

#[test]
fn purge_without_a_daemon_erases_what_was_withdrawn_and_opens_no_socket() {
    let mut stage = Stage::new(Script::new(), TOLD);
    stage.queue((0..10).map(event));
    stage.queue([json!({"tool": "other", "event": "kept", "id": id(77)})]);
    stage.daemon.kill9();
    stage.home.write(
        stage.home.config_dir().join("consent.toml"),
        "[tools]\ndemo = false\n",
    );
    let exit = Daemon::builder(&stage.home).arg("--purge").run().expect_code(0);
    assert_eq!(exit.json()["purged"], 10, "{}", exit.stdout);
    let again = Daemon::builder(&stage.home).arg("--purge").run().expect_code(0);
    assert_eq!(again.json()["purged"], 0);
    let exit = Daemon::builder(&stage.home)
        .arg("--export")
        .arg("-")
        .run()
        .expect_code(0);
    let rows = exit.json_lines();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["body"]["event"], "kept");
    for file in fs::read_dir(stage.home.state_dir()).unwrap() {
        let path = file.unwrap().path();
        let bytes = if path.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        assert!(
            !bytes.windows(5).any(|part| part == b"\"ran\""),
            "an erased event is in {}",
            path.display()
        );
    }
    stage.daemon.restart();
    let shown = crate::stage::status(&stage.daemon);
    assert_eq!(
        (
            crate::stage::booked(&shown, "purged"),
            crate::stage::booked(&shown, "queued")
        ),
        (10, 1)
    );
    assert!(stage.endpoint.requests().is_empty());
}

#[test]
fn export_writes_what_is_queued_and_parked_to_a_file_of_its_own_mode() {
    let script = Script::new().then(telemetry_testkit::sink::Step::status(400).event("poison"));
    let mut stage = Stage::new(script, TOLD);
    stage.queue([json!({"tool": TOOL, "event": "poison", "id": id(1)})]);
    assert_eq!(stage.flush()["left"], 0);
    stage.daemon.ctl().ok(["pause"]);
    stage.queue((2..700).map(event));
    stage.daemon.kill9();
    let file = stage.home.root().join("export.ndjson");
    let _ = Daemon::builder(&stage.home)
        .arg("--export")
        .arg(&file)
        .run()
        .expect_code(0);
    let text = fs::read_to_string(&file).unwrap();
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 699);
    assert_eq!(rows.iter().filter(|row| row["state"] == "parked").count(), 1);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    stage.daemon.restart();
    assert_eq!(
        crate::stage::booked(&crate::stage::status(&stage.daemon), "queued"),
        698,
        "an export takes nothing"
    );
}

#[test]
fn a_job_beside_a_daemon_is_refused_with_its_pid() {
    let stage = Stage::new(Script::new(), TOLD);
    for job in [&["--purge"][..], &["--export", "-"]] {
        let mut builder = Daemon::builder(&stage.home);
        for arg in job {
            builder = builder.arg(arg);
        }
        let exit = builder.run().expect_code(1);
        assert!(
            exit.stderr.contains(&stage.daemon.pid().to_string()),
            "{}",
            exit.stderr
        );
    }
}

/// Ends a process that is nobody's child any more, and waits until it is gone.
#[cfg(target_os = "linux")]
fn end(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::TERM).expect("it runs");
    eventually("it has ended", DEADLINE, || {
        (!fs::exists(format!("/proc/{pid}/fd/0")).unwrap_or(false)).then_some(())
    });
}

#[cfg(target_os = "linux")]
#[test]
fn in_the_background_it_is_ready_when_the_caller_goes_on_and_has_left_its_session() {
    let home = home();
    let endpoint = Collector::for_tool(TOOL);
    home.write_config(&destination(&endpoint.url(), SOON));
    let exit = Daemon::builder(&home).arg("--background").run().expect_code(0);
    assert!(exit.stdout.is_empty(), "{}", exit.stdout);
    let mut tool = Tool::connect(&home.socket());
    let hello = tool.ask(&json!({"op": "hello", "protocol": 1}));
    let pid = i32::try_from(hello["pid"].as_i64().expect("a pid")).unwrap();
    assert_eq!(
        fs::read_link(format!("/proc/{pid}/cwd")).unwrap().as_os_str(),
        "/"
    );
    for fd in [0, 1, 2] {
        assert_eq!(
            fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap().as_os_str(),
            "/dev/null",
            "fd {fd}"
        );
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(3)
        .unwrap()
        .to_owned();
    assert_eq!(session, pid.to_string(), "it leads a session of its own");
    assert_eq!(tool.ask(&event(1))["status"], "queued");
    endpoint.wait_for_ids([id(1)]);
    // A second one says who is there, and ends.
    let second = Daemon::builder(&home).arg("--background").run();
    end(pid);
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.stderr.contains(&pid.to_string()), "{}", second.stderr);
    let log = fs::read_to_string(home.state_dir().join("telemetryd.log")).expect("its log");
    assert!(log.contains("ready") && log.contains("stopped"), "{log}");
}

#[test]
fn in_the_background_a_bad_config_is_told_to_the_caller() {
    let home = home();
    home.write_config("[queue]\nmax_bites = 7\n");
    let exit = Daemon::builder(&home).arg("--background").run().expect_code(78);
    assert!(exit.stderr.contains("max_bites"), "{}", exit.stderr);
    assert!(!home.socket().exists());
}
