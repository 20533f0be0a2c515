//! One golden file a form. To make them anew after a change that is meant: `GOLDEN=write cargo test -p
//! telemetry-delivery --test vendors`, and read the difference.

use telemetry_delivery::{Encoding, encode};
use telemetry_protocol::map::Mapping;

use super::{batch, mapping};

/// TOOLS.md's example with nested properties, and an event with nothing in it.
const PAYLOADS: [(&str, &str); 2] = [
    (
        "kedro",
        concat!(
            r#"{"event":"CLI command","time":"2026-11-21T10:59:58.001+01:00","tool_version":"1.7.0","#,
            r#""anonymous_id":"0b8e8a8e-7c0e-4a53-9a04-d5b1a2a7f001","project_id":"5f1c","#,
            r#""properties":{"command":"kedro run --pipeline *****","n":1.10,"big":123456789012345678901234567890,"#,
            r#""nested":{"list":[1,"zwei",null],"deep":{"flag":true}},"none":null},"#,
            r#""context":{"os":{"name":"linux","version":"6.18"},"arch":"x86_64","cpu":8,"ci":false,"#,
            r#""runtime":{"name":"python","version":"3.11.7"},"library":{"name":"telemetryd-python","version":"7.0"}}}"#,
        ),
    ),
    ("dlt", r#"{"event":"schöne \"Grüße\""}"#),
];

fn body(encoding: Encoding, map: Option<&Mapping>) -> Vec<u8> {
    let events = PAYLOADS.map(|(tool, payload)| (tool, payload, map));
    let encoded = encode(encoding, &batch(&events), "the-key");
    assert_eq!(encoded.unfit, None);
    encoded.body
}

fn golden(name: &str, body: &[u8]) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let version = env!("CARGO_PKG_VERSION");
    if std::env::var_os("GOLDEN").is_some() {
        let text = String::from_utf8_lossy(body).replace(&format!("\"{version}\""), "\"{version}\"");
        std::fs::write(&path, text + "\n").unwrap();
    }
    let wanted = std::fs::read_to_string(path)
        .unwrap()
        .replace("{version}", version);
    assert_eq!(
        std::str::from_utf8(body).unwrap(),
        wanted.trim_end_matches('\n'),
        "{name}"
    );
}

#[test]
fn each_form_is_as_its_golden_file_has_it() {
    for (name, encoding) in [
        ("text.ndjson", Encoding::NdjsonText),
        ("segment.json", Encoding::Segment),
        ("segment-track.json", Encoding::SegmentTrack),
        ("heap.json", Encoding::Heap),
        ("heap-track.json", Encoding::HeapTrack),
        ("posthog.json", Encoding::Posthog),
        ("otlp.json", Encoding::OtlpJson),
    ] {
        golden(name, body(encoding, None).trim_ascii_end());
    }
}

#[test]
fn protobuf_is_as_its_golden_file_has_it() {
    let mut hex = String::new();
    for line in body(Encoding::Otlp, None).chunks(40) {
        hex.extend(line.iter().map(|byte| format!("{byte:02x}")));
        hex.push('\n');
    }
    golden("otlp.hex", hex.trim_end().as_bytes());
}

#[test]
fn a_mapping_changes_what_leaves_in_every_form() {
    let map = mapping(&[
        ("properties.is_ci_env", "context.ci"),
        ("properties.main_command", "properties.command"),
        ("context.python", "context.runtime.version"),
        ("who", "anonymous_id"),
        ("extra.at", "time"),
    ]);
    for (name, encoding) in [
        ("mapped/batch.json", Encoding::Json),
        ("mapped/batch.ndjson", Encoding::Ndjson),
        ("mapped/segment.json", Encoding::Segment),
        ("mapped/heap.json", Encoding::Heap),
        ("mapped/posthog.json", Encoding::Posthog),
        ("mapped/otlp.json", Encoding::OtlpJson),
        ("mapped/mapped.json", Encoding::Mapped),
    ] {
        golden(name, body(encoding, Some(&map)).trim_ascii_end());
    }
}
