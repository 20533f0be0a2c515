//! 413: a batch is halved until it fits, the limit is learned, and a restart does not forget it.

use serde_json::{Value, json};
use telemetry_testkit::sink::{Script, Step};

use crate::stage::{Stage, TOLD, TOOL, id, parked};

fn sized(n: u64, bytes: usize) -> Value {
    json!({"tool": TOOL, "event": "ran", "id": id(n), "properties": {"s": "x".repeat(bytes)}})
}

#[test]
fn a_413_splits_and_the_learned_limit_survives_a_kill() {
    let mut stage = Stage::new(Script::new().then(Step::too_large(20_000)), TOLD);
    stage.queue((0..100).map(|n| sized(n, 1000)));
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids((0..100).map(id));
    let learned = stage.destination()["max_bytes_learned"]
        .as_u64()
        .expect("a limit was learned");
    assert!((5_000..=20_000).contains(&learned), "{learned}");
    stage.daemon.restart();
    assert_eq!(stage.destination()["max_bytes_learned"], learned);
    let before = stage.endpoint.requests().len();
    stage.queue((100..200).map(|n| sized(n, 1000)));
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids((100..200).map(id));
    for request in &stage.endpoint.requests()[before..] {
        assert!(
            request.body_bytes <= 20_000,
            "{} bytes after the limit was learned",
            request.body_bytes
        );
    }
}

#[test]
fn a_single_event_that_is_too_large_is_parked_and_the_others_arrive() {
    let stage = Stage::new(Script::new().then(Step::too_large(20_000)), TOLD);
    stage.queue((0..20).map(|n| sized(n, if n == 7 { 30_000 } else { 500 })));
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_events(19);
    let parked = parked(&stage.daemon);
    assert_eq!(parked.len(), 1);
    assert_eq!(
        (&parked[0]["id"], &parked[0]["status"]),
        (&json!(id(7)), &json!(413))
    );
}
