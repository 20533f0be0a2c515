//! Vendors' encodings over the whole way: their keys, their sizes, one event a request, and what an answer means there.

use serde_json::{Value, json};
use telemetry_testkit::Collector;
use telemetry_testkit::sink::{Encoding, Script, Step};

use crate::stage::{Stage, TOLD, TOOL, booked, event, id, list, parked, status, waiting};

/// Encodings with what they need, and whether a request has one event.
const VENDORS: [(&str, Encoding, bool); 8] = [
    (
        "encoding = \"segment\"\nauth.segment_write_key = \"s3cret-key\"\n",
        Encoding::Segment,
        false,
    ),
    (
        "encoding = \"segment\"\nform = \"track\"\n",
        Encoding::Segment,
        true,
    ),
    (
        "encoding = \"heap\"\nauth.heap_app_id = \"s3cret-key\"\n",
        Encoding::Heap,
        false,
    ),
    (
        "encoding = \"heap\"\nform = \"track\"\nauth.heap_app_id = \"s3cret-key\"\n",
        Encoding::Heap,
        true,
    ),
    (
        "encoding = \"posthog\"\nauth.posthog_key = \"s3cret-key\"\n",
        Encoding::Posthog,
        false,
    ),
    ("encoding = \"otlp\"\n", Encoding::Otlp, false),
    ("encoding = \"otlp\"\nform = \"json\"\n", Encoding::Otlp, false),
    (
        "encoding = \"segment\"\nform = \"track\"\nconfirm = \"batch_id\"\n",
        Encoding::Segment,
        true,
    ),
];

fn stage(script: Script, more: &str) -> Stage {
    let endpoint = Collector::builder().script(script).expect_any_tool().start();
    Stage::before(endpoint, more)
}

/// An event with a property of so many bytes.
fn sized(n: u64, bytes: usize) -> Value {
    json!({"tool": TOOL, "event": "ran", "id": id(n), "properties": {"t": "x".repeat(bytes)}})
}

#[test]
fn events_arrive_once_in_every_vendors_form_and_no_key_is_shown() {
    for (more, encoding, alone) in VENDORS {
        let script = Script::new().then(Step::echo(telemetry_testkit::sink::Echo::Body));
        let stage = stage(script, &format!("{TOLD}{more}"));
        stage.queue((1..=20).map(event));
        let next = list(&stage.daemon, &json!({"op": "queue", "action": "next_batch"}));
        assert_eq!(next.len(), 1, "{more}");
        assert_eq!(next[0]["events"], if alone { 1 } else { 20 }, "{more}");
        assert!(
            next[0]["body"].as_str().unwrap().contains(&id(1)),
            "{more}: the body is shown: {next:?}"
        );
        assert_eq!(stage.flush()["left"], 0, "{more}");
        stage.endpoint.wait_for_ids((1..=20).map(id));
        let requests = stage.endpoint.requests();
        assert_eq!(requests.len(), if alone { 20 } else { 1 }, "{more}");
        for request in &requests {
            assert_eq!(request.content.as_ref().unwrap().encoding, encoding, "{more}");
            assert!(request.idempotency_key().is_some());
            match more.contains("segment_write_key") {
                // s3cret-key:
                true => assert_eq!(request.header("authorization"), Some("Basic czNjcmV0LWtleTo=")),
                false => assert_eq!(request.header("authorization"), None),
            }
            let in_body = more.contains("heap_app_id") || more.contains("posthog_key");
            let found = String::from_utf8_lossy(&request.body).contains("s3cret-key");
            assert_eq!(found, in_body, "{more}");
        }
        let sent = list(&stage.daemon, &json!({"op": "sent", "bodies": true}));
        let shown = json!([next, sent]).to_string();
        assert!(!shown.contains("s3cret") && !shown.contains("czNj"), "{shown}");
        assert!(sent[0]["body"].is_string(), "{sent:?}");
        assert_eq!(booked(&status(&stage.daemon), "delivered"), 20);
    }
}

#[test]
fn a_failure_in_the_middle_of_single_requests_settles_those_before_it_and_repeats_the_rest() {
    for failure in [
        Step::status(503).nth(8),
        Step::reset().nth(8),
        Step::close().nth(8),
    ] {
        let mut stage = stage(
            Script::new().then(failure),
            "encoding = \"segment\"\nform = \"track\"\nbatch = { max_wait = \"50ms\" }\n\
             retry = { initial = \"20ms\", max = \"50ms\", spread = \"20ms\" }\n",
        );
        stage.endpoint.expect_crashes();
        stage.queue((1..=20).map(event));
        stage.endpoint.wait_for_ids((1..=20).map(id));
        assert_eq!(stage.flush()["left"], 0);
        let requests = stage.endpoint.requests();
        assert_eq!(requests.len(), 21, "one was repeated, and one alone");
        let in_order: Vec<_> = (1..=20).map(|n| json!(id(n))).collect();
        let arrived: Vec<_> = stage
            .endpoint
            .events()
            .iter()
            .map(|one| one["id"].clone())
            .collect();
        assert_eq!(arrived, in_order);
        assert_eq!(
            requests[7].idempotency_key(),
            requests[8].idempotency_key(),
            "the repeated request has its key"
        );
        assert_eq!(booked(&status(&stage.daemon), "delivered"), 20);
    }
}

#[test]
fn a_kill_in_the_middle_of_single_requests_loses_nothing() {
    let mut stage = stage(
        Script::new(),
        &format!("{TOLD}encoding = \"segment\"\nform = \"track\"\n"),
    );
    stage.endpoint.expect_crashes();
    stage.queue((1..=300).map(event));
    crate::stage::ask(&stage.daemon, &json!({"op": "flush"}));
    stage.endpoint.wait_for_requests(20);
    stage.daemon.restart();
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids((1..=300).map(id));
    assert!(
        stage.endpoint.counts().duplicates <= 3,
        "{:?}",
        stage.endpoint.counts()
    );
}

#[test]
fn a_single_event_that_is_refused_is_parked_and_the_others_arrive() {
    let poison = |n: u64| json!({"tool": TOOL, "event": "poison", "id": id(n)});
    let refuse = Step::status(400).body("bad event").event("poison");
    let stage = stage(
        Script::new().then(refuse),
        &format!("{TOLD}encoding = \"segment\"\nform = \"track\"\n"),
    );
    stage.queue((1..=20).map(|n| if n % 7 == 0 { poison(n) } else { event(n) }));
    assert_eq!(stage.flush()["left"], 0);
    let parked: Vec<Value> = parked(&stage.daemon);
    let ids: Vec<&str> = parked.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [id(7), id(14)]);
    assert_eq!(parked[0]["answer"], "bad event");
    assert_eq!(booked(&status(&stage.daemon), "delivered"), 18);
}

#[test]
fn where_eight_single_events_in_a_row_are_refused_the_destination_is_held_and_the_rest_waits() {
    let mut stage = stage(
        Script::new().then(Step::status(400)),
        &format!("{TOLD}encoding = \"segment\"\nform = \"track\"\n"),
    );
    stage.queue((1..=30).map(event));
    assert_eq!(stage.flush()["left"], 23);
    let shown = stage.destination();
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("held"), &json!("refuses_everything"))
    );
    assert_eq!(parked(&stage.daemon).len(), 7);
    assert_eq!(waiting(&stage.daemon).len(), 23);
    // One more is tried after a restart, and tells the same.
    stage.daemon.restart();
    assert_eq!(stage.flush()["left"], 23);
    assert_eq!(stage.destination()["reason"], "refuses_everything");
    assert_eq!(parked(&stage.daemon).len(), 7);
    stage.endpoint.play(Script::new());
    crate::stage::ask(&stage.daemon, &json!({"op": "resume"}));
    assert_eq!(stage.flush()["left"], 0);
    crate::stage::ask(&stage.daemon, &json!({"op": "queue", "action": "requeue"}));
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids((1..=30).map(id));
}

#[test]
fn a_good_status_whose_body_refuses_is_no_delivery() {
    let refused = |body: &str| {
        Step::status(200)
            .body(body)
            .content_type("application/json")
            .event("poison")
    };
    for (more, body) in [
        ("encoding = \"segment\"\n", r#"{"success":false}"#),
        (
            "encoding = \"otlp\"\nform = \"json\"\n",
            r#"{"partialSuccess":{"rejectedLogRecords":"1"}}"#,
        ),
        (
            "encoding = \"posthog\"\nauth.posthog_key = \"k\"\n",
            r#"{"status":0}"#,
        ),
    ] {
        let mut stage = stage(
            Script::new().then(refused(body).store(false)),
            &format!("{TOLD}{more}"),
        );
        stage.endpoint.expect_duplicates();
        let poison = json!({"tool": TOOL, "event": "poison", "id": id(5)});
        stage.queue((1..=10).map(|n| if n == 5 { poison.clone() } else { event(n) }));
        assert_eq!(stage.flush()["left"], 0, "{more}");
        let parked = parked(&stage.daemon);
        assert_eq!(parked.len(), 1, "{more}");
        assert_eq!(
            (&parked[0]["id"], &parked[0]["status"]),
            (&json!(id(5)), &json!(200))
        );
        assert_eq!(parked[0]["answer"], body);
        stage.endpoint.wait_for_ids((1..=10).filter(|n| *n != 5).map(id));
    }
}

#[test]
fn an_event_that_is_too_large_for_its_vendor_is_parked_unsent_and_the_others_arrive() {
    for more in [
        "encoding = \"segment\"\n",
        "encoding = \"segment\"\nform = \"track\"\n",
    ] {
        let stage = stage(Script::new(), &format!("{TOLD}{more}"));
        stage.queue((1..=20).map(|n| if n == 11 { sized(n, 33 * 1024) } else { event(n) }));
        let next = list(&stage.daemon, &json!({"op": "queue", "action": "next_batch"}));
        assert_eq!(
            next[0]["problem"].is_string(),
            !more.contains("track"),
            "{next:?}"
        );
        assert_eq!(stage.flush()["left"], 0);
        stage.endpoint.wait_for_ids((1..=20).filter(|n| *n != 11).map(id));
        let parked = parked(&stage.daemon);
        assert_eq!(parked.len(), 1);
        assert_eq!(
            (&parked[0]["id"], &parked[0]["status"]),
            (&json!(id(11)), &json!(0))
        );
        let why = parked[0]["answer"].as_str().unwrap();
        assert!(why.contains("Segment's form, which takes 32768 at most"), "{why}");
        stage.is_at_rest();
    }
}

#[test]
fn a_batch_that_outgrows_its_limit_when_it_is_encoded_is_cut_again_before_it_is_sent() {
    // A list of small numbers is seven times as long in OTLP's JSON.
    let numbers: Vec<u32> = vec![1; 200];
    let grows = |n: u64| json!({"tool": TOOL, "event": "ran", "id": id(n), "properties": {"l": numbers}});
    let stage = stage(
        Script::new(),
        "encoding = \"otlp\"\nform = \"json\"\ncompression = \"none\"\n\
         batch = { max_wait = \"1h\", max_bytes = \"64KiB\" }\n",
    );
    stage.queue((1..=200).map(grows));
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids((1..=200).map(id));
    for request in stage.endpoint.requests() {
        assert!(request.body_bytes <= 64 * 1024, "{} bytes", request.body_bytes);
    }
    stage.is_at_rest();
    assert_eq!(booked(&status(&stage.daemon), "delivered"), 200);
}

#[test]
fn an_event_whose_tool_has_no_map_is_parked_by_mapped_with_that_reason() {
    let stage = stage(Script::new(), &format!("{TOLD}encoding = \"mapped\"\n"));
    stage.queue([event(1), event(2)]);
    assert_eq!(stage.flush()["left"], 0);
    let parked = parked(&stage.daemon);
    assert_eq!(parked.len(), 2);
    let why = parked[0]["answer"].as_str().unwrap();
    assert!(why.contains("the manifest of \"demo\" has no [map]"), "{why}");
    assert!(stage.endpoint.requests().is_empty());
}

/// A manifest with a mapping.
fn mapped(lines: &str) -> String {
    format!("name = \"{TOOL}\"\nconsent = \"opt-out\"\nevents = \"any\"\n\n[map]\n{lines}\n")
}

#[test]
fn a_manifests_map_builds_what_leaves_and_the_sent_log_keeps_it_though_the_manifest_changes() {
    let endpoint = Collector::builder().expect_any_tool().start();
    let home = crate::stage::home();
    home.write_manifest(
        TOOL,
        &mapped(
            "\"what.name\" = \"event\"\n\"what.command\" = \"properties.command\"\n\
             \"what.missing\" = \"properties.nothing\"\n\"version\" = \"tool_version\"\n\
             \"product\" = { value = \"kedro\" }",
        ),
    );
    let config = crate::stage::destination(&endpoint.url(), &format!("{TOLD}encoding = \"mapped\"\n"));
    let daemon = telemetry_testkit::Daemon::start(&home, &config);
    let stage = Stage {
        daemon,
        endpoint,
        home,
    };
    let ran = json!({"tool": TOOL, "event": "ran", "id": id(1), "version": "1.7.0",
        "properties": {"command": "run", "secret": 1}});
    stage.queue([ran]);
    let wanted = json!({"what": {"name": "ran", "command": "run"}, "version": "1.7.0", "product": "kedro"});
    let parsed = |line: &Value| serde_json::from_str::<Value>(line["body"].as_str().unwrap()).unwrap();
    let next = list(&stage.daemon, &json!({"op": "queue", "action": "next_batch"}));
    assert_eq!(parsed(&next[0]), wanted);
    assert_eq!(stage.flush()["left"], 0);
    let body = |at: usize| serde_json::from_slice::<Value>(&stage.endpoint.requests()[at].body).unwrap();
    assert_eq!(body(0), wanted);
    // What is sent from now on is built by what holds now.
    stage.home.write_manifest(TOOL, &mapped("\"only\" = \"event\""));
    assert_eq!(
        crate::stage::ask(&stage.daemon, &json!({"op": "reload"}))["ok"],
        true
    );
    stage.queue([event(2)]);
    assert_eq!(stage.flush()["left"], 0);
    assert_eq!(body(1), json!({"only": "ran"}));
    let sent = list(&stage.daemon, &json!({"op": "sent", "bodies": true}));
    let bodies: Vec<Value> = sent.iter().map(parsed).collect();
    assert!(
        bodies.contains(&wanted) && bodies.contains(&json!({"only": "ran"})),
        "{sent:?}"
    );
}
