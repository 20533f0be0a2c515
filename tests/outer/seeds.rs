//! The manifests of the tools that telemetryd began with, held to what those tools really sent (`tests/fixtures/captures`):
//! every documented field leaves in the vendor's own names, and what leaked is gone. `docs/seeds.md` has the table.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use telemetry_testkit::sink::Script;
use telemetry_testkit::{Collector, Daemon, Home};

use crate::stage::{TOLD, ask, destination, id};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The captured bodies of these files, by name.
fn captures(begin: &[&str]) -> BTreeMap<String, Value> {
    let files = fs::read_dir(root().join("tests/fixtures/captures")).unwrap();
    let paths = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"));
    let all = paths.map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let request: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        (name, request["body"].clone())
    });
    all.filter(|(name, _)| begin.iter().any(|begin| name.starts_with(begin)))
        .collect()
}

/// What arrives at an endpoint of this encoding of the events, under the manifest that is shipped; and all that the
/// daemon wrote down.
fn through(tool: &str, more: &str, events: &[Value]) -> (Vec<Value>, String) {
    let home = Home::new();
    let manifest = fs::read_to_string(root().join(format!("config/tools.d/{tool}.toml"))).unwrap();
    home.write_manifest(tool, &manifest);
    let endpoint = Collector::builder()
        .script(Script::new())
        .expect_any_tool()
        .start();
    let settings = destination(&endpoint.url(), &format!("{TOLD}{more}compression = \"none\"\n"));
    let daemon = Daemon::start(&home, &settings);
    let noticed = ask(
        &daemon,
        &json!({"op": "consent", "action": "noticed", "tool": tool}),
    );
    assert_eq!(noticed["ok"], true, "{noticed}");
    for event in events {
        let answer = ask(&daemon, event);
        assert_eq!(answer["status"], "queued", "{answer} of {event}");
    }
    let flushed = ask(
        &daemon,
        &json!({"op": "flush", "wait": true, "timeout_ms": 15_000}),
    );
    assert_eq!(flushed["left"], 0, "{flushed}");
    let requests = endpoint.requests();
    let bodies = requests
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap());
    let mut files = Vec::new();
    crate::secrets::files(&home.state_dir(), &mut files);
    let written = files.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes));
    (bodies.collect(), written.collect())
}

/// The number of an event, so that its arrival is known.
fn numbered(n: usize) -> String {
    id(n as u64 + 1)
}

#[test]
fn all_that_kedro_documents_leaves_in_its_own_names_and_its_leak_is_gone() {
    let captures = captures(&["kedro-"]);
    assert!(captures.len() >= 9);
    let events: Vec<Value> = captures.values().enumerate().map(|(n, body)| {
        let sent = &body["properties"];
        let mut properties = sent.clone();
        // What the plug-in hands over elsewhere.
        for key in ["username", "project_id", "package_name", "python_version", "os", "is_ci_env"] {
            properties.as_object_mut().unwrap().remove(key);
        }
        let project = [&sent["project_id"], &sent["package_name"]].into_iter().find(|id| id.is_string());
        json!({
            "tool": "kedro", "id": numbered(n), "event": body["event"], "properties": properties,
            "version": sent["project_version"], "user": sent["username"], "project": project.map(|_| "4bd26d5a3fb5402a9f3c1a5ad2a60bb4"),
            "context": {"ci": sent["is_ci_env"].as_bool().unwrap_or(false), "runtime": {"name": "python", "version": "3.11.7"}},
        })
    }).collect();
    let (bodies, written) = through(
        "kedro",
        "encoding = \"heap\"\nform = \"track\"\nauth = { heap_app_id = \"2388822444\" }\n",
        &events,
    );
    let arrived: BTreeMap<&str, &Value> = bodies
        .iter()
        .map(|body| (body["idempotency_key"].as_str().unwrap(), body))
        .collect();
    for (n, (name, body)) in captures.iter().enumerate() {
        let found = arrived[numbered(n).as_str()];
        assert_eq!(
            (&found["event"], &found["app_id"]),
            (&body["event"], &body["app_id"]),
            "{name}"
        );
        let (sent, found) = (&body["properties"], &found["properties"]);
        for (key, value) in sent.as_object().unwrap() {
            match key.as_str() {
                // The UUID is passed on; a hash of the user name becomes a keyed one.
                "username" if value.as_str().unwrap().len() == 32 => assert_eq!(found[key], *value, "{name}"),
                "username" => assert_eq!(found[key].as_str().unwrap().len(), 36, "{name}"),
                "project_id" | "package_name" if value.is_null() => assert!(found[key].is_null(), "{name}"),
                "project_id" | "package_name" => assert_eq!(found[key].as_str().unwrap().len(), 64, "{name}"),
                // The version alone: what follows names compilers and dates.
                "python_version" => assert_eq!(found[key], "3.11.7", "{name}"),
                "command" if name.contains("leak") => assert_eq!(found[key], "kedro ***** *****"),
                "main_command" if name.contains("leak") => assert_eq!(found[key], "*****"),
                _ => assert_eq!(found[key], *value, "{name}: {key}"),
            }
        }
    }
    let everything = format!("{bodies:?}{written}");
    for leak in ["alice", "secret-token", "GCC", "408b27d3097eea5a"] {
        assert!(!everything.contains(leak), "{leak}");
    }
}

#[test]
fn all_that_dlt_documents_leaves_in_its_own_names_and_raw_names_are_gone() {
    let captures = captures(&["dlt-"]);
    assert!(captures.len() >= 8);
    let events: Vec<Value> = captures.values().enumerate().map(|(n, body)| {
        let context = &body["context"];
        json!({
            "tool": "dlt", "id": numbered(n), "event": body["event"], "properties": body["properties"],
            "version": context["library"]["version"], "user": body["anonymousId"],
            "context": {
                "ci": context["ci_run"], "exec_info": context["exec_info"], "library": context["library"],
                "runtime": {"name": "python", "version": context["python"]}, "run_context": context["run_context"],
            },
        })
    }).collect();
    let (bodies, written) = through(
        "dlt",
        "encoding = \"segment\"\nform = \"track\"\nauth = { segment_write_key = \"abc\" }\n",
        &events,
    );
    let arrived: BTreeMap<&str, &Value> = bodies
        .iter()
        .map(|body| (body["messageId"].as_str().unwrap(), body))
        .collect();
    for (n, (name, body)) in captures.iter().enumerate() {
        let found = arrived[numbered(n).as_str()];
        assert_eq!(
            (&found["event"], &found["anonymousId"]),
            (&body["event"], &body["anonymousId"]),
            "{name}"
        );
        for (key, value) in body["properties"].as_object().unwrap() {
            let found = &found["properties"][key];
            match key.as_str() {
                "extract_data" => assert_eq!(*found, json!([{"data_type": "resource"}]), "{name}"),
                // Under a key of this machine, instead of one that everybody can compute.
                _ if key.ends_with("_hash") => assert!(found.as_str().unwrap().len() == 32, "{name}: {key}"),
                _ => assert_eq!(found, value, "{name}: {key}"),
            }
        }
        let (found, sent) = (&found["context"], &body["context"]);
        for key in ["ci_run", "python", "exec_info", "library"] {
            assert_eq!(found[key], sent[key], "{name}: {key}");
        }
        assert!(
            found["cpu"].is_u64() && found["os"]["name"].is_string(),
            "{name}: {found}"
        );
        assert!(
            found["run_context"].is_null(),
            "{name}: it is not documented, and names things of the user's"
        );
    }
    let everything = format!("{bodies:?}{written}");
    for leak in [
        "secret_customers",
        "Pbx4e7q7e0l7FIF3ILOa",
        "NyH7yQEQART8DqPge3UP",
        "-fc-v595",
    ] {
        assert!(!everything.contains(leak), "{leak}");
    }
}

#[test]
fn all_that_evidently_documents_leaves_in_its_own_names_and_options_are_gone() {
    let captures = captures(&["ev-"]);
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
        captures.into_iter().partition(|(name, _)| name.contains("old"));
    let events: Vec<Value> = new
        .values()
        .enumerate()
        .map(|(n, body)| {
            let keys = ["interface", "action", "error", "extra", "python_version"];
            let properties: Value = keys
                .iter()
                .map(|key| ((*key).to_owned(), body[key].clone()))
                .collect::<serde_json::Map<_, _>>()
                .into();
            json!({
                "tool": "evidently", "id": numbered(n), "event": "action", "properties": properties,
                "version": body["tool_version"], "user": body["user_id"],
            })
        })
        .collect();
    let (bodies, _) = through("evidently", "encoding = \"mapped\"\n", &events);
    assert_eq!(bodies.len(), new.len());
    for (name, body) in &new {
        let same = |found: &&Value| {
            body.as_object()
                .unwrap()
                .iter()
                .all(|(key, value)| *key == "os_version" || found[key] == *value)
        };
        assert!(
            bodies.iter().any(|found| same(&found)),
            "{name}: {body} among {bodies:#?}"
        );
    }

    let events: Vec<Value> = old.values().enumerate().map(|(n, body)| {
        let (environment, usage) = (&body["environment"]["python"], &body["usage"]);
        // A list of the parts, as the documents show it.
        let parts: Value = usage["parts"].as_object().unwrap().keys().cloned().collect();
        json!({
            "tool": "evidently-cli", "id": numbered(n), "event": "calculate", "version": body["evidently"]["version"],
            "properties": {"type": usage["type"], "parts": parts, "sampling": usage["sampling"]},
            "context": {
                "runtime": {"name": "python", "version": environment["version"], "implementation": environment["interpreter"]},
                "conda": environment["conda"], "venv": environment["venv"],
            },
        })
    }).collect();
    // And the dictionary that was really sent.
    let mut raw = events[0].clone();
    raw["id"] = json!(numbered(7));
    raw["properties"]["parts"] = old.values().next().unwrap()["usage"]["parts"].clone();
    let (bodies, written) = through(
        "evidently-cli",
        "encoding = \"mapped\"\n",
        &[events[0].clone(), raw],
    );
    let body = old.values().next().unwrap();
    let found = bodies
        .iter()
        .find(|body| !body["usage"]["parts"].is_null())
        .unwrap();
    assert_eq!(
        found["usage"],
        json!({"type": "profile", "parts": ["data_drift"], "sampling": body["usage"]["sampling"]})
    );
    assert_eq!(found["environment"]["python"], body["environment"]["python"]);
    assert_eq!(found["evidently"], body["evidently"]);
    assert_eq!(bodies.len(), 2);
    let everything = format!("{bodies:?}{written}");
    for leak in ["secret_option", "secret_col"] {
        assert!(!everything.contains(leak), "{leak}");
    }
}
