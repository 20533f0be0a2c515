//! What a manifest says is what arrives: typed properties, identity, context, sample and quota, through the whole way.

use std::time::Duration;

use serde_json::{Value, json};
use telemetry_testkit::sink::Script;
use telemetry_testkit::{DEADLINE, Daemon, Heard, Home, eventually};

use crate::stage::{TOLD, TOOL, ask, destination, endpoint, id, list, status};

const LISTED: &str = r#"
consent = "opt-out"
[events."CLI command"]
properties.command = { type = "string", mask = "command" }
properties.nodes = "integer"
properties.share = "number"
properties.quick = "boolean"
properties.level = { type = "string", enum = ["low", "high"], else = "other" }
properties.pipeline = { type = "string", hash = true }
properties.secret = { type = "string", drop = true }
properties.steps = { type = "array", items = { type = "string", max = 4 }, max_items = 2 }
properties.extra = { type = "object", properties = { n = "integer" } }
properties."count.*" = { type = "integer", keys = { prefix = ["kedro."], else = "custom" } }
"#;

/// A home where `demo` has this manifest.
fn home(manifest: &str) -> Home {
    let home = Home::new();
    home.write_manifest(TOOL, &format!("name = \"{TOOL}\"\n{manifest}"));
    home
}

/// What arrives of these events, in order.
fn arrived(manifest: &str, events: &[Value]) -> Vec<Value> {
    let endpoint = endpoint(Script::default());
    let daemon = Daemon::start(&home(manifest), &destination(&endpoint.url(), TOLD));
    for event in events {
        let answer = ask(&daemon, event);
        assert_eq!(answer["status"], "queued", "{answer}");
    }
    ask(
        &daemon,
        &json!({"op": "flush", "wait": true, "timeout_ms": 15_000}),
    );
    endpoint.wait_for_events(events.len());
    endpoint.events()
}

#[test]
fn what_the_manifest_does_not_list_does_not_arrive() {
    let event = json!({
        "tool": TOOL, "event": "CLI command", "id": id(1), "version": "1.2",
        "properties": {
            "command": "demo run --env=/home/alice/x", "nodes": 3, "share": 1e-3, "quick": true, "level": "mine",
            "pipeline": "customers", "secret": "s3cret", "steps": ["one", "threee", "four"],
            "extra": {"n": 1, "free": "text"}, "count.kedro.x": 2, "count.a": 3, "count.b": 4, "unlisted": "u",
        },
        "context": {"ci": false, "os": {"name": "mine"}, "runtime": {"name": "python", "free": 1}, "whatever": "text"},
    });
    let found = &arrived(LISTED, &[event])[0];
    let properties = &found["properties"];
    assert_eq!(
        *properties,
        json!({
            "command": "demo run *****", "nodes": 3, "share": 1e-3, "quick": true, "level": "other",
            "pipeline": properties["pipeline"], "steps": ["one", "thre"], "extra": {"n": 1},
            "count.kedro.x": 2, "count.custom": 7,
        })
    );
    let hash = properties["pipeline"].as_str().unwrap();
    assert!(
        hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit()),
        "{hash}"
    );
    let context = &found["context"];
    assert_eq!(
        (&context["ci"], &context["runtime"]),
        (&json!(false), &json!({"name": "python"}))
    );
    assert_eq!(context["os"]["name"], std::env::consts::OS);
    assert!(
        context["cpu"].is_u64() && context["arch"].is_string() && context["whatever"].is_null(),
        "{context}"
    );
    assert_eq!(found["anonymous_id"].as_str().map(str::len), Some(36));
}

#[test]
fn a_wrong_type_is_removed_and_counted_and_its_author_is_told() {
    let endpoint = endpoint(Script::default());
    let home = home(LISTED);
    let daemon = Daemon::start(&home, &destination(&endpoint.url(), TOLD));
    let mut watcher = daemon.connect();
    watcher.send(&json!({"op": "tail"}));
    let wrong = json!({"tool": TOOL, "event": "CLI command", "properties": {"nodes": "three", "x": 1}});
    let line = eventually("the watcher is there and hears", DEADLINE, || {
        assert_eq!(ask(&daemon, &wrong)["status"], "queued");
        match watcher.hear(Duration::from_millis(50)) {
            Heard::Line(line) => serde_json::from_str::<Value>(&line).ok(),
            _ => None,
        }
    });
    assert_eq!(line["what"], "accepted", "{line}");
    assert_eq!(
        line["removed"],
        json!([
            {"name": "properties.nodes", "why": "wrong_type", "expected": "integer", "found": "a string"},
            {"name": "properties.x", "why": "unlisted"},
        ])
    );
    let tool = status(&daemon)["tools"][0].clone();
    assert!(tool["removed"]["wrong_type"].as_u64() >= Some(1), "{tool}");
    assert!(
        tool["wrong_types"]["properties.nodes"].as_u64() >= Some(1),
        "{tool}"
    );
    let refused = ask(&daemon, &json!({"tool": TOOL, "event": "another"}));
    assert_eq!(refused["error"], "not_allowed", "{refused}");
    assert_eq!(status(&daemon)["tools"][0]["unlisted_events"], 1);
    assert!(
        list(&daemon, &json!({"op": "queue", "action": "list"}))
            .iter()
            .all(|row| row["event"] != "another")
    );
}

#[test]
fn two_tools_ids_and_hashes_have_nothing_in_common_and_end_with_a_withdrawal() {
    const TOOLS: [&str; 2] = [TOOL, "other"];
    let endpoint = endpoint(Script::default());
    let home = Home::new();
    for tool in TOOLS {
        home.write_manifest(
            tool,
            &format!(
                "name = \"{tool}\"\nconsent = \"opt-out\"\n[events.ran]\nproperties.name = {{ type = \"string\", hash = true }}\n"
            ),
        );
    }
    let mut daemon = Daemon::start(&home, &destination(&endpoint.url(), TOLD));
    assert!(list(&daemon, &json!({"op": "identity"})).is_empty(), "made late");
    let mut n = 0;
    let mut round = |daemon: &Daemon, ci: bool| {
        for tool in TOOLS {
            n += 1;
            let event = json!({
                "tool": tool, "event": "ran", "id": id(n), "project": "the same", "user": "the same",
                "properties": {"name": "the same"}, "context": {"ci": ci},
            });
            assert_eq!(ask(daemon, &event)["status"], "queued");
        }
        ask(
            daemon,
            &json!({"op": "flush", "wait": true, "timeout_ms": 15_000}),
        );
        let found = |n: u64| {
            endpoint
                .events()
                .into_iter()
                .find(|event| event["id"] == id(n))
                .unwrap()
        };
        [found(n - 1), found(n)]
    };
    let told = |event: &Value| {
        [
            &event["anonymous_id"],
            &event["project_id"],
            &event["properties"]["name"],
        ]
        .map(|value| value.as_str().unwrap_or_default().replace('-', ""))
    };
    let [one, other] = round(&daemon, false).map(|event| told(&event));
    for a in &one {
        for b in &other {
            let common = (0..=a.len() - 6).any(|at| b.contains(&a[at..at + 6]));
            assert!(a.len() >= 32 && !common, "{a} {b}");
        }
    }
    daemon.restart();
    assert_eq!(
        round(&daemon, false).map(|event| told(&event)),
        [one.clone(), other.clone()]
    );
    let in_ci = round(&daemon, true);
    assert!(
        in_ci
            .iter()
            .all(|event| event["anonymous_id"].is_null() && event["project_id"].is_null())
    );
    assert_eq!(list(&daemon, &json!({"op": "identity"})).len(), 2);
    for action in ["deny", "allow"] {
        ask(&daemon, &json!({"op": "consent", "action": action, "tool": TOOL}));
    }
    let forgotten = ask(&daemon, &json!({"op": "forget", "tool": "other"}));
    assert_eq!(forgotten["identities"], 1, "{forgotten}");
    let [anew, forgotten] = round(&daemon, false).map(|event| told(&event));
    for (before, after) in one.iter().zip(&anew).chain(other.iter().zip(&forgotten)) {
        assert_ne!(before, after);
    }
}

#[test]
fn a_days_number_holds_across_a_kill_and_what_was_over_it_is_reported_as_a_loss() {
    let endpoint = endpoint(Script::default());
    let home = home("consent = \"opt-out\"\nmax_per_day = 3\nevents = \"any\"\n");
    let mut daemon = Daemon::start(&home, &destination(&endpoint.url(), TOLD));
    let say = |daemon: &Daemon, n: u64| {
        let answer = ask(daemon, &json!({"tool": TOOL, "event": "ran", "id": id(n)}));
        (answer["status"].clone(), answer["by"].clone())
    };
    for n in 1..=2 {
        assert_eq!(say(&daemon, n).0, "queued");
    }
    daemon.restart();
    assert_eq!(say(&daemon, 3).0, "queued");
    for n in 4..=5 {
        assert_eq!(say(&daemon, n), (json!("declined"), json!("quota")));
    }
    ask(
        &daemon,
        &json!({"op": "flush", "wait": true, "timeout_ms": 15_000}),
    );
    endpoint.wait_for_events(3);
    let body: Value = serde_json::from_slice(&endpoint.batches()[0].body).unwrap();
    assert_eq!(body["losses"]["quota"], 2, "{body}");
    let tool = status(&daemon)["tools"][0].clone();
    assert_eq!(tool["declined"]["quota"], 2, "{tool}");
}
