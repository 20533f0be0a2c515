//! Every row of the table, through the daemon to the endpoint.

use std::io::Write;

use serde_json::{Value, json};

use super::http::gzip;
use super::{Gate, Request};

const BASIC: &str = "Basic bXlrZXk6";

#[track_caller]
fn taken(gate: &Gate, request: &Request) {
    let answer = gate.ask(request);
    assert_eq!((answer.status, answer.body), (200, json!({"success": true})));
}

#[test]
fn a_track_call_with_a_key_is_an_event_of_that_keys_tool() {
    let gate = Gate::new();
    let call = json!({
        "type": "track", "event": "Ran", "anonymousId": "a-1", "messageId": "0199aaaa-0000-7000-8000-000000000001",
        "timestamp": "2026-11-21T10:00:00.5Z", "properties": {"n": 1}, "context": {"app": {"version": "1.2"}},
    });
    // `mykey:`, as Segment's clients and dlt send it.
    let request = Request::post("/v1/track", &call).header("Authorization", BASIC);
    taken(&gate, &request);
    assert_eq!(gate.queued(), 1);
    // A retry is no second event.
    taken(&gate, &request);
    assert_eq!(gate.queued(), 1);
    let events = gate.delivered();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["tool"], "demo");
    assert_eq!(events[0]["event"], "Ran");
    assert_eq!(events[0]["id"], "0199aaaa-0000-7000-8000-000000000001");
    assert_eq!(events[0]["time"], "2026-11-21T10:00:00.5Z");
    assert_eq!(events[0]["tool_version"], "1.2");
    assert_eq!(events[0]["properties"]["n"], 1);
    let user = events[0]["anonymous_id"].as_str().unwrap();
    assert_ne!(user, "a-1", "the vendor's id never leaves as it is");
}

#[test]
fn a_batch_and_an_import_are_one_transaction_of_many_calls_packed_or_not() {
    let gate = Gate::new();
    let calls: Vec<Value> = (0..200)
        .map(|n| json!({"type": "track", "event": "Ran", "userId": "u", "properties": {"n": n}}))
        .collect();
    let body = json!({"batch": calls, "writeKey": "mykey"});
    taken(&gate, &Request::post("/v1/batch", &body));
    assert_eq!(gate.queued(), 200);
    let packed =
        Request::raw("/v1/import", gzip(body.to_string().as_bytes())).header("Content-Encoding", "gzip");
    taken(&gate, &packed);
    assert_eq!(gate.queued(), 400);
}

#[test]
fn of_identify_page_and_screen_only_what_the_manifest_lists_is_taken() {
    let gate = Gate::new();
    gate.home.write_manifest(
        "demo",
        "name = \"demo\"\nconsent = \"opt-out\"\n[events.Ran]\n[events.page]\nproperties.name = \"string\"\n",
    );
    let calls = json!([
        {"type": "identify", "userId": "u", "traits": {"email": "alice@example.org"}},
        {"type": "page", "userId": "u", "name": "Home", "properties": {"url": "/secret"}},
        {"type": "group", "userId": "u", "groupId": "g"},
        {"type": "track", "userId": "u", "event": "Ran"},
    ]);
    taken(
        &gate,
        &Request::post("/v1/batch", &json!({"batch": calls, "writeKey": "mykey"})),
    );
    let events = gate.delivered();
    let named: Vec<&Value> = events.iter().map(|event| &event["event"]).collect();
    assert_eq!(named, [&json!("page"), &json!("Ran")]);
    assert_eq!(events[0]["properties"], json!({"name": "Home"}));
    // An event that it does not list is a bad one.
    let unlisted = json!({"event": "Walked", "userId": "u", "writeKey": "mykey"});
    let answer = gate.ask(&Request::post("/v1/track", &unlisted));
    assert_eq!(
        (answer.status, &answer.body["error"]),
        (400, &json!("not_allowed"))
    );
}

#[test]
fn heaps_single_and_bulk_form_name_their_tool_by_app_id() {
    let gate = Gate::new();
    let single = json!({"app_id": "2388822444", "identity": "i", "event": "One", "properties": {"n": 1}});
    taken(&gate, &Request::post("/api/track", &single));
    let bulk = json!({"app_id": "2388822444", "events": [
        {"identity": "i", "event": "Two", "idempotency_key": "k-1"},
        {"identity": "i", "event": "Three", "idempotency_key": "k-2"},
    ]});
    taken(&gate, &Request::post("/api/track", &bulk));
    taken(&gate, &Request::post("/api/track", &bulk));
    let events = gate.delivered();
    assert_eq!(events.len(), 3, "the second time they were duplicates");
    assert!(events.iter().all(|event| event["tool"] == "other"));
}

#[test]
fn jitsus_event_names_its_tool_by_the_token_in_the_query_also_as_a_proxy_is_asked() {
    let gate = Gate::new();
    let body =
        json!({"action": "list_projects", "interface": "service", "user_id": "u", "tool_version": "0.7.23"});
    taken(
        &gate,
        &Request::post("/api/v1/s2s/event?ip_policy=strict&token=mykey", &body),
    );
    // What a client sends that has this address as its HTTP_PROXY.
    let mut proxied = Request::post("", &body).header("Host", "192.0.2.1:8000");
    proxied.line = "POST http://192.0.2.1:8000/api/v1/s2s/event?token=mykey HTTP/1.1".to_owned();
    taken(&gate, &proxied);
    let events = gate.delivered();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["event"], "list_projects");
    assert_eq!(events[0]["tool_version"], "0.7.23");
    assert_eq!(
        events[0]["properties"],
        json!({"action": "list_projects", "interface": "service", "tool_version": "0.7.23"})
    );
}

#[test]
fn event_lines_come_as_ndjson_or_as_an_array_under_a_bearers_key() {
    let gate = Gate::new();
    let lines = b"{\"event\":\"One\"}\n{\"event\":\"Two\",\"tool\":\"demo\"}\n".to_vec();
    let request = Request::raw("/v1/events", lines).header("Authorization", "Bearer mykey");
    taken(&gate, &request.header("Content-Type", "application/x-ndjson"));
    let array = json!([{"event": "Three"}, {"event": "Four", "ack": "synced"}]);
    taken(
        &gate,
        &Request::post("/v1/events", &array).header("Authorization", "Bearer mykey"),
    );
    taken(
        &gate,
        &Request::post("/v1/events", &json!([])).header("Authorization", "Bearer mykey"),
    );
    assert_eq!(gate.delivered().len(), 4);
}

#[test]
fn a_path_that_names_the_tool_needs_no_key_whatever_the_dialect() {
    let gate = Gate::new();
    for (path, body) in [
        ("/t/demo/v1/track", json!({"event": "e", "userId": "u"})),
        (
            "/t/demo/v1/batch",
            json!({"batch": [{"type": "track", "event": "e", "userId": "u"}]}),
        ),
        (
            "/t/demo/v1/import",
            json!({"batch": [{"type": "track", "event": "e", "userId": "u"}]}),
        ),
        ("/t/demo/api/track", json!({"event": "e", "identity": "i"})),
        ("/t/demo/api/v1/s2s/event", json!({"event_type": "e"})),
        ("/t/demo/v1/events", json!([{"event": "e"}])),
        (
            "/t/demo",
            json!({"anonymousId": "a", "event": "e", "properties": {}}),
        ),
        ("/t/demo?token=unknown", json!({"action": "e", "user_id": "u"})),
        ("/t/demo", json!({"anything": {"at": ["all"]}})),
    ] {
        taken(&gate, &Request::post(path, &body));
    }
    let events = gate.delivered();
    assert_eq!(events.len(), 9);
    assert!(events.iter().all(|event| event["tool"] == "demo"));
    assert_eq!(events[8]["properties"], json!({"anything": {"at": ["all"]}}));
    let answer = gate.ask(&Request::post("/t/Not%20A%20Tool", &json!({})));
    assert_eq!(answer.status, 400, "{}", answer.body);
}

#[test]
fn it_listens_on_a_unix_socket_too_where_only_the_user_comes_in() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;
    let gate = Gate::new();
    let path = gate.home.runtime_dir().join("gateway.sock");
    gate.listen(&format!("\"{}\"", path.display()));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let request = Request::post(
        "/v1/track",
        &json!({"event": "e", "userId": "u", "writeKey": "mykey"}),
    );
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(&request.bytes()).unwrap();
    assert_eq!(super::Answer::of(&mut stream).status, 200);
    assert_eq!(gate.queued(), 1);
}
