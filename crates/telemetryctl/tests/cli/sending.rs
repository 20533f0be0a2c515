//! `send`: what goes over the socket, what a script notices, and what consent in this process forbids.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::world::{Reply, World, line};

/// A daemon that takes everything.
fn taking(request: &Value) -> Reply {
    if request["ack"] == "none" {
        return Reply::Silence;
    }
    Reply::Lines(vec![
        json!({"ok":true,"status":"queued","id":request["id"]}).to_string(),
    ])
}

#[test]
fn an_event_is_one_line_with_what_was_said() {
    let world = World::new();
    let daemon = world.daemon(taking);
    let ended = world.run(&[
        "send",
        "kedro",
        "CLI command",
        "-p",
        "command=kedro run",
        "-p",
        "n=3",
        "-p",
        "ok=true",
        "--properties",
        r#"{"n":1,"deep":{"a":[1]}}"#,
        "--ack",
        "synced",
    ]);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "", ""));
    let event = daemon.next();
    assert_eq!(
        event["properties"],
        json!({"command":"kedro run","n":3,"ok":true,"deep":{"a":[1]}})
    );
    assert_eq!(
        (&event["tool"], &event["event"], &event["ack"]),
        (&json!("kedro"), &json!("CLI command"), &json!("synced"))
    );
    assert!(event["id"].is_string() && event["time"].is_string());
    assert!(event.get("project").is_none());
}

#[test]
fn the_project_stays_here() {
    let world = World::new();
    let daemon = world.daemon(taking);
    world.run(&["send", "kedro", "ran", "--project", "/home/alice/secret"]);
    assert!(!daemon.next().to_string().contains("secret"));
}

#[test]
fn a_line_says_where_it_was_sent_from_unless_it_has_a_word_of_its_own() {
    let world = World::new()
        .with("GITLAB_CI", "true")
        .with("AIRFLOW_CTX_TASK_ID", "secret_task")
        .with("VIRTUAL_ENV", "/home/alice/venv");
    let daemon = world.daemon(taking);
    world.run(&["send", "kedro", "ran"]);
    let context = daemon.next()["context"].clone();
    assert_eq!(
        (&context["ci"], &context["ci_name"]),
        (&json!(true), &json!("gitlab"))
    );
    assert_eq!(context["library"]["name"], "telemetryctl");
    assert_eq!(context["venv"], true);
    let words = context["exec_info"].as_array().expect("a list");
    assert!(words.contains(&json!("airflow")), "{context}");
    assert!(!context.to_string().contains("secret") && !context.to_string().contains("alice"));
    world.run_with(
        &["send", "kedro", "ran", "--stdin"],
        b"{\"context\":{\"ci\":false}}\n",
    );
    assert_eq!(daemon.next()["context"], json!({"ci": false}));
}

#[test]
fn without_an_answer_wanted_none_is_waited_for() {
    let world = World::new();
    let daemon = world.daemon(taking);
    assert_eq!(world.run(&["send", "kedro", "ran", "--ack", "none"]).code, 0);
    assert_eq!(daemon.next()["ack"], "none");
}

#[test]
fn a_script_without_a_daemon_is_not_disturbed() {
    let world = World::new();
    let ended = world.run(&["send", "kedro", "ran"]);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "", ""));
    let ended = world.run(&["send", "kedro", "ran", "--strict"]);
    assert_eq!(ended.code, 3);
    assert!(ended.err.contains("cannot reach telemetryd"), "{}", ended.err);
    let ended = world.run(&["send", "kedro", "ran", "--json"]);
    assert_eq!((ended.code, &ended.value()["error"]), (0, &json!("no_daemon")));
}

#[test]
fn a_pipe_without_a_daemon_is_read_to_its_end() {
    let world = World::new();
    let lines = "{\"properties\":{\"n\":1}}\n".repeat(20_000);
    assert_eq!(
        world
            .run_with(&["send", "kedro", "ran", "--stdin"], lines.as_bytes())
            .code,
        0
    );
}

#[test]
fn what_the_daemon_declines_is_0_and_4_with_strict() {
    let world = World::new();
    let _daemon =
        world.daemon(|_| line(r#"{"ok":true,"status":"declined","by":"default","source":"no manifest"}"#));
    let ended = world.run(&["send", "kedro", "ran"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let ended = world.run(&["send", "kedro", "ran", "--strict"]);
    assert_eq!(ended.code, 4);
    assert!(
        ended.err.contains("declined by default: no manifest"),
        "{}",
        ended.err
    );
}

#[test]
fn a_full_queue_is_no_fault_of_the_scripts_but_a_wrong_event_is() {
    for (error, code, strict) in [
        ("queue_full", 0, 1),
        ("storage", 0, 1),
        ("shutting_down", 0, 1),
        ("too_large", 1, 1),
    ] {
        let world = World::new();
        let answer = json!({"ok":false,"error":error,"message":"the reason"}).to_string();
        let _daemon = world.daemon(move |_| line(&answer));
        assert_eq!(world.run(&["send", "kedro", "ran"]).code, code, "{error}");
        let ended = world.run(&["send", "kedro", "ran", "--strict"]);
        assert_eq!(ended.code, strict, "{error}");
        assert!(ended.err.contains("the reason"), "{}", ended.err);
    }
}

/// Denied by whom, and no socket: the daemon that listens hears nothing, and nothing is created.
#[test]
fn a_denial_seen_here_opens_no_socket_and_creates_nothing() {
    for denial in ["variable", "empty variable", "machine", "machine for the tool"] {
        let mut world = World::new();
        match denial {
            "variable" => world = world.with("DO_NOT_TRACK", "0"),
            "empty variable" => world = world.with("DO_NOT_TRACK", ""),
            "machine" => world.write("machine/opt-out", "false"),
            _ => {
                std::fs::create_dir(world.path("machine/opt-out.d")).unwrap();
                world.write("machine/opt-out.d/kedro", "");
            }
        }
        let daemon = world.daemon(taking);
        let ended = world.run(&["send", "kedro", "ran", "--json"]);
        assert_eq!(
            (ended.code, &ended.value()["status"]),
            (0, &json!("declined")),
            "{denial}"
        );
        assert_eq!(
            world.run(&["send", "kedro", "ran", "--strict"]).code,
            4,
            "{denial}"
        );
        let piped = world.run_with(&["send", "kedro", "ran", "--stdin"], b"{}\n{}\n");
        assert_eq!((piped.code, piped.err.as_str()), (0, ""), "{denial}");
        assert!(daemon.all().is_empty(), "{denial}");
        assert_eq!(
            std::fs::read_dir(world.path("state")).unwrap().count(),
            0,
            "{denial}"
        );
        assert!(!world.path("data").exists(), "{denial}");
    }
}

#[test]
fn lines_of_stdin_are_completed_and_the_bad_ones_told() {
    let world = World::new();
    let daemon = world.daemon(taking);
    let lines = b"{\"properties\":{\"n\":2.50}}\n\nnonsense\n{\"op\":\"stop\"}\n{\"tool\":\"dlt\",\"event\":\"load\",\"ack\":\"none\"}";
    let ended = world.run_with(
        &["send", "kedro", "ran", "--stdin", "-p", "host=ci", "--json"],
        lines,
    );
    assert_eq!(ended.code, 1);
    assert_eq!(ended.values().len(), 1, "one was to be answered");
    let errors: Vec<&str> = ended.err.lines().collect();
    assert!(
        errors[0].starts_with("error: line 3: ") && errors[1].starts_with("error: line 4: op:"),
        "{errors:?}"
    );
    let first = daemon.next();
    assert_eq!(first["properties"], json!({"host":"ci","n":2.5}));
    let second = daemon.next();
    assert_eq!(
        (&second["tool"], &second["event"], &second["ack"]),
        (&json!("dlt"), &json!("load"), &json!("none"))
    );
}

#[test]
fn a_thousand_lines_go_in_order_and_each_is_answered() {
    let world = World::new();
    let daemon = world.daemon(taking);
    let lines: String = (0..1000)
        .map(|n| format!("{{\"properties\":{{\"n\":{n}}}}}\n"))
        .collect();
    let ended = world.run_with(&["send", "kedro", "ran", "--stdin", "--json"], lines.as_bytes());
    assert_eq!((ended.code, ended.values().len()), (0, 1000));
    for n in 0..1000 {
        assert_eq!(daemon.next()["properties"]["n"], n);
    }
}

#[test]
fn a_daemon_that_is_restarted_gets_what_the_old_one_did_not_answer_under_the_same_ids() {
    let world = World::new();
    let heard = Arc::new(AtomicUsize::new(0));
    let daemon = world.daemon(move |request| match heard.fetch_add(1, Ordering::SeqCst) {
        // The third event of the first connection is its end.
        2 => Reply::HangUp,
        _ => taking(request),
    });
    let ended = world.run_with(
        &["send", "kedro", "ran", "--stdin", "--json"],
        b"{}\n{}\n{}\n{}\n",
    );
    let answered: Vec<Value> = ended.values();
    assert_eq!((ended.code, answered.len()), (0, 4), "{}", ended.out);
    let sent = daemon.all();
    let ids: Vec<&Value> = sent.iter().map(|event| &event["id"]).collect();
    assert_eq!(ids[2], ids[3], "the unanswered one again");
    assert!(answered.iter().all(|answer| answer["status"] == "queued"));
}

#[test]
fn a_daemon_that_never_answers_holds_nobody_for_long() {
    let world = World::new();
    let _daemon = world.daemon(|_| Reply::Silence);
    let ended = world.run(&["send", "kedro", "ran", "--strict"]);
    assert_eq!(ended.code, 5, "{}", ended.err);
}

/// A tool some of whose events may wait on the disk.
fn waiting(world: &World) {
    world.manifest("mytool", "opt-out");
    let listed = "name = \"mytool\"\nconsent = \"opt-out\"\n[events.ran]\nproperties.n = \"integer\"\nproperties.text = \"string\"\n";
    world.write("data/telemetryd/tools.d/mytool.toml", listed);
}

/// The events in the spool.
fn spooled(world: &World) -> Vec<Value> {
    let entries = std::fs::read_dir(world.path("state/spool")).into_iter().flatten();
    let names = entries.map(|entry| {
        entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("a name")
    });
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".mytool.ndjson")).collect();
    names.sort_unstable();
    let read =
        |name: &String| serde_json::from_str(&world.read(&format!("state/spool/{name}"))).expect("JSON");
    names.iter().map(read).collect()
}

#[test]
fn without_a_daemon_what_may_wait_waits_for_the_next() {
    let world = World::new();
    waiting(&world);
    let send = [
        "send",
        "mytool",
        "ran",
        "-p",
        "n=3",
        "-p",
        "text=secret",
        "--verbose",
    ];
    let ended = world.run(&send);
    assert_eq!(ended.code, 0);
    assert!(
        ended.err.contains("1 event kept for the next daemon"),
        "{}",
        ended.err
    );
    let events = spooled(&world);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["properties"], json!({"n": 3}), "no text of anybody's");
    assert!(events[0]["time"].is_i64() && events[0]["context"]["library"]["name"] == "telemetryctl");
    assert!(events[0].get("ack").is_none());
    // It is there, and still an error for who wants a daemon; and what is not listed does not wait.
    assert_eq!(world.run(&["send", "mytool", "ran", "--strict"]).code, 3);
    let ended = world.run(&["send", "mytool", "other", "--json"]);
    assert_eq!(ended.value()["error"], "no_daemon");
    let ended = world.run(&["send", "mytool", "ran", "--json"]);
    assert_eq!(ended.value()["status"], "spooled");
    // One whose id does not say when it was is not kept: nobody could tell when it is too old.
    let line = b"{\"id\":\"7f1c38a2-9c1e-4f6e-8a57-0d4d7b3c2a11\"}\n";
    world.run_with(&["send", "mytool", "ran", "--stdin"], line);
    assert_eq!(spooled(&world).len(), 3);
}

#[test]
fn a_daemon_that_does_not_answer_is_waited_for_once_and_then_left_alone() {
    let world = World::new();
    waiting(&world);
    let daemon = world.daemon(|_| Reply::Silence);
    let first = world.run(&["send", "mytool", "ran", "-p", "n=1", "--strict"]);
    assert_eq!(first.code, 5, "{}", first.err);
    let heard = daemon.next();
    assert_eq!(spooled(&world)[0]["id"], heard["id"], "one event, wherever it is");
    for n in ["n=2", "n=3"] {
        let ended = world.run(&["send", "mytool", "ran", "-p", n, "--verbose"]);
        assert!(ended.err.contains("was not asked again"), "{}", ended.err);
    }
    assert_eq!(spooled(&world).len(), 3);
    assert!(daemon.all().is_empty(), "it was not asked again");
}

#[test]
fn a_daemon_that_takes_no_connection_holds_a_script_for_no_longer_than_a_library() {
    let world = World::new();
    waiting(&world);
    let listener = std::os::unix::net::UnixListener::bind(world.path("run/d.sock")).expect("a socket");
    rustix::net::listen(&listener, 0).expect("a short backlog");
    // Until it is full.
    let mut held = Vec::new();
    let full = loop {
        let kind = rustix::net::SocketType::STREAM;
        let socket = rustix::net::socket(rustix::net::AddressFamily::UNIX, kind, None).expect("a socket");
        rustix::io::ioctl_fionbio(&socket, true).expect("a socket that does not wait");
        let address = rustix::net::SocketAddrUnix::new(world.path("run/d.sock")).expect("an address");
        match rustix::net::connect(&socket, &address) {
            Ok(()) => held.push(socket),
            Err(error) => break error,
        }
    };
    assert_eq!(full, rustix::io::Errno::AGAIN);
    for said in ["it did not take the connection in time", "was not asked again"] {
        let ended = world.run(&["send", "mytool", "ran", "--ack", "none", "--verbose"]);
        assert_eq!(ended.code, 0);
        assert!(ended.err.contains(said), "{}", ended.err);
    }
    assert_eq!(spooled(&world).len(), 2);
}
