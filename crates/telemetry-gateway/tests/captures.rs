//! What real tools sent becomes the event lines that their manifests are written for: the captures under
//! `tests/fixtures/captures/`, dialect by dialect.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use serde_json::{Value, json};
use telemetry_gateway::dialect::{Body, Line, Wrong, any, heap, jitsu, lines, segment};

fn capture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/captures")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["body"].clone()
}

fn none(_: &str) -> bool {
    false
}

/// The one line that the dialect makes of a body.
fn line(body: &Value, read: impl Fn(&Body<'_>) -> Result<Vec<Line>, Wrong>) -> Value {
    let bytes = body.to_string();
    let lines = read(&Body::scan(bytes.as_bytes()).unwrap()).unwrap();
    assert_eq!(lines.len(), 1);
    serde_json::from_slice(&lines[0].line).unwrap()
}

#[test]
fn dlts_track_call_keeps_its_properties_and_has_its_facts_under_our_names() {
    for name in [
        "dlt-segment-001.json",
        "dlt-pipeline-run-001.json",
        "dlt-pipeline-run-004.json",
        "dlt-schema-cmd-001.json",
    ] {
        let body = capture(name);
        let line = line(&body, |body| segment::one(body, "dlt", &none));
        assert_eq!(line["tool"], "dlt");
        assert_eq!(line["event"], body["event"]);
        assert_eq!(line["user"], body["anonymousId"]);
        assert_eq!(line["properties"], body["properties"]);
        assert_eq!(line["version"], "1.31.0");
        let context = &line["context"];
        assert_eq!(context["ci"], body["context"]["ci_run"]);
        assert_eq!(context["runtime"], json!({"name": "python", "version": "3.11.7"}));
        for same in ["exec_info", "library", "os", "cpu"] {
            assert_eq!(context[same], body["context"][same], "{same}");
        }
        assert!(
            line.get("id").is_none() && line.get("time").is_none(),
            "it sends neither"
        );
        // Its default address has no key: any object.
        assert_eq!(line, self::line(&body, |body| any::lines(body, "dlt", &none)));
    }
}

#[test]
fn kedros_event_has_its_project_and_facts_beside_its_properties() {
    for name in [
        "kedro-new-run-001.json",
        "kedro-new-runok-001.json",
        "kedro-032-runok-001.json",
    ] {
        let body = capture(name);
        let line = line(&body, |body| heap::lines(body, "kedro"));
        assert_eq!((&line["tool"], &line["event"]), (&json!("kedro"), &body["event"]));
        assert_eq!(line["user"], body["identity"]);
        assert_eq!(line["time"], body["timestamp"]);
        assert_eq!(line["properties"], body["properties"]);
        let properties = &body["properties"];
        assert_eq!(line["version"], properties["project_version"]);
        let project = properties.get("project_id").or(properties.get("package_name"));
        assert_eq!(line.get("project"), project);
        assert_eq!(line["context"]["ci"], properties["is_ci_env"]);
        let python = line["context"]["runtime"]["version"].as_str().unwrap();
        assert!(properties["python_version"].as_str().unwrap().starts_with(python) && !python.contains(' '));
        assert_eq!(line, self::line(&body, |body| any::lines(body, "kedro", &none)));
    }
}

#[test]
fn heaps_bulk_form_is_as_many_events_each_with_an_id_of_its_own() {
    let body = json!({"app_id": "1", "events": [
        {"event": "a", "identity": "u", "idempotency_key": "k1"},
        {"event": "b", "user_id": 7, "idempotency_key": "k2", "timestamp": 1_700_000_000_000_i64},
    ]});
    let bytes = body.to_string();
    let lines = heap::lines(&Body::scan(bytes.as_bytes()).unwrap(), "t").unwrap();
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_slice(&line.line).unwrap())
        .collect();
    assert_eq!(
        (&lines[0]["event"], &lines[1]["event"]),
        (&json!("a"), &json!("b"))
    );
    assert_eq!(lines[1]["user"], "7");
    assert_eq!(lines[1]["time"], 1_700_000_000_000_i64);
    let expected = telemetry_protocol::foreign::event_id("t", "k1").to_string();
    assert_eq!(lines[0]["id"], expected);
    assert_ne!(lines[0]["id"], lines[1]["id"]);
}

#[test]
fn evidentlys_event_is_its_action_or_the_one_that_the_manifest_lists_for_all_actions() {
    for name in ["ev-new-event-001.json", "ev-ui-001.json", "ev-ui-004.json"] {
        let body = capture(name);
        let named = line(&body, |body| jitsu::lines(body, "evidently", &none));
        assert_eq!(named["event"], body["action"]);
        let line = line(&body, |body| {
            jitsu::lines(body, "evidently", &|event| event == "action")
        });
        assert_eq!(line["event"], "action");
        assert_eq!(line["user"], body["user_id"]);
        assert_eq!(line["version"], body["tool_version"]);
        assert_eq!(line["context"]["runtime"]["version"], "3.11.7");
        for same in ["interface", "action", "error", "extra", "python_version"] {
            assert_eq!(line["properties"][same], body[same], "{same}");
        }
        assert!(line["properties"].get("user_id").is_none());
    }
}

#[test]
fn evidentlys_old_body_is_one_event_whose_parts_are_names() {
    let body = capture("ev-old-profile-001.json");
    let line = line(&body, |body| any::lines(body, "evidently-cli", &none));
    assert_eq!(line["event"], "calculate");
    assert_eq!(line["properties"]["type"], "profile");
    assert_eq!(line["properties"]["parts"], json!(["data_drift"]));
    assert_eq!(line["properties"]["sampling"], body["usage"]["sampling"]);
    assert_eq!(line["version"], "0.2.8");
    let runtime = json!({"name": "python", "version": "3.10.13", "implementation": "CPython"});
    assert_eq!(
        line["context"],
        json!({"runtime": runtime, "conda": false, "venv": false})
    );
}

#[test]
fn of_the_calls_that_are_no_track_only_what_the_manifest_lists_is_taken() {
    let calls = json!({"context": {"app": {"version": "9"}}, "batch": [
        {"type": "identify", "userId": "u", "traits": {"plan": "x"}},
        {"type": "page", "userId": "u", "name": "Home", "properties": {"url": "/"}},
        {"type": "track", "userId": "u", "event": "Ran", "messageId": "ajs-1", "originalTimestamp": "2026-01-01T00:00:00Z"},
    ]});
    let bytes = calls.to_string();
    let body = Body::scan(bytes.as_bytes()).unwrap();
    let read = |lists: &dyn Fn(&str) -> bool| -> Vec<Value> {
        let lines = segment::many(&body, "t", lists).unwrap();
        lines
            .iter()
            .map(|line| serde_json::from_slice(&line.line).unwrap())
            .collect()
    };
    let tracks = read(&none);
    assert_eq!(tracks.len(), 1);
    assert_eq!(
        (&tracks[0]["event"], &tracks[0]["version"]),
        (&json!("Ran"), &json!("9"))
    );
    assert_eq!(tracks[0]["time"], "2026-01-01T00:00:00Z");
    let id = telemetry_protocol::foreign::event_id("t", "ajs-1").to_string();
    assert_eq!(tracks[0]["id"], id);
    let all = read(&|_| true);
    assert_eq!(
        (&all[0]["event"], &all[0]["properties"]),
        (&json!("identify"), &json!({"plan": "x"}))
    );
    assert_eq!(all[1]["properties"], json!({"name": "Home", "url": "/"}));
}

#[test]
fn lines_come_as_an_array_or_as_ndjson_and_numbers_stay_as_they_were_written() {
    let array = br#" [{"event":"a","properties":{"n":1.10}},{"tool":"t","event":"b","ack":"none"}]"#;
    let ndjson = b"{\"event\":\"a\",\"properties\":{\"n\":1.10}}\r\n\n{\"tool\":\"t\",\"event\":\"b\",\"ack\":\"none\"}\n";
    for body in [array.as_slice(), ndjson.as_slice()] {
        let lines = lines::lines(body, "t").unwrap();
        let text: Vec<&str> = lines
            .iter()
            .map(|line| str::from_utf8(&line.line).unwrap())
            .collect();
        assert_eq!(
            text,
            [
                r#"{"tool":"t","event":"a","properties":{"n":1.10}}"#,
                r#"{"tool":"t","event":"b"}"#
            ]
        );
    }
    for (body, said) in [
        (r#"{"op":"stop"}"#, "line 1.op"),
        (r#"{"tool":"other","event":"e"}"#, "line 1.tool"),
        ("{\"event\":\"e\"}\n{nonsense}", "line 2 is not JSON"),
        (r#"[{"event":"e"},7]"#, "[1]: expected an object"),
    ] {
        let Wrong(message) = lines::lines(body.as_bytes(), "t").unwrap_err();
        assert!(message.starts_with(said), "{message}");
    }
}

#[test]
fn every_capture_becomes_lines_that_are_events() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/captures");
    let mut read = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let bytes = serde_json::from_str::<Value>(&text).unwrap()["body"].to_string();
        for line in any::lines(&Body::scan(bytes.as_bytes()).unwrap(), "t", &none).unwrap() {
            let mut members = Vec::new();
            let scanned = telemetry_protocol::json::scan(&line.line, 32, &mut members).unwrap();
            telemetry_protocol::event::Event::parse(&scanned).unwrap();
            read += 1;
        }
    }
    assert!(read >= 20, "{read}");
}
