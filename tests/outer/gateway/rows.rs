//! Every row of the table, through the daemon to the endpoint.

use serde_json::json;

use super::{Gate, Request};

#[test]
fn a_track_call_with_a_key_is_an_event_of_that_keys_tool() {
    let gate = Gate::new();
    let call = json!({
        "type": "track", "event": "Ran", "anonymousId": "a-1", "messageId": "0199aaaa-0000-7000-8000-000000000001",
        "timestamp": "2026-11-21T10:00:00.5Z", "properties": {"n": 1}, "context": {"app": {"version": "1.2"}},
    });
    // `mykey:`, as Segment's clients and dlt send it.
    let request = Request::post("/v1/track", &call).header("Authorization", "Basic bXlrZXk6");
    let answer = gate.ask(&request);
    assert_eq!((answer.status, answer.body), (200, json!({"success": true})));
    assert_eq!(gate.queued(), 1);
    // A retry is no second event.
    assert_eq!(gate.ask(&request).status, 200);
    assert_eq!(gate.queued(), 1);
    let events = gate.delivered();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["tool"], "demo");
    assert_eq!(events[0]["event"], "Ran");
    assert_eq!(events[0]["id"], "0199aaaa-0000-7000-8000-000000000001");
    assert_eq!(events[0]["time"], "2026-11-21T10:00:00.5Z");
    assert_eq!(events[0]["tool_version"], "1.2");
    assert_eq!(events[0]["properties"]["n"], 1);
}
