//! While a request is under way the queue claims what goes next: nobody who changes his mind meanwhile is to notice.

use std::time::Duration;

use serde_json::json;
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{DEADLINE, eventually};

use crate::stage::{Stage, ask, books_balance, event, id, status};

/// Batches of two, tried again soon.
const PAIRS: &str = "batch = { max_events = 2, max_wait = \"1h\" }\n\
    retry = { initial = \"20ms\", max = \"50ms\", spread = \"20ms\" }\n";

/// Long enough for what a test does meanwhile, on a busy machine too.
const MEANWHILE: Duration = Duration::from_secs(3);

/// The first request is under way, and of 20 events those behind it are claimed.
fn under_way() -> Stage {
    let stage = Stage::new(Script::new().then(Step::hang(MEANWHILE).nth(1)), PAIRS);
    stage.queue((1..=20).map(event));
    stage.endpoint.wait_for_requests(1);
    eventually("batches are claimed ahead", DEADLINE, || {
        let rows = crate::stage::list(&stage.daemon, &json!({"op": "queue", "action": "list"}));
        let claimed = rows.iter().filter(|row| row["state"] == "claimed");
        (claimed.count() > 2).then_some(())
    });
    stage
}

#[test]
fn what_is_purged_while_a_request_is_under_way_does_not_go_after_it() {
    let stage = under_way();
    let purged = ask(&stage.daemon, &json!({"op": "queue", "action": "purge"}));
    assert_eq!(purged["ok"], true, "{purged}");
    stage.queue([event(101), event(102)]);
    stage.endpoint.wait_for_ids([id(101), id(102)]);
    let ids = stage.endpoint.ids();
    for gone in 3..=20 {
        assert!(!ids.contains(&id(gone)), "event {gone} was purged and sent");
    }
    books_balance(&status(&stage.daemon));
}

#[test]
fn a_pause_while_a_request_is_under_way_holds_back_what_was_claimed() {
    let stage = under_way();
    ask(&stage.daemon, &json!({"op": "pause"}));
    eventually("the first batch is settled", DEADLINE, || {
        let rows = crate::stage::list(&stage.daemon, &json!({"op": "queue", "action": "list"}));
        let waiting = rows.iter().all(|row| row["state"] == "waiting");
        (rows.len() == 18 && waiting).then_some(())
    });
    // Many turns of the daemon, in each of which it could send.
    stage.queue((21..=24).map(event));
    for _ in 0..50 {
        ask(&stage.daemon, &json!({"op": "flush"}));
        status(&stage.daemon);
    }
    assert_eq!(stage.endpoint.requests().len(), 1, "nothing goes in a pause");
    ask(&stage.daemon, &json!({"op": "resume"}));
    stage.endpoint.wait_for_ids((1..=24).map(id));
    books_balance(&status(&stage.daemon));
}

#[test]
fn a_failure_puts_back_what_was_claimed_behind_it_and_all_arrives_once_and_in_order() {
    let stage = Stage::new(
        Script::new()
            .then(Step::status(503).nth(3))
            .then(Step::status(413).nth(6)),
        PAIRS,
    );
    stage.queue((1..=40).map(event));
    stage.endpoint.wait_for_ids((1..=40).map(id));
    let arrived: Vec<_> = stage
        .endpoint
        .events()
        .iter()
        .map(|event| event["id"].clone())
        .collect();
    let in_order: Vec<_> = (1..=40).map(|n| json!(id(n))).collect();
    assert_eq!(arrived, in_order);
    books_balance(&status(&stage.daemon));
}

#[test]
fn a_withdrawal_while_a_request_is_under_way_takes_what_was_claimed_with_it() {
    let stage = under_way();
    let denied = ask(&stage.daemon, &json!({"op": "consent", "action": "deny"}));
    assert_eq!(denied["ok"], true, "{denied}");
    let allowed = ask(&stage.daemon, &json!({"op": "consent", "action": "allow"}));
    assert_eq!(allowed["ok"], true, "{allowed}");
    stage.queue([event(101), event(102)]);
    stage.endpoint.wait_for_ids([id(101), id(102)]);
    let ids = stage.endpoint.ids();
    for gone in 3..=20 {
        assert!(!ids.contains(&id(gone)), "event {gone} was withdrawn and sent");
    }
    books_balance(&status(&stage.daemon));
}

#[test]
fn a_destination_that_leaves_the_config_and_comes_back_has_one_request_under_way() {
    let stage = under_way();
    let config = crate::stage::destination(&stage.endpoint.url(), PAIRS);
    for text in ["", config.as_str()] {
        stage.home.write_config(text);
        let reloaded = ask(&stage.daemon, &json!({"op": "reload"}));
        assert_eq!(reloaded["ok"], true, "{reloaded}");
    }
    // Many turns of the daemon, in each of which it could send.
    for _ in 0..100 {
        ask(&stage.daemon, &json!({"op": "flush"}));
        status(&stage.daemon);
    }
    assert_eq!(stage.endpoint.requests().len(), 1, "one request at a time");
    stage.endpoint.wait_for_ids((1..=20).map(id));
    books_balance(&status(&stage.daemon));
}

#[test]
fn a_purge_of_nothing_takes_no_batch_back() {
    let stage = under_way();
    let claimed = || {
        let rows = crate::stage::list(&stage.daemon, &json!({"op": "queue", "action": "list"}));
        let batches = rows.iter().map(|row| row["batch_id"].clone());
        batches.filter(|batch| !batch.is_null()).collect::<Vec<_>>()
    };
    let before = claimed();
    for _ in 0..20 {
        ask(
            &stage.daemon,
            &json!({"op": "queue", "action": "purge", "tool": "nobodys"}),
        );
    }
    assert_eq!(claimed(), before);
    stage.endpoint.wait_for_ids((1..=20).map(id));
    let keys = stage
        .endpoint
        .requests()
        .iter()
        .filter_map(|r| r.header("idempotency-key").map(str::to_owned))
        .collect::<Vec<_>>();
    for batch in before {
        assert!(
            keys.iter().any(|key| batch == json!(key)),
            "{batch} was put back and formed anew"
        );
    }
}
