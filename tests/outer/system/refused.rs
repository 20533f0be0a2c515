//! What an endpoint refuses of one user is that user's: its rows wait, everybody else's go on (I13).

use serde_json::{Value, json};
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{DEADLINE, eventually};

use super::{ANN, BEN, Machine, ROOT};
use crate::stage::{SOON, TOLD, TOOL, booked, event, id};

fn poison(n: u64) -> Value {
    json!({"tool": TOOL, "event": "poison", "id": id(n)})
}

fn refuse_poison() -> Script {
    Script::new().then(Step::status(400).body("bad event").event("poison"))
}

/// Sends at once, and does not try again before the test is over what was refused whole.
const SOON_ONCE: &str =
    "batch = { max_wait = \"50ms\" }\nretry = { initial = \"1h\", max = \"2h\", spread = \"1h\" }\n";

/// Queues events that go in one batch.
#[track_caller]
fn queue_together(machine: &Machine, uid: u32, events: impl IntoIterator<Item = Value>) {
    assert_eq!(machine.ask(ROOT, &json!({"op": "pause"}))["ok"], true);
    machine.queue(uid, events);
    assert_eq!(machine.ask(ROOT, &json!({"op": "resume"}))["ok"], true);
}

/// The one destination, as it is to that user.
#[track_caller]
fn destination(machine: &Machine, uid: u32) -> Value {
    machine.status(uid)["destinations"][0].clone()
}

#[track_caller]
fn all(machine: &Machine) -> Value {
    machine.ask(ROOT, &json!({"op": "status", "all_users": true}))["destinations"][0].clone()
}

#[track_caller]
fn until_held(machine: &Machine, uid: u32) -> Value {
    eventually("what was refused is held", DEADLINE, || {
        let shown = destination(machine, uid);
        (shown["state"] == "held").then_some(shown)
    })
}

#[track_caller]
fn doctor(machine: &Machine, uid: u32, all_users: bool) -> (String, String) {
    let answer = machine.ask(uid, &json!({"op": "doctor", "all_users": all_users}));
    let checks = answer["checks"].as_array().expect("checks").clone();
    let check = checks.iter().find(|check| check["check"] == "destination");
    let check = check.expect("a line for each destination");
    (
        check["state"].as_str().unwrap().to_owned(),
        check["detail"].as_str().unwrap().to_owned(),
    )
}

#[test]
fn what_is_refused_whole_of_one_user_waits_and_everybody_elses_arrives() {
    let Some(mut machine) = Machine::scripted(refuse_poison(), SOON_ONCE) else {
        return;
    };
    machine.endpoint.expect_duplicates();
    queue_together(&machine, ANN, (1..21).map(poison));
    let held = until_held(&machine, ANN);
    assert_eq!(
        (&held["reason"], &held["queued"]),
        (&json!("refuses_everything"), &json!(20)),
        "{held}"
    );
    assert!(
        held["next_try"].is_string() && held["last_error"].is_string(),
        "{held}"
    );
    // His arrive, now and later; what she sends meanwhile waits with the rest.
    machine.queue(BEN, (101..104).map(event));
    machine.endpoint.wait_for_ids((101..104).map(id));
    machine.queue(ANN, [poison(50)]);
    machine.queue(BEN, (111..114).map(event));
    machine.endpoint.wait_for_ids((111..114).map(id));
    let flush = json!({"op": "flush", "wait": true, "timeout_ms": 20_000});
    let hers = machine.ask(ANN, &flush);
    assert_eq!(
        (&hers["left"], &hers["timed_out"]),
        (&json!(21), &json!(false)),
        "{hers}"
    );
    assert_eq!(hers["why"][0]["reason"], "refuses_everything", "{hers}");
    let his = machine.ask(BEN, &flush);
    assert_eq!(his["left"], 0, "{his}");
    assert!(
        machine
            .list(ANN, &json!({"op": "queue", "action": "parked"}))
            .is_empty()
    );
    // Each is told about itself, and root whose it is.
    let his = destination(&machine, BEN);
    assert!(his["state"] == "idle" && his["reason"].is_null(), "{his}");
    assert!(his.get("held_users").is_none(), "{his}");
    let all = all(&machine);
    assert_eq!(
        (&all["state"], &all["queued"]),
        (&json!("held"), &json!(21)),
        "nothing else waits: {all}"
    );
    assert_eq!(
        (&all["held_users"][0]["uid"], &all["held_users"][0]["queued"]),
        (&json!(ANN), &json!(21))
    );
    assert_eq!(doctor(&machine, ANN, false).0, "fail");
    assert_eq!(doctor(&machine, BEN, false).0, "ok");
    // A start is somebody's act: it is found out again, and only she waits.
    machine.daemon.restart();
    until_held(&machine, ANN);
    machine.queue(BEN, [event(121)]);
    machine.endpoint.wait_for_ids([id(121)]);
    // Whoever mends it lets it go.
    machine.endpoint.play(Script::new());
    assert_eq!(machine.ask(ROOT, &json!({"op": "resume"}))["ok"], true);
    machine.endpoint.wait_for_ids((1..21).chain([50]).map(id));
    eventually("she is not held", DEADLINE, || {
        (destination(&machine, ANN)["state"] != "held").then_some(())
    });
}

#[test]
fn who_gives_up_what_was_refused_is_held_no_more() {
    let Some(machine) = Machine::scripted(refuse_poison(), SOON_ONCE) else {
        return;
    };
    queue_together(&machine, ANN, (1..13).map(poison));
    until_held(&machine, ANN);
    let purge = json!({"op": "queue", "action": "purge"});
    assert_eq!(machine.ask(BEN, &purge)["purged"], 0);
    assert_eq!(destination(&machine, ANN)["state"], "held");
    assert_eq!(machine.ask(ANN, &purge)["purged"], 12);
    machine.queue(ANN, (21..24).map(event));
    machine.endpoint.wait_for_ids((21..24).map(id));
}

#[test]
fn it_is_tried_again_by_itself_with_few_events() {
    let Some(machine) = Machine::scripted(refuse_poison(), SOON) else {
        return;
    };
    queue_together(&machine, ANN, (1..101).map(poison));
    until_held(&machine, ANN);
    let before = machine.endpoint.requests().len();
    machine.endpoint.wait_for_requests(before + 30);
    let sizes: Vec<usize> = machine.endpoint.requests()[before..]
        .iter()
        .map(|request| request.events().len())
        .collect();
    assert!(sizes.iter().all(|events| *events <= 8), "{sizes:?}");
    machine.endpoint.play(Script::new());
    machine.endpoint.wait_for_ids((1..101).map(id));
}

#[test]
fn where_everybodys_are_refused_each_is_held_and_few_requests_show_it() {
    let Some(mut machine) = Machine::scripted(Script::new().then(Step::status(400)), TOLD) else {
        return;
    };
    machine.endpoint.expect_duplicates();
    let flush = json!({"op": "flush", "wait": true, "timeout_ms": 20_000});
    machine.queue(ANN, (1..201).map(event));
    assert_eq!(machine.ask(ANN, &flush)["left"], 200);
    let of_hers = machine.endpoint.requests().len();
    machine.queue(BEN, (1001..1201).map(event));
    assert_eq!(machine.ask(BEN, &flush)["left"], 200);
    let of_his = machine.endpoint.requests().len() - of_hers;
    assert_eq!(of_his, 15, "to find that eight are refused one by one");
    assert_eq!(of_hers, 399);
    for uid in [ANN, BEN] {
        assert_eq!(destination(&machine, uid)["state"], "held");
        assert_eq!(booked(&machine.status(uid), "queued"), 200);
    }
    let all = all(&machine);
    assert_eq!(
        (&all["state"], &all["queued"]),
        (&json!("held"), &json!(400)),
        "{all}"
    );
    assert_eq!(all["held_users"].as_array().map(Vec::len), Some(2));
    let everything = machine.ask(
        ROOT,
        &json!({"op": "flush", "wait": true, "timeout_ms": 20_000, "all_users": true}),
    );
    assert_eq!(
        (&everything["left"], &everything["timed_out"]),
        (&json!(400), &json!(false))
    );
    machine.endpoint.play(Script::new());
    assert_eq!(machine.ask(ROOT, &json!({"op": "reload"}))["ok"], true);
    for uid in [ANN, BEN] {
        eventually("it is tried again", DEADLINE, || {
            (destination(&machine, uid)["state"] != "held").then_some(())
        });
        assert_eq!(machine.ask(uid, &flush)["left"], 0);
    }
}

#[test]
fn others_need_not_wait_until_all_refused_events_were_found() {
    let Some(machine) = Machine::scripted(refuse_poison(), TOLD) else {
        return;
    };
    machine.queue(ANN, (1..501).map(poison));
    machine.ask(ANN, &json!({"op": "flush"}));
    machine.endpoint.wait_for_requests(4);
    machine.queue(BEN, [event(1001)]);
    machine.endpoint.wait_for_ids([id(1001)]);
    let requests = machine.endpoint.requests();
    let his = requests
        .iter()
        .position(|request| request.ids().any(|sent| sent == id(1001)));
    let asked = requests.len();
    assert!(his.is_some_and(|his| his < 500), "{his:?} of {asked}");
}

#[test]
fn where_a_request_has_one_event_eight_refusals_in_a_row_hold_that_user_alone() {
    let more = format!("{TOLD}encoding = \"segment\"\nform = \"track\"\n");
    let Some(machine) = Machine::scripted(refuse_poison(), &more) else {
        return;
    };
    let flush = json!({"op": "flush", "wait": true, "timeout_ms": 20_000});
    machine.queue(ANN, (1..21).map(poison));
    assert_eq!(machine.ask(ANN, &flush)["left"], 13, "seven are parked");
    assert_eq!(destination(&machine, ANN)["state"], "held");
    assert_eq!(destination(&machine, ANN)["reason"], "refuses_everything");
    machine.queue(BEN, (101..121).map(event));
    assert_eq!(machine.ask(BEN, &flush)["left"], 0);
    machine.endpoint.wait_for_ids((101..121).map(id));
    assert_eq!(destination(&machine, BEN)["state"], "idle");
    machine.endpoint.play(Script::new());
    assert_eq!(machine.ask(ROOT, &json!({"op": "resume"}))["ok"], true);
    assert_eq!(machine.ask(ANN, &flush)["left"], 0);
    machine.endpoint.wait_for_ids((8..21).map(id));
}
