//! Kedro, dlt and Evidently in their own words again: what each sent (`fixtures/captures/`) goes into the daemon as its
//! library says it, through the manifest that is shipped for it, and comes out in its vendor's form. Every difference is
//! named here, and there are no others.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use telemetry_testkit::{Collector, Daemon, Home};

use crate::stage::{TOLD, ask, destination, id, queue};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn capture(name: &str) -> Value {
    let mut capture: Value = serde_json::from_str(&read(&format!("fixtures/captures/{name}.json"))).unwrap();
    capture["body"].take()
}

/// A daemon with the shipped manifest of `tool`, whose notice was shown, whose events go to an endpoint in this form.
fn through(tool: &str, form: &str, event: Value) -> Value {
    let home = Home::new();
    home.write_manifest(tool, &read(&format!("../config/tools.d/{tool}.toml")));
    let endpoint = Collector::builder().expect_any_tool().start();
    let daemon = Daemon::start(&home, &destination(&endpoint.url(), &format!("{TOLD}{form}")));
    let noticed = ask(
        &daemon,
        &json!({"op": "consent", "action": "noticed", "tool": tool}),
    );
    assert_eq!(noticed["status"], "noticed", "{noticed}");
    queue(&daemon, [event]);
    let flushed = ask(
        &daemon,
        &json!({"op": "flush", "wait": true, "timeout_ms": 15_000}),
    );
    assert_eq!(flushed["left"], 0, "{flushed}");
    serde_json::from_slice(&endpoint.requests()[0].body).unwrap()
}

/// The paths at which two values differ: `-` is only in the first, `+` only in the second, `~` in both.
fn differences(wanted: &Value, found: &Value) -> BTreeSet<String> {
    fn walk(path: &str, wanted: &Value, found: &Value, out: &mut BTreeSet<String>) {
        match (wanted, found) {
            (Value::Object(wanted), Value::Object(found)) => {
                let names: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
                for name in names {
                    let below = match path {
                        "" => name.clone(),
                        path => format!("{path}.{name}"),
                    };
                    match (wanted.get(name), found.get(name)) {
                        (Some(wanted), Some(found)) => walk(&below, wanted, found, out),
                        (Some(_), None) => drop(out.insert(format!("-{below}"))),
                        _ => drop(out.insert(format!("+{below}"))),
                    }
                }
            }
            (wanted, found) if wanted != found => drop(out.insert(format!("~{path}"))),
            _ => {}
        }
    }
    let mut out = BTreeSet::new();
    walk("", wanted, found, &mut out);
    out
}

#[track_caller]
fn only(found: &BTreeSet<String>, named: &[&str], of: &str) {
    let named: BTreeSet<String> = named.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(found, &named, "{of}");
}

/// What leaves under the names of the vendor and comes from elsewhere in the event.
fn without(properties: &Value, names: &[&str]) -> Value {
    let mut properties = properties.clone();
    for name in names {
        properties.as_object_mut().unwrap().remove(*name);
    }
    properties
}

#[test]
fn kedro_as_heap_knows_it() {
    for name in [
        "kedro-new-run-001",
        "kedro-new-runok-001",
        "kedro-new-reglist-001",
    ] {
        let wanted = capture(name);
        let facts = &wanted["properties"];
        let from_elsewhere = ["username", "project_id", "python_version", "os", "is_ci_env"];
        let event = json!({
            "tool": "kedro", "event": wanted["event"], "id": id(1), "time": wanted["timestamp"],
            "version": facts["project_version"], "user": wanted["identity"], "project": facts["project_id"],
            "properties": without(facts, &from_elsewhere),
            "context": {"runtime": {"name": "python", "version": "3.11.7"}, "ci": facts["is_ci_env"]},
        });
        let form = "encoding = \"heap\"\nform = \"track\"\nauth.heap_app_id = \"2388822444\"\n";
        let found = through("kedro", form, event);
        only(
            &differences(&wanted, &found),
            &[
                // By which a resend is known.
                "+idempotency_key",
                // What versions up to 0.3 called the project's id.
                "+properties.package_name",
                // A digest that only this user's events of this tool share.
                "~properties.project_id",
                // The version alone, without the compiler and the day that it was built.
                "~properties.python_version",
            ],
            name,
        );
        assert_eq!(found["idempotency_key"], id(1));
    }
}

#[test]
fn dlt_as_its_tracker_knows_it() {
    for (name, removed) in [
        ("dlt-pipeline-run-001", &["~properties.extract_data"][..]),
        ("dlt-pipeline-run-002", &[]),
        ("dlt-pipeline-run-003", &[]),
        ("dlt-pipeline-run-004", &[]),
        ("dlt-schema-cmd-001", &[]),
    ] {
        let wanted = capture(name);
        let facts = &wanted["context"];
        let event = json!({
            "tool": "dlt", "event": wanted["event"], "id": id(1), "time": "2026-11-21T10:00:00.000Z",
            "version": facts["library"]["version"], "user": wanted["anonymousId"], "properties": wanted["properties"],
            "context": {"runtime": {"name": "python", "version": facts["python"]}, "ci": facts["ci_run"],
                "library": facts["library"], "exec_info": facts["exec_info"]},
        });
        let form = "encoding = \"segment\"\nform = \"track\"\n";
        let found = through("dlt", form, event);
        let mut found_differences = differences(&wanted, &found);
        // Hashes of names are hashed once more, under a key of this user's.
        found_differences.retain(|path| !path.ends_with("_name_hash"));
        // The machine's own, by the daemon.
        found_differences.retain(|path| !path.contains("context.os") && path != "~context.cpu");
        let ours = [
            "+messageId",
            "+originalTimestamp",
            "+sentAt",
            "+timestamp",
            "-context.run_context",
        ];
        let named: Vec<&str> = ours.iter().chain(removed).copied().collect();
        only(&found_differences, &named, name);
        assert_eq!(found["context"]["os"]["name"], "linux");
    }
}

#[test]
fn evidentlys_service_as_its_tracker_knows_it() {
    for name in ["ev-new-event-001", "ev-ui-001", "ev-ui-004"] {
        let wanted = capture(name);
        let event = json!({
            "tool": "evidently", "event": "action", "id": id(1), "version": wanted["tool_version"],
            "user": wanted["user_id"],
            "properties": {"interface": wanted["interface"], "action": wanted["action"], "error": wanted["error"],
                "extra": wanted["extra"], "python_version": wanted["python_version"]},
        });
        let found = through("evidently", "encoding = \"mapped\"\n", event);
        // The kernel's version, not the distribution's.
        only(&differences(&wanted, &found), &["~os_version"], name);
    }
}

#[test]
fn evidentlys_command_line_as_its_tracker_knew_it() {
    let wanted = capture("ev-old-profile-001");
    let python = &wanted["environment"]["python"];
    let usage = &wanted["usage"];
    let parts: Vec<&String> = usage["parts"].as_object().unwrap().keys().collect();
    let event = json!({
        "tool": "evidently-cli", "event": "calculate", "id": id(1), "version": wanted["evidently"]["version"],
        "properties": {"type": usage["type"], "parts": parts, "sampling": usage["sampling"]},
        "context": {"runtime": {"name": "python", "version": python["version"], "implementation": python["interpreter"]},
            "conda": python["conda"], "venv": python["venv"]},
    });
    let found = through("evidently-cli", "encoding = \"mapped\"\n", event);
    only(
        &differences(&wanted, &found),
        &[
            // The system's name alone.
            "~environment.os",
            // The names of the parts, without their options, in which columns of the user's stood.
            "~usage.parts",
        ],
        "ev-old-profile-001",
    );
    assert_eq!(found["usage"]["parts"], json!(["data_drift"]));
}
