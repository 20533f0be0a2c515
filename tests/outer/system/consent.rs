//! What each user said over the socket holds for that user alone, through restarts; the machine's word holds for all.

use std::fs;

use serde_json::{Value, json};
use telemetry_testkit::sink::{Script, Step};

use super::{ANN, BEN, Machine, ROOT};
use crate::stage::{TOLD, TOOL, booked, event};

fn consent(action: &str) -> Value {
    json!({"op": "consent", "action": action, "tool": TOOL})
}

#[test]
fn a_users_no_purges_that_users_rows_and_holds_for_that_user_alone() {
    let Some(mut machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.queue(ANN, (1..4).map(event));
    machine.queue(BEN, (11..13).map(event));
    let denied = machine.ask(ANN, &consent("deny"));
    assert_eq!(
        (&denied["status"], &denied["verdict"], &denied["purged"]),
        (&json!("changed"), &json!("deny"), &json!(3)),
        "{denied}"
    );
    for restarted in [false, true] {
        if restarted {
            machine.daemon.restart();
        }
        let declined = machine.ask(ANN, &event(4));
        assert_eq!(
            (&declined["status"], &declined["by"]),
            (&json!("declined"), &json!("user"))
        );
        let source = declined["source"].as_str().unwrap();
        assert!(source.ends_with(&format!("consent/{ANN}.toml")), "{source}");
        assert_eq!(
            machine.ask(BEN, &event(20 + u64::from(restarted)))["status"],
            "queued"
        );
        assert_eq!(
            machine.ask(ROOT, &event(40 + u64::from(restarted)))["status"],
            "queued"
        );
        let explained = &machine.list(ANN, &consent("explain"))[0];
        assert_eq!(
            (&explained["verdict"], &explained["by"]),
            (&json!("deny"), &json!("user"))
        );
        assert_eq!(machine.list(BEN, &consent("show"))[0]["verdict"], "allow");
        let (hers, his) = (machine.status(ANN), machine.status(BEN));
        assert_eq!((booked(&hers, "purged"), booked(&hers, "queued")), (3, 0));
        assert_eq!(booked(&his, "purged"), 0);
        let verdict = |status: &Value| {
            let tools = status["tools"].as_array().unwrap();
            tools.iter().find(|tool| tool["tool"] == TOOL).unwrap()["verdict"].clone()
        };
        assert_eq!((verdict(&hers), verdict(&his)), (json!("deny"), json!("allow")));
    }
    assert_eq!(machine.ask(ANN, &consent("reset"))["verdict"], "allow");
    assert_eq!(machine.ask(ANN, &event(5))["status"], "queued");
}

#[test]
fn everything_off_is_the_users_own_word_too() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.queue(ANN, [event(1)]);
    machine.queue(BEN, [event(11)]);
    let denied = machine.ask(ANN, &json!({"op": "consent", "action": "deny"}));
    assert_eq!(denied["purged"], 1, "{denied}");
    assert_eq!(machine.status(ANN)["telemetry"]["verdict"], "deny");
    assert_eq!(machine.status(BEN)["telemetry"]["verdict"], "allow");
    assert_eq!(booked(&machine.status(BEN), "queued"), 1);
    // A tool that nobody announced is allowed by the user's own word, and for that user.
    let stranger = json!({"tool": "stranger", "event": "ran"});
    let allow = json!({"op": "consent", "action": "allow", "tool": "stranger"});
    assert_eq!(machine.ask(BEN, &stranger)["status"], "declined");
    assert_eq!(machine.ask(BEN, &allow)["verdict"], "allow");
    assert_eq!(machine.ask(BEN, &stranger)["status"], "queued");
    assert_eq!(machine.ask(ROOT, &stranger)["status"], "declined");
}

#[test]
fn a_word_that_cannot_be_read_denies_for_its_user() {
    let Some(mut machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.queue(ANN, [event(1)]);
    machine.queue(BEN, [event(11)]);
    machine.daemon.kill9();
    machine.home.write(
        machine.home.state_dir().join(format!("consent/{ANN}.toml")),
        "tele metry",
    );
    machine.daemon.restart();
    assert_eq!(
        booked(&machine.status(ANN), "purged"),
        1,
        "before the socket was there"
    );
    assert_eq!(machine.ask(ANN, &event(2))["by"], "user");
    assert_eq!(booked(&machine.status(BEN), "queued"), 1);
}

#[test]
fn the_machines_opt_out_holds_for_every_user_and_purges_for_each() {
    let Some(mut machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.queue(ANN, (1..4).map(event));
    machine.queue(BEN, (11..13).map(event));
    machine.home.write(machine.home.machine_dir().join("opt-out"), "");
    assert_eq!(machine.ask(BEN, &event(14))["by"], "machine");
    let gone = |machine: &Machine, uid| {
        telemetry_testkit::eventually("the rows are purged", telemetry_testkit::DEADLINE, || {
            let status = machine.status(uid);
            (booked(&status, "queued") == 0).then(|| booked(&status, "purged"))
        })
    };
    assert_eq!((gone(&machine, ANN), gone(&machine, BEN)), (3, 2));
    fs::remove_file(machine.home.machine_dir().join("opt-out")).unwrap();
    machine.queue(ANN, [event(21)]);
    machine.queue(BEN, [event(31)]);
    // And while no daemon runs.
    machine.daemon.kill9();
    machine
        .home
        .write(machine.home.machine_dir().join("opt-out.d").join(TOOL), "");
    machine.daemon.restart();
    for (uid, purged) in [(ANN, 4), (BEN, 3)] {
        let status = machine.status(uid);
        assert_eq!(
            (booked(&status, "purged"), booked(&status, "queued")),
            (purged, 0)
        );
        let refused = machine.ask(uid, &event(50));
        assert_eq!(
            (&refused["status"], &refused["by"]),
            (&json!("declined"), &json!("machine"))
        );
    }
}

#[test]
fn an_address_that_the_admin_withdraws_gets_nothing_more_of_anybody() {
    let Some(mut machine) = Machine::start(TOLD, "") else {
        return;
    };
    let policy = machine.home.machine_dir().join("policy.d/10-ours.toml");
    machine.queue(ANN, (1..4).map(event));
    machine.queue(BEN, (11..13).map(event));
    let elsewhere = "[destinations]\nallow = [\"https://ours.example/v1\"]\n";
    machine.home.write(&policy, elsewhere);
    // Asked, each is told whose word it is; and what was queued goes by itself, of everybody.
    for uid in [ANN, BEN, ROOT] {
        let refused = machine.ask(uid, &event(50));
        assert_eq!(
            (&refused["status"], &refused["by"]),
            (&json!("declined"), &json!("machine")),
            "{refused}"
        );
        let flush = machine.ask(uid, &json!({"op": "flush", "wait": true, "timeout_ms": 20_000}));
        assert_eq!(flush["left"], 0, "{flush}");
    }
    let purged = |machine: &Machine, uid| {
        telemetry_testkit::eventually("the rows are purged", telemetry_testkit::DEADLINE, || {
            let status = machine.status(uid);
            (booked(&status, "queued") == 0).then(|| booked(&status, "purged"))
        })
    };
    assert_eq!((purged(&machine, ANN), purged(&machine, BEN)), (3, 2));
    assert_eq!(machine.endpoint.requests().len(), 0, "nothing was sent");
    let explained = &machine.list(ANN, &consent("explain"))[0];
    assert_eq!(
        (&explained["verdict"], &explained["by"]),
        (&json!("deny"), &json!("machine"))
    );
    // And while no daemon runs.
    fs::remove_file(&policy).unwrap();
    machine.queue(ANN, [event(21)]);
    machine.queue(BEN, [event(31)]);
    machine.daemon.kill9();
    machine.home.write(&policy, elsewhere);
    machine.daemon.restart();
    assert_eq!((purged(&machine, ANN), purged(&machine, BEN)), (4, 3));
    assert_eq!(machine.endpoint.requests().len(), 0, "nothing was sent");
    // Where the address is among those that are allowed, everybody's go.
    let ours = machine.endpoint.url();
    machine
        .home
        .write(&policy, format!("[destinations]\nallow = [\"{ours}\"]\n"));
    machine.queue(ANN, [event(22)]);
    machine.queue(BEN, [event(32)]);
    let all = json!({"op": "flush", "wait": true, "timeout_ms": 20_000, "all_users": true});
    assert_eq!(machine.ask(ROOT, &all)["left"], 0);
    machine
        .endpoint
        .wait_for_ids([crate::stage::id(22), crate::stage::id(32)]);
}

#[test]
fn a_receipt_counts_the_requests_of_its_own_user() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.endpoint.play(Script::new().then(Step::hang_for_ever()));
    machine.queue(ANN, (1..4).map(event));
    machine.ask(ANN, &json!({"op": "flush"}));
    machine.endpoint.wait_for_requests(1);
    assert_eq!(machine.ask(BEN, &consent("deny"))["cancelled"], 0);
    let hers = machine.ask(ANN, &consent("deny"));
    assert_eq!(
        (&hers["cancelled"], &hers["purged"]),
        (&json!(1), &json!(3)),
        "{hers}"
    );
    let cancelled = |uid: u32, all: bool| {
        let status = machine.ask(uid, &json!({"op": "status", "all_users": all}));
        status["daemon"]["cancelled"].clone()
    };
    assert_eq!(
        (cancelled(ANN, false), cancelled(BEN, false)),
        (json!(1), json!(0))
    );
    assert_eq!(cancelled(ROOT, true), 1);
}

#[test]
fn root_sees_everybodys_consent_and_changes_nobodys() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.queue(BEN, [event(11)]);
    machine.ask(ANN, &consent("deny"));
    let of = |action: &str| json!({"op": "consent", "action": action, "tool": TOOL, "all_users": true});
    let shown = machine.list(ROOT, &of("show"));
    let verdict = |uid: u32| {
        let line = shown.iter().find(|line| line["uid"] == uid);
        line.map(|line| line["verdict"].clone())
    };
    assert_eq!(verdict(ANN), Some(json!("deny")), "{shown:?}");
    assert_eq!(verdict(BEN), Some(json!("allow")), "{shown:?}");
    let log = machine.list(ROOT, &of("log"));
    assert!(log.iter().any(|line| line["uid"] == ANN), "{log:?}");
    for request in [
        of("show"),
        of("log"),
        json!({"op": "tools", "all_users": true}),
        json!({"op": "config", "all_users": true}),
    ] {
        let refused = machine.ask(ANN, &request);
        assert_eq!(refused["error"], "not_allowed", "{request}: {refused}");
        let first = machine.ask(ROOT, &request);
        assert_ne!(first["ok"], false, "{request}: {first}");
    }
    for uid in [ANN, ROOT] {
        assert_eq!(machine.ask(uid, &of("deny"))["error"], "not_allowed");
    }
    assert_eq!(booked(&machine.status(BEN), "queued"), 1);
}

#[test]
fn a_notice_that_one_user_saw_was_not_shown_to_another() {
    let Some(mut machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.home.write(
        machine.home.config_dir().join("tools.d/frank.toml"),
        "name = \"frank\"\nevents = \"any\"\nconsent = \"opt-out\"\nnotice = \"We count.\"\nnotice_required = true\n",
    );
    assert_eq!(machine.ask(ROOT, &json!({"op": "reload"}))["ok"], true);
    let event = json!({"tool": "frank", "event": "ran"});
    assert_eq!(machine.ask(ANN, &event)["by"], "notice");
    let noticed = json!({"op": "consent", "action": "noticed", "tool": "frank"});
    assert_eq!(machine.ask(ANN, &noticed)["status"], "noticed");
    for _ in 0..2 {
        assert_eq!(machine.ask(ANN, &event)["status"], "queued");
        assert_eq!(machine.ask(BEN, &event)["by"], "notice");
        machine.daemon.restart();
    }
}
