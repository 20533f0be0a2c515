//! `telemetryctl` in scripts and pipes: it never fails one for what is not its doing, and a closed pipe is success.

use serde_json::{Value, json};
use telemetry_testkit::sink::Script;
use telemetry_testkit::{Ctl, DEADLINE, Running, eventually, telemetryctl, telemetryd};

use super::run;
use crate::stage::{SOON, Stage, TOLD, TOOL, destination, event, home, id, queue, waiting};

#[test]
fn send_records_an_event_with_its_properties() {
    let stage = Stage::new(Script::new(), SOON);
    let ctl = stage.daemon.ctl();
    ctl.ok([
        "send",
        TOOL,
        "CLI command",
        "-p",
        "n=3",
        "-p",
        "b=true",
        "-p",
        "s=x=y",
        "-p",
        "q=\"3\"",
        "--properties",
        r#"{"n":1,"deep":{"a":[1]}}"#,
        "--ack",
        "synced",
    ]);
    stage.endpoint.wait_for_events(1);
    let sent = &stage.endpoint.events()[0];
    assert_eq!(sent["event"], "CLI command");
    assert_eq!(
        (
            &sent["properties"]["n"],
            &sent["properties"]["b"],
            &sent["properties"]["s"]
        ),
        (&json!(3), &json!(true), &json!("x=y"))
    );
    assert_eq!(sent["properties"]["deep"], json!({"a": [1]}));
}

#[test]
fn send_takes_ndjson_and_loses_none_of_it_over_a_kill() {
    let mut stage = Stage::new(
        Script::new(),
        "batch = { max_events = 100, max_wait = \"50ms\" }\n",
    );
    stage.endpoint.expect_duplicates();
    let ctl = stage.daemon.ctl();
    let lines: String = (0..3_000).map(|n| format!("{}\n", event(n))).collect();
    let mut sending = ctl.spawn(["send", "--stdin", "--strict"], Some(lines.as_bytes()));
    stage.endpoint.wait_for_events(50);
    stage.daemon.restart();
    sending.wait(DEADLINE).expect_code(0);
    stage.endpoint.wait_for_ids((0..3_000).map(id));
}

#[test]
fn a_bad_line_on_stdin_is_reported_with_its_number_and_the_others_are_sent() {
    let stage = Stage::new(Script::new(), SOON);
    let ctl = stage.daemon.ctl();
    let lines = format!(
        "{}\nnonsense\n{}\n{{\"tool\":\"BAD\",\"event\":\"x\"}}\n{}",
        event(1),
        event(2),
        event(3)
    );
    let exit = ctl.run_with(["send", "--stdin"], lines.as_bytes());
    exit.clone().expect_code(1);
    assert!(
        exit.stderr.contains('2') && exit.stderr.contains('4'),
        "{}",
        exit.stderr
    );
    stage.endpoint.wait_for_ids([id(1), id(2), id(3)]);
}

#[test]
fn send_never_fails_a_script_when_it_is_declined_or_nobody_is_there() {
    let stage = Stage::new(Script::new(), SOON);
    let ctl = stage.daemon.ctl();
    for (line, code) in [
        ("send stranger ran", 0),
        ("send stranger ran --strict", 4),
        ("send demo ran --ack none", 0),
        ("send demo ran --ack none --strict", 0),
    ] {
        let exit = run(&ctl, line).expect_code(code);
        assert!(
            exit.stdout.is_empty() && (line.contains("strict") || exit.stderr.is_empty()),
            "{line}: {} {}",
            exit.stdout,
            exit.stderr
        );
    }
    stage.endpoint.wait_for_events(2);
    stage.home.set_env("DO_NOT_TRACK", "");
    run(&ctl, "send demo ran").expect_code(0);
    run(&ctl, "send demo ran --strict").expect_code(4);
    stage.home.unset_env("DO_NOT_TRACK");
    let nobody = home();
    run(&Ctl::new(&nobody), "send demo ran").expect_code(0);
    // A daemon that accepts and says nothing does not hold a script.
    let dumb = home();
    std::fs::create_dir_all(dumb.socket().parent().unwrap()).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(dumb.socket()).unwrap();
    let ctl = Ctl::new(&dumb);
    let mut both = [&["send", "demo", "ran"][..], &["send", "demo", "ran", "--strict"]]
        .map(|args| ctl.spawn(args, None));
    assert_eq!(
        both.each_mut().map(|one| one.wait(DEADLINE).code),
        [Some(0), Some(5)]
    );
}

/// A pipeline of bash, and the exit code of its first command.
#[track_caller]
fn first_of_pipe(stage: &Stage, pipeline: &str) -> String {
    let mut command = stage.home.command("bash");
    command
        .args(["-c", &format!("{pipeline}; echo code=${{PIPESTATUS[0]}}")])
        .env("CTL", telemetryctl())
        .env("DAEMON", telemetryd());
    let exit = Running::start(command, None).wait(DEADLINE).expect_code(0);
    assert!(
        !exit.stderr.contains("panicked") && !exit.stderr.to_lowercase().contains("broken pipe"),
        "{}",
        exit.stderr
    );
    exit.stdout
}

#[test]
fn a_closed_pipe_is_success() {
    let stage = Stage::new(Script::new(), TOLD);
    stage.daemon.ctl().ok(["pause"]);
    stage.queue((0..3_000).map(event));
    for command in [
        "queue list",
        "queue list --json",
        "config default",
        "metrics",
        "completions bash",
        "man",
        "--help",
        "config show",
    ] {
        for reader in ["head -1", "true"] {
            let said = first_of_pipe(&stage, &format!("\"$CTL\" {command} | {reader}"));
            assert!(said.ends_with("code=0\n"), "{command} | {reader}: {said}");
        }
    }
    let said = first_of_pipe(&stage, "\"$DAEMON\" --show-config | true");
    assert!(said.ends_with("code=0\n"), "{said}");
}

#[test]
fn a_long_list_comes_whole_and_in_order() {
    let stage = Stage::new(Script::new(), TOLD);
    stage.daemon.ctl().ok(["pause"]);
    let ids = stage.queue((0..3_000).map(event));
    let listed = stage.daemon.ctl().ok(["queue", "list", "--json"]).json_lines();
    assert_eq!(
        listed
            .iter()
            .map(|row| row["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>(),
        ids
    );
}

#[test]
fn purge_and_requeue_keep_to_their_limit() {
    let stage = Stage::new(Script::new(), TOLD);
    stage.queue((0..10).map(event));
    let purged = run(&stage.daemon.ctl(), "queue purge --tool demo --limit 3 --json")
        .expect_code(0)
        .json();
    assert_eq!(purged["purged"], 3, "{purged}");
    let rows = waiting(&stage.daemon);
    assert_eq!(rows.len(), 7);
    assert_eq!(rows[0]["id"], id(3), "the oldest went");
}

#[test]
fn the_next_batch_is_shown_byte_for_byte_as_it_goes() {
    let stage = Stage::new(Script::new(), &format!("{TOLD}compression = \"none\"\n"));
    stage.queue((0..5).map(event));
    let shown = stage.daemon.ctl().ok(["queue", "next-batch", "--json"]).json();
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_events(5);
    let request = stage.endpoint.requests()[0].clone();
    let mask = |text: &str| {
        let mut value: Value = serde_json::from_str(text).expect("JSON");
        value["batch_id"] = json!("-");
        value["sent_at"] = json!("-");
        for event in value["events"].as_array_mut().expect("events") {
            event["age_ms"] = json!(0);
        }
        value.to_string()
    };
    let body = String::from_utf8(request.body.to_vec()).expect("UTF-8");
    assert_eq!(mask(shown["body"].as_str().expect("the body")), mask(&body));
    for (name, value) in shown["headers"].as_object().expect("headers") {
        let name = name.to_lowercase();
        if name != "idempotency-key" && name != "content-length" {
            assert_eq!(request.header(&name), value.as_str(), "{name}");
        }
    }
}

#[test]
fn sink_is_an_endpoint_that_prints_what_arrives() {
    let home = home();
    let ctl = Ctl::new(&home);
    let mut sink = ctl.spawn(["sink", "--listen", "127.0.0.1:0"], None);
    let url = eventually("it says where it listens", DEADLINE, || {
        let said = format!("{}{}", sink.stdout(), sink.stderr());
        let at = said.find("http://127.0.0.1:")?;
        let url: String = said[at..]
            .chars()
            .take_while(|c| !c.is_whitespace() && *c != '"' && *c != '\'')
            .collect();
        (url.len() > "http://127.0.0.1:".len()).then_some(url)
    });
    let daemon = telemetry_testkit::Daemon::start(&home, &destination(&url, SOON));
    queue(&daemon, [json!({"tool": TOOL, "event": "a telling event"})]);
    eventually("it is printed", DEADLINE, || {
        sink.stdout().contains("a telling event").then_some(())
    });
    sink.signal(rustix::process::Signal::INT);
    let exit = sink.wait(DEADLINE);
    assert!(exit.code == Some(0) || exit.signal == Some(2), "{exit:?}");
}
