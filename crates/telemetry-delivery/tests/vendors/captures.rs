//! What Kedro, dlt and Evidently send (`tests/fixtures/captures/`), put together again from an event as it is stored and
//! the mapping of its tool: field for field, with nothing beside but ids and times.

use serde_json::{Map, Value, json};
use telemetry_delivery::{Encoding, encode};
use telemetry_protocol::map::{Mapping, Written};

use super::{batch, mapping};

fn capture(name: &str) -> Value {
    let path = format!(
        "{}/../../tests/fixtures/captures/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut capture: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    capture["body"].take()
}

fn sent(encoding: Encoding, tool: &str, stored: &Value, map: &Mapping) -> Value {
    let stored = stored.to_string();
    let encoded = encode(encoding, &batch(&[(tool, &stored, Some(map))]), "2388822444");
    assert_eq!(encoded.unfit, None);
    serde_json::from_slice(&encoded.body).unwrap()
}

/// Removes these members and returns them.
fn take<const N: usize>(from: &mut Value, names: [&str; N]) -> [Value; N] {
    let object = from.as_object_mut().unwrap();
    names.map(|name| object.remove(name).unwrap_or_else(|| panic!("{name} is missing")))
}

const ID: &str = "019aa6c2-0000-7000-8000-000000000001";

#[test]
fn kedro_single_and_bulk() {
    // What is the machine's and not the command's comes from the context.
    let map = mapping(&[
        ("properties.username", "anonymous_id"),
        ("properties.project_id", "project_id"),
        ("properties.project_version", "tool_version"),
        ("properties.telemetry_version", "context.library.version"),
        ("properties.python_version", "context.runtime.full_version"),
        ("properties.os", "context.os.name"),
        ("properties.is_ci_env", "context.ci"),
    ]);
    for name in [
        "kedro-new-run-001",
        "kedro-new-runok-001",
        "kedro-new-reglist-001",
        "kedro-new-new-001",
        "kedro-new-outside-001",
    ] {
        let wanted = capture(name);
        let mut own: Map<String, Value> = wanted["properties"].as_object().unwrap().clone();
        for field in map.fields() {
            own.remove(field.target().strip_prefix("properties.").unwrap());
        }
        let facts = &wanted["properties"];
        let stored = json!({
            "event": wanted["event"], "time": wanted["timestamp"], "tool_version": facts["project_version"],
            "anonymous_id": wanted["identity"], "project_id": facts["project_id"], "properties": own,
            "context": {"os": {"name": facts["os"], "version": "6.18"}, "ci": facts["is_ci_env"], "cpu": 2,
                "runtime": {"full_version": facts["python_version"]},
                "library": {"name": "kedro-telemetry", "version": facts["telemetry_version"]}},
        });
        let mut single = sent(Encoding::HeapTrack, "kedro", &stored, &map);
        let [key] = take(&mut single, ["idempotency_key"]);
        assert_eq!(key, ID);
        assert_eq!(single, wanted, "{name}");

        let mut bulk = sent(Encoding::Heap, "kedro", &stored, &map);
        assert_eq!(bulk["app_id"], wanted["app_id"]);
        let [mut events] = take(&mut bulk, ["events"]);
        let mut event = events[0].take();
        assert_eq!(take(&mut event, ["idempotency_key"]), [Value::from(ID)]);
        event["app_id"] = bulk["app_id"].take();
        assert_eq!(event, wanted, "{name}");
    }
}

#[test]
fn dlt_single_and_in_a_batch() {
    let map = mapping(&[
        ("context.ci_run", "context.ci"),
        ("context.python", "context.runtime.version"),
        ("context.cpu", "context.cpu"),
        ("context.exec_info", "context.exec_info"),
        ("context.os.name", "context.os.name"),
        ("context.os.version", "context.os.version"),
        ("context.library.name", "context.library.name"),
        ("context.library.version", "tool_version"),
        ("context.run_context", "context.run_context"),
    ]);
    for name in [
        "dlt-pipeline-run-001",
        "dlt-pipeline-run-002",
        "dlt-pipeline-run-003",
        "dlt-pipeline-run-004",
        "dlt-schema-cmd-001",
        "dlt-segment-001",
        "dlt-telemetry-status-001",
        "dlt-disable-001",
    ] {
        let wanted = capture(name);
        let facts = &wanted["context"];
        let stored = json!({
            "event": wanted["event"], "time": "2026-11-21T10:00:00.000Z", "anonymous_id": wanted["anonymousId"],
            "tool_version": facts["library"]["version"], "properties": wanted["properties"],
            "context": {"os": facts["os"], "arch": "x86_64", "cpu": facts["cpu"], "ci": facts["ci_run"],
                "exec_info": facts["exec_info"], "library": facts["library"], "run_context": facts["run_context"],
                "runtime": {"name": "python", "version": facts["python"]}},
        });
        let ours = ["messageId", "timestamp", "originalTimestamp", "sentAt"];
        let mut track = sent(Encoding::SegmentTrack, "dlt", &stored, &map);
        let [id, time, original, _] = take(&mut track, ours);
        assert_eq!(
            (id, time, original),
            (ID.into(), stored["time"].clone(), stored["time"].clone())
        );
        assert_eq!(track, wanted, "{name}");

        let mut all = sent(Encoding::Segment, "dlt", &stored, &map);
        let [mut messages, _] = take(&mut all, ["batch", "sentAt"]);
        assert_eq!(all, json!({}), "{name}");
        let mut message = messages[0].take();
        let [kind, ..] = take(
            &mut message,
            ["type", "messageId", "timestamp", "originalTimestamp"],
        );
        assert_eq!(kind, "track");
        assert_eq!(message, wanted, "{name}");
    }
}

#[test]
fn evidently_new() {
    let map = mapping(&[
        ("interface", "properties.interface"),
        ("action", "properties.action"),
        ("error", "properties.error"),
        ("extra", "properties.extra"),
        ("python_version", "context.runtime.version_info"),
        ("tool_name", "context.library.name"),
        ("tool_version", "tool_version"),
        ("user_id", "anonymous_id"),
        ("group_id", "project_id"),
        ("os_name", "context.os.name"),
        ("os_version", "context.os.release"),
    ]);
    for name in [
        "ev-new-event-001",
        "ev-ui-001",
        "ev-ui-002",
        "ev-ui-003",
        "ev-ui-004",
        "ev-ui-idnt-002",
    ] {
        let wanted = capture(name);
        let stored = json!({
            "event": wanted["action"], "time": "2026-11-21T10:00:00.000Z", "tool_version": wanted["tool_version"],
            "anonymous_id": wanted["user_id"],
            "properties": {"interface": wanted["interface"], "action": wanted["action"], "error": wanted["error"],
                "extra": wanted["extra"]},
            "context": {"os": {"name": wanted["os_name"], "release": wanted["os_version"]}, "cpu": 2,
                "runtime": {"name": "python", "version_info": wanted["python_version"]},
                "library": {"name": wanted["tool_name"]}},
        });
        assert_eq!(
            sent(Encoding::Mapped, "evidently", &stored, &map),
            wanted,
            "{name}"
        );
    }
}

#[test]
fn evidently_old() {
    let pairs = [
        ("environment.python.version", "context.runtime.version"),
        ("environment.python.interpreter", "context.runtime.implementation"),
        ("environment.python.conda", "context.conda"),
        ("environment.python.venv", "context.venv"),
        ("environment.os", "context.platform"),
        ("evidently.version", "tool_version"),
        ("usage.parts", "properties.parts"),
        ("usage.tabs", "properties.tabs"),
        ("usage.sampling", "properties.sampling"),
    ];
    let pairs = pairs.map(|(target, source)| (target, Written::Path(source)));
    let kind = ("usage.type", Written::Constant("profile".into()));
    let map = Mapping::new(pairs.into_iter().chain([kind])).unwrap();
    let wanted = capture("ev-old-profile-001");
    let python = &wanted["environment"]["python"];
    let stored = json!({
        "event": "calculate", "time": "2026-11-21T10:00:00.000Z", "tool_version": wanted["evidently"]["version"],
        "properties": {"parts": wanted["usage"]["parts"], "sampling": wanted["usage"]["sampling"]},
        "context": {"runtime": {"version": python["version"], "implementation": python["interpreter"]},
            "conda": python["conda"], "venv": python["venv"], "platform": wanted["environment"]["os"]},
    });
    assert_eq!(sent(Encoding::Mapped, "evidently", &stored, &map), wanted);
}
