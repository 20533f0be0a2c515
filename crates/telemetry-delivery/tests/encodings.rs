//! What leaves: golden bodies, the bound that batches are cut by, and a body shown again from the sent log.

#![expect(clippy::unwrap_used, reason = "tests may")]

use proptest::prelude::*;
use serde_json::Value;
use telemetry_delivery::{Auth, BatchLimits, Compression, Confirm, Destination, Proxy, Retry, Secret, Tls};
use telemetry_delivery::{Batch, Bound, Encoding, Event, Losses, Meta, preview, size_bound};
use uuid::Uuid;

const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::Ndjson];

/// TOOLS.md's example, and events at the edges: nothing beside `id` and `tool`, white space around the members,
/// characters beyond ASCII, a number that no `f64` holds.
const PAYLOADS: [&str; 4] = [
    concat!(
        r#"{"tool_version":"1.7.0","event":"CLI command","time":"2026-11-21T09:59:58.001Z","#,
        r#""anonymous_id":"0b8e8a8e-7c0e-4a53-9a04-d5b1a2a7f001","project_id":"5f1c","#,
        r#""properties":{"command":"kedro run --pipeline *****","main_command":"run"},"#,
        r#""context":{"os":{"name":"linux","version":"6.18"},"arch":"x86_64","cpu":8,"ci":false,"#,
        r#""runtime":{"name":"python","version":"3.11.7"},"library":{"name":"telemetryd-python","version":"0.1.0"}}}"#,
    ),
    "{}",
    "{ \"event\": \"pipeline\", \"properties\": {\"n\": 123456789012345678901234567890} }",
    r#"{"event":"schöne Grüße \u0000 \"…\"","properties":null}"#,
];

fn encode(encoding: Encoding, batch: &Batch<'_>) -> Vec<u8> {
    telemetry_delivery::encode(encoding, batch, "").body
}

fn batch() -> Batch<'static> {
    let tools = ["kedro", "dlt", "evidently-ui_2.0", "k"];
    let events = PAYLOADS
        .iter()
        .zip(tools)
        .zip(1_u64..)
        .map(|((payload, tool), number)| Event {
            id: Uuid::from_u128(0x019a_a6c2_0000_7000_8000_0000_0000_0000 | u128::from(number)),
            tool,
            payload: payload.as_bytes(),
            age_ms: (number - 1) * 7119,
            map: None,
        });
    Batch {
        id: Uuid::from_u128(0x019a_a6c2_1111_7000_8000_0000_0000_00ff),
        sent_at_ms: 1_795_255_205_120,
        losses: Losses {
            evicted: 0,
            expired: 2,
            quota: 0,
        },
        events: events.collect(),
    }
}

/// Compares with a file under `tests/golden/`; the version in it is this one.
fn golden(name: &str, body: &[u8]) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let wanted = std::fs::read_to_string(path)
        .unwrap()
        .replace("{version}", env!("CARGO_PKG_VERSION"));
    assert_eq!(std::str::from_utf8(body).unwrap(), wanted.trim_end_matches('\n'));
}

#[test]
fn json_is_as_the_golden_file_has_it() {
    let body = encode(Encoding::Json, &batch());
    golden("batch.json", &body);
    let value: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(value["sent_at"], "2026-11-21T10:00:05.120Z");
    assert_eq!(value["events"].as_array().unwrap().len(), PAYLOADS.len());
}

#[test]
fn ndjson_is_as_the_golden_file_has_it() {
    let body = encode(Encoding::Ndjson, &batch());
    assert_eq!(body.last(), Some(&b'\n'), "the last line ends, too");
    golden("batch.ndjson", body.trim_ascii_end());
    // The lines are the objects of `json`'s events.
    let json: Value = serde_json::from_slice(&encode(Encoding::Json, &batch())).unwrap();
    let lines = body.split_inclusive(|&byte| byte == b'\n');
    let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert_eq!(json["events"], Value::from(lines));
}

#[test]
fn an_event_stays_on_its_line_whatever_white_space_it_has() {
    let mut batch = batch();
    batch.events.truncate(1);
    batch.events[0].payload = b"{\r\n  \"event\":\n\n\"x\\ny\"\r\n}";
    let body = encode(Encoding::Ndjson, &batch);
    assert_eq!(body.iter().filter(|&&byte| byte == b'\n').count(), 1);
    let value: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(value["event"], "x\ny");
}

#[test]
fn the_sent_log_shows_the_body_as_it_went() {
    for encoding in ENCODINGS {
        let batch = batch();
        let kept = Meta::new(&destination(encoding), &batch).to_text();
        assert!(!kept.contains("s3cret"), "{kept}");
        let meta = Meta::from_text(&kept).unwrap();
        assert_eq!(meta.url, "https://telemetry.example.org/v1/events");
        // The log's reader knows the events; what their ages were is kept.
        let members: Vec<Event<'_>> = batch
            .events
            .iter()
            .map(|event| Event { age_ms: 0, ..*event })
            .collect();
        assert_eq!(
            meta.body(batch.id, batch.losses, &members),
            encode(encoding, &batch)
        );
        // Of a batch of which something was erased, the rest can be shown.
        assert!(!meta.body(batch.id, batch.losses, &members[1..]).is_empty());
    }
    assert_eq!(Meta::from_text("{\"of\":\"a newer version\"}"), None);
}

#[test]
fn a_preview_is_what_would_be_sent_with_credentials_masked() {
    let shown = preview(&destination(Encoding::Json), &batch());
    assert_eq!(shown.method, "POST");
    assert_eq!(shown.url, "https://telemetry.example.org/v1/events?key=*****");
    assert_eq!(shown.body, encode(Encoding::Json, &batch()));
    let headers: Vec<(&str, &str)> = shown
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let agent = format!("telemetryd/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        headers,
        [
            ("user-agent", agent.as_str()),
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
            ("idempotency-key", "019aa6c2-1111-7000-8000-0000000000ff"),
            ("authorization", "Bearer *****"),
            ("x-team", "*****"),
        ]
    );
}

fn destination(encoding: Encoding) -> Destination {
    Destination {
        name: "default".into(),
        url: "https://telemetry.example.org/v1/events?key=s3cret".to_owned(),
        encoding,
        headers: vec![("X-Team".to_owned(), "s3cret".to_owned())],
        auth: Auth::Bearer(Secret::Inline("s3cret".to_owned())),
        compression: Compression::Gzip,
        timeout: std::time::Duration::from_secs(30),
        batch: BatchLimits {
            max_events: 500,
            max_bytes: 256 * 1024,
            max_wait: std::time::Duration::from_secs(60),
        },
        retry: Retry {
            initial: std::time::Duration::from_secs(5),
            max: std::time::Duration::from_secs(1800),
            spread: std::time::Duration::from_secs(120),
        },
        confirm: Confirm::Status,
        tls: Tls::default(),
        proxy: Proxy::None,
        allow_insecure: false,
    }
}

fn bounded(encoding: Encoding, batch: &Batch<'_>) -> usize {
    let Bound { per_batch, per_event } = size_bound(encoding);
    let events = batch.events.iter();
    events
        .map(|event| event.payload.len() + event.tool.len() + per_event as usize)
        .sum::<usize>()
        + per_batch as usize
}

#[test]
fn the_bound_is_reached_by_the_largest_numbers() {
    for encoding in ENCODINGS {
        let mut batch = batch();
        for event in &mut batch.events {
            event.age_ms = u64::MAX;
        }
        batch
            .events
            .retain(|event| event.payload.starts_with(b"{\"") && event.payload.len() > 2);
        batch.losses = Losses {
            evicted: u64::MAX,
            expired: u64::MAX,
            quota: u64::MAX,
        };
        let slack = bounded(encoding, &batch) - encode(encoding, &batch).len();
        // A version may be longer than today's; after json's last event there is no comma.
        assert!(slack <= 64, "{encoding:?}: {slack}");
    }
}

#[test]
fn times_beyond_the_calendar_do_no_harm() {
    for sent_at_ms in [i64::MIN, -1, 0, i64::MAX] {
        let body = encode(
            Encoding::Json,
            &Batch {
                sent_at_ms,
                ..batch()
            },
        );
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["sent_at"].as_str().unwrap().len(), 24);
    }
}

prop_compose! {
    /// A JSON object as the daemon might store it: with members or without, compact or not.
    fn payload()(
        members in prop::collection::btree_map("[a-z_]{1,12}", any::<(Option<String>, i64, bool)>(), 0..6),
        pretty: bool,
    ) -> String {
        let members = members.into_iter().map(|(key, (text, number, flag))| {
            let inner = serde_json::json!({ "text": text, "number": number, "flag": flag });
            // Beside the names that the encoder writes.
            (format!("p_{key}"), inner)
        });
        let value = Value::Object(members.collect());
        if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() }
    }
}

proptest! {
    #[test]
    fn the_bound_holds_and_is_tight_and_nothing_is_changed(
        events in prop::collection::vec((any::<u128>(), "[a-z0-9][a-z0-9._-]{0,63}", payload(), any::<u64>()), 1..8),
        id: u128,
        sent_at_ms: i64,
        losses: (u64, u64, u64),
    ) {
        let batch = Batch {
            id: Uuid::from_u128(id),
            sent_at_ms,
            losses: Losses { evicted: losses.0, expired: losses.1, quota: losses.2 },
            events: events.iter().map(|(id, tool, payload, age_ms)| Event {
                id: Uuid::from_u128(*id), tool, payload: payload.as_bytes(), age_ms: *age_ms, map: None,
            }).collect(),
        };
        for encoding in ENCODINGS {
            let body = encode(encoding, &batch);
            let bound = bounded(encoding, &batch);
            prop_assert!(body.len() <= bound, "{:?}: {} > {}", encoding, body.len(), bound);
            let pretty: usize = events.iter().map(|(_, _, payload, _)| payload.matches('\n').count()).sum();
            let slack = bound - body.len();
            prop_assert!(slack <= 200 + batch.events.len() * 25 + pretty, "{:?}: {}", encoding, slack);

            let sent: Vec<Value> = match encoding {
                Encoding::Json => {
                    let mut value: Value = serde_json::from_slice(&body).unwrap();
                    prop_assert_eq!(&value["batch_id"], &batch.id.to_string());
                    prop_assert_eq!(&value["losses"]["quota"], losses.2);
                    serde_json::from_value(value["events"].take()).unwrap()
                }
                _ => body
                    .split_inclusive(|&byte| byte == b'\n')
                    .map(|line| serde_json::from_slice(line).unwrap())
                    .collect(),
            };
            prop_assert_eq!(sent.len(), events.len());
            for (mut sent, (id, tool, payload, age_ms)) in sent.into_iter().zip(&events) {
                let sent = sent.as_object_mut().unwrap();
                prop_assert_eq!(sent.remove("id").unwrap(), Uuid::from_u128(*id).to_string());
                prop_assert_eq!(&sent.remove("tool").unwrap(), tool);
                prop_assert_eq!(sent.remove("age_ms").unwrap(), *age_ms);
                let stored: serde_json::Map<String, Value> = serde_json::from_str(payload).unwrap();
                prop_assert_eq!(&*sent, &stored);
            }
        }
    }

    #[test]
    fn a_tools_name_of_any_characters_stays_json(tool: String) {
        let mut batch = batch();
        batch.events[0].tool = &tool;
        let value: Value = serde_json::from_slice(&encode(Encoding::Json, &batch)).unwrap();
        prop_assert_eq!(&value["events"][0]["tool"], &tool);
    }
}
