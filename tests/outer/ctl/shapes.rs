//! Every command's exit code, and its `--json` as CLI.md has it: keys are only ever added, absent is null, times are UTC.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{Ctl, DEADLINE, eventually};

use super::run;
use crate::stage::{SOON, Stage, TOLD, TOOL, event, home, id};

/// All of these keys are there, whatever their values.
#[track_caller]
fn has(value: &Value, keys: &[&str]) {
    let there: BTreeSet<&str> = value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"))
        .keys()
        .map(String::as_str)
        .collect();
    let lacking: Vec<&&str> = keys.iter().filter(|key| !there.contains(**key)).collect();
    assert!(lacking.is_empty(), "{lacking:?} are not in {value}");
}

const ROW: [&str; 10] = [
    "id",
    "tool",
    "event",
    "time",
    "received",
    "destination",
    "bytes",
    "state",
    "batch_id",
    "attempts",
];

#[test]
fn without_a_daemon_what_needs_one_exits_3_with_a_hint_and_the_rest_works() {
    let home = home();
    let ctl = Ctl::new(&home);
    for line in [
        "status",
        "flush",
        "flush --wait",
        "pause",
        "resume",
        "reload",
        "stop",
        "queue list",
        "queue parked",
        "queue next-batch",
        "queue purge --all",
        "queue requeue",
        "sent",
        "tail",
        "metrics",
    ] {
        let exit = run(&ctl, line).expect_code(3);
        assert!(
            exit.stderr.contains("error: cannot reach telemetryd"),
            "{line}: {}",
            exit.stderr
        );
        assert!(
            exit.stderr.contains(&home.socket().display().to_string()),
            "{line}: {}",
            exit.stderr
        );
        assert!(exit.stderr.contains("hint: "), "{line}: {}", exit.stderr);
        assert!(
            line == "status" || exit.stdout.is_empty(),
            "{line}: {}",
            exit.stdout
        );
    }
    for line in [
        "send demo ran",
        "consent explain --tool demo",
        "consent show",
        "config check",
        "config show --json",
        "config default",
        "completions bash",
        "completions zsh",
        "completions fish",
        "man",
        "--help",
        "--version",
    ] {
        run(&ctl, line).expect_code(0);
    }
    run(&ctl, "send demo ran --strict").expect_code(3);
    assert!(
        !home.state_dir().join("queue.db").exists(),
        "nothing of it made a queue"
    );
}

#[test]
fn a_mistake_on_the_command_line_exits_2() {
    let ctl = Ctl::new(&home());
    for line in [
        "",
        "flsh",
        "send",
        "send demo",
        "queue",
        "queue show",
        "queue show no-uuid",
        "queue purge",
        "flush --timeout 5s",
        "pause --for soon",
        "send demo ran -p novalue",
        "send demo ran --properties [1]",
        "sent --last x",
        "status --jsn",
    ] {
        let exit = run(&ctl, line).expect_code(2);
        assert!(
            !exit.stderr.is_empty() && exit.stdout.is_empty(),
            "{line}: {}",
            exit.stdout
        );
    }
}

#[test]
fn config_check_says_what_the_daemon_says() {
    let home = home();
    let ctl = Ctl::new(&home);
    home.write_config("[queue]\nmax_bites = 7\n");
    let exit = run(&ctl, "config check").expect_code(78);
    assert!(
        exit.stderr.contains("max_bites") && exit.stderr.contains("config.toml:2"),
        "{}",
        exit.stderr
    );
    home.write_config("[queue]\nmax_bytes = \"1MiB\"\n");
    run(&ctl, "config check").expect_code(0);
    let shown = run(&ctl, "config show --json").expect_code(0);
    let line = shown
        .json_lines()
        .into_iter()
        .find(|line| line["key"] == "queue.max_bytes")
        .expect("every key is shown");
    assert!(line.to_string().contains("config.toml"), "{line}");
    // What it prints as defaults is a good configuration.
    let default = run(&ctl, "config default").expect_code(0);
    home.write_config(&default.stdout);
    run(&ctl, "config check").expect_code(0);
}

#[test]
fn every_listing_is_one_object_a_line_with_the_promised_keys() {
    let script = Script::new().then(Step::status(400).body("no").event("poison"));
    let stage = Stage::new(script, TOLD);
    stage.queue([
        event(1),
        json!({"tool": TOOL, "event": "poison", "id": id(2)}),
        json!({"tool": "other", "event": "ran", "id": id(3)}),
    ]);
    let ctl = stage.daemon.ctl();

    let rows = run(&ctl, "queue list --json").expect_code(0).json_lines();
    assert_eq!(rows.len(), 3, "and no line at the end");
    rows.iter().for_each(|row| has(row, &ROW));
    assert_eq!(
        run(&ctl, "queue list --json --tool other")
            .expect_code(0)
            .json_lines()
            .len(),
        1
    );
    assert_eq!(
        run(&ctl, "queue list --json --limit 2")
            .expect_code(0)
            .json_lines()
            .len(),
        2
    );

    let shown = run(&ctl, &format!("queue show {} --json", id(1)))
        .expect_code(0)
        .json();
    has(&shown, &ROW);
    assert_eq!(shown["body"]["event"], "ran");
    assert_ne!(
        run(&ctl, &format!("queue show {}", id(99))).code,
        Some(0),
        "there is no such event"
    );

    let next = run(&ctl, "queue next-batch --json").expect_code(0).json();
    has(
        &next,
        &["destination", "method", "url", "headers", "batch_id", "body"],
    );
    let body: Value = serde_json::from_str(next["body"].as_str().expect("the very bytes")).expect("JSON");
    assert_eq!(body["events"].as_array().map(Vec::len), Some(3));

    let flushed = run(&ctl, "flush --wait --timeout 15s --json")
        .expect_code(0)
        .json();
    has(&flushed, &["settled", "left"]);
    assert_eq!((&flushed["settled"], &flushed["left"]), (&json!(3), &json!(0)));

    let parked = run(&ctl, "queue parked --json").expect_code(0).json_lines();
    assert_eq!(parked.len(), 1);
    has(&parked[0], &ROW);
    has(&parked[0], &["parked_at", "status", "answer"]);

    let sent = run(&ctl, "sent --json").expect_code(0).json_lines();
    sent.iter().for_each(|batch| {
        has(
            batch,
            &[
                "batch_id",
                "destination",
                "at",
                "status",
                "events",
                "bytes",
                "tools",
            ],
        )
    });
    assert!(sent.iter().all(|batch| batch.get("body").is_none()));
    let bodies = run(&ctl, "sent --json --bodies --last 1")
        .expect_code(0)
        .json_lines();
    assert_eq!(bodies.len(), 1);
    has(&bodies[0], &["body"]);

    let tools = run(&ctl, "tools list --json").expect_code(0).json_lines();
    assert_eq!(tools.len(), 2);
    let tool = run(&ctl, "tools show demo --json").expect_code(0).json();
    has(
        &tool,
        &[
            "tool",
            "about",
            "manifest",
            "origin",
            "consent",
            "destination",
            "events_any",
            "events",
            "verdict",
            "by",
        ],
    );

    let explained = run(&ctl, "consent explain --tool demo --json")
        .expect_code(0)
        .json();
    has(&explained, &["tool", "verdict", "by", "source", "chain"]);
    has(
        &explained["chain"][0],
        &["layer", "verdict", "source", "line", "detail", "decides"],
    );

    let status = run(&ctl, "status --json").expect_code(0).json();
    has(
        &status,
        &["daemon", "telemetry", "queue", "destinations", "tools", "books"],
    );
    has(&status["daemon"], &["version", "pid", "mode", "phase", "socket"]);
    has(&status["telemetry"], &["verdict", "by", "source"]);
    has(&status["queue"], &["events", "bytes", "max_bytes", "oldest"]);
    has(
        &status["destinations"][0],
        &[
            "name",
            "encoding",
            "state",
            "reason",
            "next_try",
            "last_error",
            "queued",
            "max_bytes_learned",
        ],
    );
    has(
        &status["tools"][0],
        &[
            "tool",
            "verdict",
            "by",
            "source",
            "queued",
            "delivered",
            "lost",
            "declined",
        ],
    );
    has(
        &status["books"][0],
        &[
            "uid",
            "destination",
            "tool",
            "accepted",
            "delivered",
            "parked",
            "queued",
            "evicted",
            "expired",
            "purged",
            "lost",
        ],
    );

    assert_eq!(
        run(&ctl, "queue requeue --json").expect_code(0).json()["requeued"],
        1
    );
    assert_eq!(
        run(&ctl, "queue purge --all --json").expect_code(0).json()["purged"],
        1
    );
    let metrics = run(&ctl, "metrics").expect_code(0);
    assert!(metrics.stdout.ends_with("# EOF\n"), "{}", metrics.stdout);
    for line in [
        "status",
        "queue list",
        "queue parked",
        "queue next-batch",
        "sent",
        "tools list",
        "tools show demo",
        "doctor",
        "pause",
        "resume",
        "reload",
        "flush",
    ] {
        let exit = run(&ctl, line).expect_code(0);
        assert!(
            !exit.stdout.contains('\u{1b}'),
            "{line}: colour without a terminal"
        );
    }
}

#[test]
fn opting_out_erases_prints_the_receipt_and_holds_with_and_without_a_daemon() {
    let mut stage = Stage::new(Script::new(), TOLD);
    stage.queue((0..12).map(event));
    let ctl = stage.daemon.ctl();
    let receipt = run(&ctl, "opt-out --tool demo --json").expect_code(0).json();
    has(&receipt, &["purged", "cancelled", "reached", "not_reached"]);
    assert_eq!(receipt["purged"], 12);
    assert_eq!(receipt["reached"].as_array().map(Vec::len), Some(1), "{receipt}");
    run(&ctl, "send demo ran").expect_code(0);
    run(&ctl, "send demo ran --strict").expect_code(4);
    run(&ctl, "opt-in --tool demo").expect_code(0);
    run(&ctl, "send demo ran --strict").expect_code(0);
    assert_eq!(stage.flush()["left"], 0);
    assert_eq!(
        stage.endpoint.counts().unique,
        1,
        "what was written before does not come back"
    );
    // Without a daemon: the word is kept, the rows are erased by a job, and the next daemon obeys.
    stage.queue((100..105).map(event));
    stage.daemon.kill9();
    let receipt = run(&ctl, "opt-out --json").expect_code(0).json();
    assert_eq!(receipt["purged"], 5, "{receipt}");
    stage.daemon.restart();
    run(&ctl, "send demo ran --strict").expect_code(4);
    assert_eq!(crate::stage::status(&stage.daemon)["queue"]["events"], 0);
    assert_eq!(
        run(&ctl, "consent explain --tool demo --json").json()["verdict"],
        "deny"
    );
}

#[test]
fn flush_waits_for_what_is_settled_and_not_for_what_cannot_move() {
    let stage = Stage::new(Script::new().then(Step::hang_for_ever().times(1)), TOLD);
    stage.queue([event(1)]);
    let ctl = stage.daemon.ctl();
    let exit = run(&ctl, "flush --wait --timeout 200ms --json").expect_code(5);
    assert_eq!(exit.json()["left"], 1);
    drop(stage);
    for (how, script, command) in [
        ("paused", Script::new(), Some("pause")),
        ("held", Script::new().then(Step::status(401)), None),
        (
            "Retry-After",
            Script::new().then(Step::status(503).header("Retry-After", "3600")),
            None,
        ),
    ] {
        let stage = Stage::new(script, TOLD);
        stage.queue([event(1)]);
        let ctl = stage.daemon.ctl();
        if let Some(command) = command {
            run(&ctl, command).expect_code(0);
        }
        // Longer than a test may take: it does not wait for it.
        let exit = run(&ctl, "flush --wait --timeout 10min --json").expect_code(1);
        assert_eq!(exit.json()["left"], 1, "{how}");
        assert!(
            exit.stderr.contains("default"),
            "{how}: it says which: {}",
            exit.stderr
        );
    }
}

#[test]
fn stop_ends_the_daemon_and_reload_tells_what_is_wrong() {
    let mut stage = Stage::new(Script::new(), TOLD);
    let ctl = stage.daemon.ctl();
    stage.home.write_config("[queue]\nmax_bites = 7\n");
    let exit = run(&ctl, "reload");
    assert!(matches!(exit.code, Some(1 | 78)), "{:?}", exit.code);
    assert!(exit.stderr.contains("max_bites"), "{}", exit.stderr);
    stage.queue([event(1)]);
    run(&ctl, "stop").expect_code(0);
    stage.daemon.wait(DEADLINE).expect_code(0);
    stage.endpoint.wait_for_ids([id(1)]);
    run(&ctl, "status").expect_code(3);
}

#[test]
fn tail_shows_events_as_they_happen() {
    let stage = Stage::new(Script::new(), SOON);
    let ctl = stage.daemon.ctl();
    let mut tail = ctl.spawn(["tail", "--json"], None);
    let mut n = 0;
    eventually("an event is shown", DEADLINE, || {
        n += 1;
        stage.queue([event(n)]);
        (tail.stdout().contains("\"accepted\"") && tail.stdout().contains("\"delivered\"")).then_some(())
    });
    for line in tail.stdout().lines().filter(|line| line.ends_with('}')) {
        let line: Value = serde_json::from_str(line).expect("one object a line");
        assert!(line["what"].is_string() && line["tool"] == TOOL, "{line}");
    }
    tail.signal(rustix::process::Signal::INT);
    tail.wait(DEADLINE);
}

#[test]
fn doctor_finds_what_is_wrong_and_says_what_to_do() {
    let mut stage = Stage::new(Script::new().then(Step::status(401)), TOLD);
    let ctl = stage.daemon.ctl();
    run(&ctl, "doctor").expect_code(0);
    stage.queue([event(1)]);
    assert_eq!(stage.flush()["left"], 1);
    let exit = run(&ctl, "doctor").expect_code(1);
    assert!(exit.stdout.contains("401"), "{}", exit.stdout);
    stage.home.write_manifest("broken", "nam = 1\n");
    let exit = run(&ctl, "reload").expect_code(78);
    assert!(exit.stderr.contains("broken.toml"), "{}", exit.stderr);
    stage.daemon.restart();
    let exit = run(&ctl, "doctor").expect_code(1);
    let said = format!("{}{}", exit.stdout, exit.stderr);
    assert!(said.contains("broken.toml"), "{said}");
}
