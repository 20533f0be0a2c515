//! Every answer of the page, and that nothing is stored where it is not 200.

use std::io::Write;

use serde_json::{Value, json};
use telemetry_testkit::{DEADLINE, eventually};

use super::http::{Answer, connect};
use super::{Gate, Request};
use crate::stage::{ask, status};

const KEY: &str = "Basic bXlrZXk6";

fn track() -> Request {
    Request::post("/v1/track", &json!({"event": "Ran", "anonymousId": "a"})).header("Authorization", KEY)
}

#[test]
fn a_request_that_is_not_meant_for_this_place_is_refused() {
    let gate = Gate::new();
    let port = gate.address().port();
    for (what, request) in [
        ("a foreign Host", track().header("Host", "evil.example")),
        ("another port", track().header("Host", "localhost:1")),
        ("no Host", track().without("Host")),
        ("an Origin", track().header("Origin", "http://evil.example")),
        (
            "an Origin of here",
            track().header("Origin", &format!("http://127.0.0.1:{port}")),
        ),
        ("an Origin of nowhere", track().header("Origin", "null")),
    ] {
        let answer = gate.ask(&request);
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (403, &json!("not_allowed")),
            "{what}"
        );
    }
    let mut elsewhere = track();
    elsewhere.line = "POST http://198.51.100.7/v1/track HTTP/1.1".to_owned();
    assert_eq!(gate.ask(&elsewhere).status, 403);
    for (what, request) in [
        ("text", track().header("Content-Type", "text/plain")),
        (
            "a form",
            track().header("Content-Type", "application/x-www-form-urlencoded"),
        ),
        ("nothing", track().without("Content-Type")),
        ("brotli", track().header("Content-Encoding", "br")),
    ] {
        assert_eq!(gate.ask(&request).status, 415, "{what}");
    }
    assert_eq!(gate.queued(), 0);
    for host in [
        "localhost",
        "127.0.0.1",
        &format!("127.0.0.1:{port}"),
        &format!("localhost:{port}"),
        "192.0.2.1:8000",
    ] {
        assert_eq!(gate.ask(&track().header("Host", host)).status, 200, "{host}");
    }
}

#[test]
fn an_unknown_key_is_401_and_an_unknown_path_404() {
    let gate = Gate::new();
    for (what, request) in [
        ("none", track().without("Authorization")),
        ("another", track().header("Authorization", "Basic b3RoZXI6")),
        ("no Basic", track().header("Authorization", "Bearer mykey")),
        (
            "Heap's",
            Request::post(
                "/api/track",
                &json!({"app_id": "1", "event": "e", "identity": "i"}),
            ),
        ),
        (
            "Jitsu's",
            Request::post("/api/v1/s2s/event?token=1", &json!({"event_type": "e"})),
        ),
        ("lines'", Request::post("/v1/events", &json!([{"event": "e"}]))),
    ] {
        let answer = gate.ask(&request);
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (401, &json!("unknown_key")),
            "{what}"
        );
        assert!(
            !answer.body["message"].as_str().unwrap().contains("other"),
            "keys are not repeated"
        );
    }
    assert_eq!(gate.ask(&Request::post("/v2/track", &json!({}))).status, 404);
    let mut get = track();
    get.line = "GET /v1/track HTTP/1.1".to_owned();
    assert_eq!(gate.ask(&get).status, 405);
    assert_eq!(gate.queued(), 0);
}

#[test]
fn a_bad_request_is_400_names_the_key_and_stores_nothing_of_it() {
    let gate = Gate::new();
    let batch = |second: Value| {
        let calls = json!([{"type": "track", "event": "Ran", "userId": "u"}, second]);
        Request::post("/v1/batch", &json!({"batch": calls})).header("Authorization", KEY)
    };
    for (request, said) in [
        (
            Request::raw("/v1/track", b"SECRET".to_vec()),
            "the body is not JSON",
        ),
        (
            Request::raw("/v1/track", b"[]".to_vec()),
            "the body is not an object",
        ),
        (
            Request::raw("/v1/track", b"{\"event\":\"a\",\"event\":\"b\"}".to_vec()),
            "a key is repeated",
        ),
        (
            Request::post("/v1/track", &json!({"anonymousId": "SECRET"})),
            "event: missing",
        ),
        (
            Request::post("/v1/track", &json!({"event": 7})),
            "event: expected a string, found a number",
        ),
        (
            Request::post("/v1/track", &json!({"event": "e", "timestamp": "SECRET"})),
            "timestamp: expected an RFC 3339",
        ),
        (
            batch(json!({"type": "track", "properties": {}})),
            "batch[1].event: missing",
        ),
        (batch(json!({"type": "SECRET"})), "batch[1].type: expected track"),
        (
            batch(json!({"type": "track", "event": "e", "properties": "SECRET"})),
            "batch[1].properties: expected an object",
        ),
        (
            batch(json!({"type": "track", "event": ""})),
            "batch[1]: event: expected a string of 1 to 128 bytes",
        ),
        (
            batch(json!("SECRET")),
            "batch[1]: expected an object, found a string",
        ),
    ] {
        let answer = gate.ask(&request.header("Authorization", KEY));
        let message = answer.body["message"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 400, "{message}");
        assert!(message.contains(said) && !message.contains("SECRET"), "{message}");
    }
    assert_eq!(gate.queued(), 0, "not even the good one of a batch");
    let control =
        Request::post("/v1/events", &json!([{"op": "stop"}])).header("Authorization", "Bearer mykey");
    assert_eq!(gate.ask(&control).status, 400);
    assert_eq!(status(&gate.daemon)["daemon"]["phase"], "running");
}

#[test]
fn what_is_too_large_is_413_and_the_answer_can_be_read() {
    let gate = Gate::new();
    // One event over `limits.max_event_bytes`.
    let long = json!({"event": "e", "anonymousId": "a", "properties": {"x": "y".repeat(70_000)}});
    let answer = gate.ask(&Request::post("/v1/track", &long).header("Authorization", KEY));
    assert_eq!((answer.status, &answer.body["error"]), (413, &json!("too_large")));
    // A body that is too large, sent whole before the answer is read.
    let body = vec![b' '; 5 * 1024 * 1024];
    let answer = gate.ask(&Request::raw("/v1/track", body).header("Authorization", KEY));
    assert_eq!((answer.status, &answer.body["error"]), (413, &json!("too_large")));
    assert_eq!(gate.queued(), 0);
}

#[test]
fn who_is_over_the_rate_is_told_to_come_again_and_nothing_of_the_request_is_stored() {
    let gate = Gate::with("[limits]\nrate = { per_second = 1, burst = 3 }\n");
    let calls: Vec<Value> = (0..4)
        .map(|_| json!({"type": "track", "event": "Ran", "userId": "u"}))
        .collect();
    let answer = gate.ask(&Request::post(
        "/v1/batch",
        &json!({"batch": calls, "writeKey": "mykey"}),
    ));
    assert_eq!(
        (answer.status, &answer.body["error"]),
        (429, &json!("rate_limited"))
    );
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    assert_eq!(gate.queued(), 0);
}

#[test]
fn what_consent_declines_is_answered_as_ever_and_not_stored() {
    let gate = Gate::new();
    ask(
        &gate.daemon,
        &json!({"op": "consent", "action": "deny", "tool": "demo"}),
    );
    assert_eq!(gate.ask(&track()).body, json!({"success": true}));
    assert_eq!(gate.queued(), 0);
}

#[test]
fn where_the_queue_is_full_it_is_503() {
    let endpoint = telemetry_testkit::Collector::builder().expect_nothing().start();
    let home = crate::stage::home();
    let config = super::config(&endpoint.url(), "");
    // No event fits.
    let full = format!("[queue]\nmax_bytes = \"16KiB\"\nmax_bytes_per_tool = \"4KiB\"\n{config}");
    let daemon = telemetry_testkit::Daemon::start(&home, &full);
    let gate = Gate {
        daemon,
        endpoint,
        home,
    };
    let large = json!({"event": "Ran", "anonymousId": "a", "properties": {"x": "y".repeat(8000)}});
    let answer = gate.ask(&Request::post("/v1/track", &large).header("Authorization", KEY));
    assert_eq!(
        (answer.status, &answer.body["error"]),
        (503, &json!("queue_full"))
    );
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
}

#[test]
fn a_connection_is_kept_for_the_next_request_and_let_go_when_the_daemon_leaves() {
    let mut gate = Gate::new();
    let mut stream = connect(gate.address());
    let keep = track().without("Connection");
    for n in 1..=3 {
        stream.write_all(&keep.bytes()).unwrap();
        assert_eq!(Answer::of(&mut stream).status, 200);
        assert_eq!(gate.queued(), n);
    }
    gate.daemon.term().expect_code(0);
    eventually("the connection is closed", DEADLINE, || {
        matches!(std::io::Read::read(&mut stream, &mut [0; 64]), Ok(0) | Err(_)).then_some(())
    });
    assert!(gate.home.state_dir().exists());
}
