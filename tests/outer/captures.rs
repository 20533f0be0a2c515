//! What real tools sent, as events of theirs, through the whole way: nothing of it is changed, in any encoding.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use telemetry_testkit::{Collector, Daemon, Home};

use crate::stage::{TOLD, ask, destination, id, manifest, queue};

/// The captured requests by their file's name: the tool, and the body.
fn captures() -> BTreeMap<String, (&'static str, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let json = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    json.map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let request: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let tool = match name.split('-').next() {
            Some("ev") => "evidently",
            Some("kedro") => "kedro",
            _ => "dlt",
        };
        (name, (tool, request["body"].clone()))
    })
    .collect()
}

/// The event that a library would have made of it.
fn event_of(n: u64, tool: &str, body: &Value) -> Value {
    let or = |key: &str, other: Value| {
        if body[key].is_null() {
            other
        } else {
            body[key].clone()
        }
    };
    let name = [&body["event"], &body["event_name"], &body["action"]]
        .into_iter()
        .find_map(Value::as_str);
    json!({
        "tool": tool, "event": name.unwrap_or("event"), "id": id(n), "version": "1.2.3",
        "properties": or("properties", body.clone()), "context": or("context", json!({})),
    })
}

#[test]
fn what_kedro_dlt_and_evidently_sent_arrives_unchanged_in_every_encoding_over_a_kill() {
    let captures = captures();
    assert!(captures.len() >= 25, "only {} captures", captures.len());
    for more in ["", "encoding = \"ndjson\"\n", "compression = \"zstd\"\n"] {
        let home = Home::new();
        for tool in ["kedro", "dlt", "evidently"] {
            home.write_manifest(tool, &manifest(tool));
        }
        let endpoint = Collector::builder().expect_any_tool().start();
        let mut daemon = Daemon::start(&home, &destination(&endpoint.url(), &format!("{TOLD}{more}")));
        let events: Vec<Value> = captures
            .values()
            .enumerate()
            .map(|(n, (tool, body))| event_of(n as u64, tool, body))
            .collect();
        queue(&daemon, events.clone());
        daemon.restart();
        assert_eq!(
            ask(
                &daemon,
                &json!({"op": "flush", "wait": true, "timeout_ms": 15_000})
            )["left"],
            0
        );
        endpoint.wait_for_events(events.len());
        let arrived: BTreeMap<String, Value> = endpoint
            .events()
            .into_iter()
            .map(|event| (event["id"].as_str().unwrap().to_owned(), event))
            .collect();
        for sent in &events {
            let found = &arrived[sent["id"].as_str().unwrap()];
            let mut expected = sent["properties"].clone();
            if let Some(leak) = expected
                .get_mut("command")
                .filter(|c| c.to_string().contains("/home"))
            {
                // What Kedro sent in clear, by the value rules.
                *leak = found["properties"]["command"].clone();
                assert!(!leak.to_string().contains("alice"), "{leak}");
            }
            assert_eq!(
                found["properties"], expected,
                "{more}properties of {}",
                sent["event"]
            );
            for key in ["tool", "event"] {
                assert_eq!(found[key], sent[key], "{more}{key} of {}", sent["event"]);
            }
            assert_eq!(found["context"]["library"], sent["context"]["library"]);
        }
    }
}
