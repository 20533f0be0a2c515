//! Every encoding of the daemon, read back from the bodies that delivery's golden files hold; and what the real tools
//! send themselves (`tests/fixtures/captures/`).

use bytes::Bytes;
use serde_json::{Value, json};
use telemetry_sink::{Content, Encoding, Head, decode};

fn root(path: &str) -> String {
    format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"))
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(root(&format!("crates/telemetry-delivery/tests/golden/{name}"))).expect("a golden file")
}

fn read(content_type: &str, body: Vec<u8>) -> Content {
    let head = Head {
        content_type: Some(content_type),
        ..Head::default()
    };
    decode(head, &Bytes::from(body)).1.expect("a body")
}

fn from_hex(text: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = text
        .iter()
        .filter(|byte| byte.is_ascii_hexdigit())
        .copied()
        .collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}

#[test]
fn each_vendors_form_gives_the_events_back() {
    for (name, encoding, count) in [
        ("segment.json", Encoding::Segment, 2),
        ("segment-track.json", Encoding::Segment, 1),
        ("heap.json", Encoding::Heap, 2),
        ("heap-track.json", Encoding::Heap, 1),
        ("posthog.json", Encoding::Posthog, 2),
        ("otlp.json", Encoding::Otlp, 2),
    ] {
        let content = read("application/json", golden(name));
        assert_eq!((content.encoding, content.count), (encoding, count), "{name}");
        let first = &content.events[0];
        assert_eq!(first["id"], "019aa6c2-0000-7000-8000-000000000001", "{name}");
        assert_eq!(first["event"], "CLI command", "{name}");
        assert_eq!(
            first["anonymous_id"], "0b8e8a8e-7c0e-4a53-9a04-d5b1a2a7f001",
            "{name}"
        );
        assert_eq!(
            first["properties"]["command"], "kedro run --pipeline *****",
            "{name}"
        );
        assert!(
            !json!(content.events).to_string().contains("the-key"),
            "{name}: a key is not remembered"
        );
    }
}

#[test]
fn otlp_says_the_same_in_both_forms() {
    let json = read("application/json", golden("otlp.json"));
    let protobuf = read("application/x-protobuf", from_hex(&golden("otlp.hex")));
    assert_eq!(json.events[0]["tool"], "kedro");
    assert_eq!(json.events[0]["time"], "2026-11-21T09:59:58.001Z");
    assert_eq!(
        json.events[0]["properties"]["nested"]["list"],
        json!([1, "zwei", null])
    );
    // The golden file has a place for the version.
    let events = |content: &Content| {
        json!(content.events)
            .to_string()
            .replace("{version}", env!("CARGO_PKG_VERSION"))
    };
    assert_eq!(events(&json), events(&protobuf));
}

#[test]
fn what_the_real_tools_send_is_read() {
    for (name, encoding, event) in [
        ("kedro-new-run-001", Encoding::Heap, "CLI command"),
        ("dlt-pipeline-run-001", Encoding::Segment, "pipeline_extract"),
        ("ev-ui-001", Encoding::Mapped, "list_projects"),
        ("ev-old-profile-001", Encoding::Mapped, ""),
    ] {
        let file = std::fs::read(root(&format!("tests/fixtures/captures/{name}.json"))).expect("a capture");
        let capture: Value = serde_json::from_slice(&file).expect("JSON");
        let content = read("application/json", capture["body"].to_string().into_bytes());
        assert_eq!(content.encoding, encoding, "{name}");
        assert_eq!(
            content.events[0]["event"].as_str().unwrap_or_default(),
            event,
            "{name}"
        );
    }
}
