//! Refused events are found by halving, and parked; the others arrive. Where everything is refused, it is not the events.

use serde_json::{Value, json};
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{DEADLINE, eventually};

use crate::stage::{Stage, TOLD, TOOL, ask, booked, event, id, parked, status, waiting};

fn poison(n: u64) -> Value {
    json!({"tool": TOOL, "event": "poison", "id": id(n)})
}

fn refuse_poison(status: u16) -> Script {
    Script::new().then(Step::status(status).body("bad event").event("poison"))
}

#[test]
fn one_poisoned_event_in_five_hundred_is_parked_and_the_others_arrive_once() {
    for (at, code) in [(0, 400), (137, 422), (499, 409)] {
        let stage = Stage::new(refuse_poison(code), TOLD);
        stage.queue((0..500).map(|n| if n == at { poison(n) } else { event(n) }));
        stage.endpoint.wait_for_events(499);
        assert_eq!(stage.flush()["left"], 0);
        let parked = parked(&stage.daemon);
        assert_eq!(parked.len(), 1, "{parked:?}");
        assert_eq!(
            (&parked[0]["id"], &parked[0]["status"]),
            (&json!(id(at)), &json!(code))
        );
        assert_eq!(parked[0]["answer"], "bad event");
        let requests = stage.endpoint.requests().len();
        assert!(requests <= 2 * 9 + 1, "{requests} requests to find one in 500");
        let shown = status(&stage.daemon);
        assert_eq!((booked(&shown, "delivered"), booked(&shown, "parked")), (499, 1));
    }
}

#[test]
fn several_poisoned_events_are_all_found() {
    let stage = Stage::new(refuse_poison(400), TOLD);
    let bad = [3, 4, 77, 250, 251, 499];
    stage.queue((0..500).map(|n| if bad.contains(&n) { poison(n) } else { event(n) }));
    stage.endpoint.wait_for_events(494);
    assert_eq!(stage.flush()["left"], 0);
    let mut found: Vec<String> = parked(&stage.daemon)
        .iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect();
    found.sort();
    assert_eq!(found, bad.map(id));
}

#[test]
fn a_search_for_poison_goes_on_after_a_kill() {
    let mut stage = Stage::new(refuse_poison(400), TOLD);
    stage.endpoint.expect_duplicates();
    stage.queue((0..200).map(|n| if n == 120 { poison(n) } else { event(n) }));
    ask(&stage.daemon, &json!({"op": "flush"}));
    stage.endpoint.wait_for_requests(2);
    stage.daemon.restart();
    eventually("all but one arrive", DEADLINE, || {
        ask(&stage.daemon, &json!({"op": "flush"}));
        (stage.endpoint.counts().unique == 199).then_some(())
    });
    assert_eq!(stage.flush()["left"], 0);
    let parked = parked(&stage.daemon);
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!(parked[0]["id"], id(120));
}

#[test]
fn where_all_of_eight_or_more_are_refused_nothing_is_parked_and_the_destination_is_held() {
    for count in [8, 9, 500] {
        let mut stage = Stage::new(Script::new().then(Step::status(400)), TOLD);
        stage.queue((0..count).map(event));
        assert_eq!(stage.flush()["left"], count, "{count} events");
        let shown = stage.destination();
        assert_eq!(
            (&shown["state"], &shown["reason"]),
            (&json!("held"), &json!("refuses_everything")),
            "{shown}"
        );
        assert!(parked(&stage.daemon).is_empty());
        assert_eq!(waiting(&stage.daemon).len() as u64, count);
        stage.daemon.restart();
        ask(&stage.daemon, &json!({"op": "flush"}));
        let shown = eventually("it has found the same again", DEADLINE, || {
            let shown = stage.destination();
            (shown["state"] == "held").then_some(shown)
        });
        assert_eq!(shown["reason"], "refuses_everything", "{shown}");
        assert!(parked(&stage.daemon).is_empty());
        stage.endpoint.play(Script::new());
        assert_eq!(ask(&stage.daemon, &json!({"op": "resume"}))["ok"], true);
        assert_eq!(stage.flush()["left"], 0);
        stage.endpoint.wait_for_ids((0..count).map(id));
    }
}

#[test]
fn where_seven_are_refused_or_one_of_eight_is_taken_the_refused_are_parked() {
    let stage = Stage::new(Script::new().then(Step::status(400)), TOLD);
    stage.queue((0..7).map(event));
    assert_eq!(stage.flush()["left"], 0);
    assert_eq!(parked(&stage.daemon).len(), 7);
    drop(stage);
    let stage = Stage::new(refuse_poison(400), TOLD);
    stage.queue((0..8).map(|n| if n == 5 { event(n) } else { poison(n) }));
    assert_eq!(stage.flush()["left"], 0);
    assert_eq!(parked(&stage.daemon).len(), 7);
    stage.endpoint.wait_for_ids([id(5)]);
}
