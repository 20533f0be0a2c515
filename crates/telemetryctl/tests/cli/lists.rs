//! Lists: one object a line and nothing else, as the daemon sent it; tables for people; a closed pipe.

use std::io::Read;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::world::{Reply, World, line};

const ROW: &str = r#"{"id":"00000000-0000-0000-0000-000000000001","tool":"kedro","event":"CLI command","time":"2026-11-21T10:00:00.000Z","received":"2026-11-21T10:00:00.000Z","destination":"default","bytes":1.10,"state":"waiting","batch_id":null,"attempts":0}"#;

fn items(count: usize) -> Reply {
    let mut lines = vec![ROW.to_owned(); count];
    lines.push(format!(r#"{{"ok":true,"status":"end","count":{count}}}"#));
    Reply::Lines(lines)
}

#[test]
fn json_lists_are_the_daemons_lines_to_the_byte() {
    let world = World::new();
    let daemon = world.daemon(|_| items(2));
    for (command, request) in [
        (
            &["queue", "list", "--tool", "kedro", "--limit", "2"][..],
            json!({"op":"queue","action":"list","tool":"kedro","destination":null,"id":null,"limit":2}),
        ),
        (
            &["queue", "parked", "--destination", "d"],
            json!({"op":"queue","action":"parked","tool":null,"destination":"d","id":null,"limit":null}),
        ),
        (
            &["queue", "next-batch"],
            json!({"op":"queue","action":"next_batch","destination":null}),
        ),
        (
            &["sent", "--last", "7", "--bodies"],
            json!({"op":"sent","limit":7,"tool":null,"bodies":true}),
        ),
        (&["tools", "list"], json!({"op":"tools","action":"list"})),
    ] {
        let ended = world.run(&[command, &["--json"]].concat());
        assert_eq!(ended.code, 0, "{command:?}: {}", ended.err);
        assert_eq!(ended.out, format!("{ROW}\n{ROW}\n"), "{command:?}");
        assert_eq!(daemon.next(), request);
    }
}

#[test]
fn a_person_sees_a_table_and_is_told_when_there_is_nothing() {
    let world = World::new();
    let _daemon = world.daemon(|request| items(usize::from(request["tool"] == "kedro")));
    let ended = world.run(&["queue", "list", "--tool", "kedro"]);
    assert!(
        ended.out.starts_with("id ") && ended.out.contains("CLI command"),
        "{}",
        ended.out
    );
    let ended = world.run(&["queue", "list"]);
    assert_eq!(
        (ended.code, ended.out.as_str(), ended.err.as_str()),
        (0, "", "nothing is queued\n")
    );
}

#[test]
fn an_error_in_place_of_a_list_is_an_error() {
    let world = World::new();
    let _daemon = world.daemon(|_| line(r#"{"ok":false,"error":"storage","message":"cannot read"}"#));
    let ended = world.run(&["queue", "list", "--json"]);
    assert_eq!(
        (ended.code, ended.out.as_str(), ended.err.as_str()),
        (1, "", "error: cannot read\n")
    );
}

#[test]
fn an_event_is_shown_with_its_body_and_one_that_is_not_there_is_an_error() {
    let world = World::new();
    let _daemon = world.daemon(|request| items(usize::from(request["id"].as_str().unwrap().ends_with('1'))));
    let id = "00000000-0000-0000-0000-000000000001";
    assert_eq!(
        world.run(&["queue", "show", id, "--json"]).out,
        format!("{ROW}\n")
    );
    assert!(
        world
            .run(&["queue", "show", id])
            .out
            .contains("tool         kedro")
    );
    let gone = world.run(&["queue", "show", "00000000-0000-0000-0000-000000000002"]);
    assert_eq!(gone.code, 1);
}

#[test]
fn the_next_request_is_printed_to_the_byte() {
    let world = World::new();
    let batch = r#"{"destination":"d","method":"POST","url":"https://e.test/v1","headers":{"authorization":"Bearer *****"},"batch_id":"b","body":"{\"n\":1.10}\n"}"#;
    let _daemon = world.daemon(move |_| {
        Reply::Lines(vec![
            batch.to_owned(),
            r#"{"ok":true,"status":"end","count":1}"#.to_owned(),
        ])
    });
    assert_eq!(
        world.run(&["queue", "next-batch"]).out,
        "POST https://e.test/v1\nauthorization: Bearer *****\n\n{\"n\":1.10}\n"
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_success() {
    let world = World::new();
    let _daemon = world.daemon(|_| items(50_000));
    let mut command = world.command(&["queue", "list", "--json"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut first = [0; 10];
    out.read_exact(&mut first).unwrap();
    drop(out);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
}

#[test]
fn tail_shows_each_line_as_it_comes_and_says_when_the_daemon_goes() {
    let world = World::new();
    let event = r#"{"at":"2026-11-21T10:00:05.000Z","what":"declined","tool":"kedro","event":"CLI command","id":null,"by":"machine","source":"/etc/telemetryd/opt-out"}"#;
    let daemon = world.daemon(move |_| line(event));
    let mut command = world.command(&["tail", "--tool", "kedro"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let expected = "10:00:05 declined   kedro  CLI command  by machine  /etc/telemetryd/opt-out\n";
    let mut seen = vec![0; expected.len()];
    child.stdout.take().unwrap().read_exact(&mut seen).unwrap();
    assert_eq!(String::from_utf8(seen).unwrap(), expected);
    assert_eq!(daemon.next(), json!({"op":"tail","tool":"kedro"}));
    child.kill().unwrap();
    child.wait().unwrap();

    let world = World::new();
    let _daemon = world.daemon(|_| Reply::HangUp);
    assert_eq!(world.run(&["tail"]).code, 3);
}

#[test]
fn metrics_are_the_text_and_json_has_the_text_in_it() {
    let world = World::new();
    let _daemon = world.daemon(|_| line(r##"{"ok":true,"text":"# TYPE a counter\na_total 1\n# EOF\n"}"##));
    assert_eq!(
        world.run(&["metrics"]).out,
        "# TYPE a counter\na_total 1\n# EOF\n"
    );
    let value = world.run(&["metrics", "--json"]).value();
    assert_eq!(value.get("ok"), None::<&Value>);
    assert_eq!(value["text"], "# TYPE a counter\na_total 1\n# EOF\n");
}
