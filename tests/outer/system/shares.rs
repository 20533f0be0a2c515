//! Shares of the queue and of the way out, by uid: who uses most loses first, a batch is one user's, and claims take
//! from each in turn.

use serde_json::{Value, json};
use telemetry_testkit::sink::{Script, Step};

use super::{ANN, BEN, Machine, ROOT};
use crate::stage::{SOON, TOLD, TOOL, booked, event, id};

fn large(n: u64) -> Value {
    json!({"tool": TOOL, "event": "ran", "id": id(n), "properties": {"note": "x".repeat(2000)}})
}

#[test]
fn a_full_queue_takes_from_the_user_who_uses_most() {
    let small = "[queue]\nmax_bytes = \"256KiB\"\nmax_bytes_per_tool = \"256KiB\"\n";
    let Some(mut machine) = Machine::start(TOLD, small) else {
        return;
    };
    machine.endpoint.expect_duplicates();
    // His first, so that they are the oldest of all.
    machine.queue(BEN, (1..11).map(event));
    assert_eq!(machine.ask(ROOT, &json!({"op": "pause"}))["ok"], true);
    machine.queue(ANN, (1001..1301).map(large));
    for restarted in [false, true] {
        if restarted {
            machine.daemon.restart();
        }
        let (hers, his) = (machine.status(ANN), machine.status(BEN));
        assert_eq!((booked(&his, "queued"), booked(&his, "evicted")), (10, 0));
        assert!(booked(&hers, "evicted") > 100, "{hers}");
        let left = machine.list(ANN, &json!({"op": "queue", "action": "list"}));
        assert_eq!(left.len() as u64, booked(&hers, "queued"));
        assert!(left.iter().any(|row| row["id"] == id(1300)), "the newest stay");
    }
}

#[test]
fn a_tools_quota_is_each_users_own() {
    let quota = "[queue]\nmax_bytes = \"1MiB\"\nmax_bytes_per_tool = \"64KiB\"\n";
    let Some(machine) = Machine::start(TOLD, quota) else {
        return;
    };
    machine.queue(BEN, (1..26).map(large));
    machine.queue(ANN, (1001..1101).map(large));
    assert!(booked(&machine.status(ANN), "evicted") > 50);
    assert_eq!(
        booked(&machine.status(BEN), "evicted"),
        0,
        "his 50 KiB are below it"
    );
}

#[test]
fn a_batch_is_one_users_and_each_comes_to_its_turn() {
    let batches = "batch = { max_events = 50, max_wait = \"50ms\" }\n";
    let Some(machine) = Machine::start(batches, "") else {
        return;
    };
    assert_eq!(machine.ask(ROOT, &json!({"op": "pause"}))["ok"], true);
    machine.queue(ANN, (1..1001).map(event));
    machine.queue(BEN, (2001..2021).map(event));
    assert_eq!(machine.ask(ROOT, &json!({"op": "resume"}))["ok"], true);
    machine.endpoint.wait_for_ids((1..1001).chain(2001..2021).map(id));
    let sent = telemetry_testkit::eventually("all are settled", telemetry_testkit::DEADLINE, || {
        let sent = machine.list(ROOT, &json!({"op": "sent", "limit": 100, "all_users": true}));
        (sent.len() >= 21).then_some(sent)
    });
    let whose: Vec<u64> = sent.iter().filter_map(|batch| batch["uid"].as_u64()).collect();
    let his = whose.iter().position(|uid| *uid == u64::from(BEN)).unwrap();
    assert!(his <= 2, "his one batch was number {his} of {whose:?}");
    assert_eq!(whose.iter().filter(|uid| **uid == u64::from(BEN)).count(), 1);
    assert_eq!(whose.len(), 21);
}

#[test]
fn nothing_is_lost_over_a_kill_and_the_books_are_each_users() {
    let Some(mut machine) = Machine::start(SOON, "") else {
        return;
    };
    machine.endpoint.expect_duplicates();
    machine.queue(ANN, (1..101).map(event));
    machine.queue(BEN, (101..201).map(event));
    machine.daemon.restart();
    machine.endpoint.wait_for_ids((1..201).map(id));
    let delivered = |machine: &Machine, uid| {
        telemetry_testkit::eventually("all is booked", telemetry_testkit::DEADLINE, || {
            let status = machine.status(uid);
            (booked(&status, "delivered") == 100).then_some(())
        });
    };
    delivered(&machine, ANN);
    delivered(&machine, BEN);
}

#[test]
fn what_is_parked_is_its_users_to_see_and_to_try_again() {
    let script = Script::new().then(Step::status(422).body("bad event").event("poison"));
    let Some(machine) = Machine::scripted(script, SOON) else {
        return;
    };
    machine.queue(ANN, [json!({"tool": TOOL, "event": "poison", "id": id(1)})]);
    machine.queue(BEN, [event(2)]);
    machine.endpoint.wait_for_ids([id(2)]);
    let parked = json!({"op": "queue", "action": "parked"});
    let hers = telemetry_testkit::eventually("it is parked", telemetry_testkit::DEADLINE, || {
        let rows = machine.list(ANN, &parked);
        (!rows.is_empty()).then_some(rows)
    });
    assert_eq!(hers[0]["id"], id(1));
    assert!(machine.list(BEN, &parked).is_empty());
    let requeue = json!({"op": "queue", "action": "requeue"});
    assert_eq!(machine.ask(BEN, &requeue)["requeued"], 0);
    assert_eq!(machine.ask(ANN, &requeue)["requeued"], 1);
}

#[test]
fn who_flushes_in_a_loop_neither_hammers_the_endpoint_nor_makes_others_wait_longer() {
    let Some(mut machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.endpoint.play(Script::new().then(Step::status(503)));
    machine.endpoint.expect_duplicates();
    machine.queue(ANN, (1..4).map(event));
    let flush = json!({"op": "flush", "wait": true, "timeout_ms": 2_000});
    machine.ask(ANN, &flush);
    let shown = |machine: &Machine| {
        let status = machine.status(ANN);
        let destination = &status["destinations"][0];
        (destination["attempts"].clone(), destination["next_try"].clone())
    };
    let before = shown(&machine);
    machine.queue(BEN, (11..14).map(event));
    for _ in 0..5 {
        machine.ask(BEN, &json!({"op": "flush", "wait": true, "timeout_ms": 200}));
    }
    assert_eq!(shown(&machine), before, "her wait is as it was");
    let requests = machine.endpoint.requests().len();
    assert!(requests <= 3, "{requests} requests within a wait of an hour");
}
