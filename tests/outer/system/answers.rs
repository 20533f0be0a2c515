//! Every answer is about the caller's own rows; root may ask for all; what touches everybody is root's.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{ANN, BEN, Machine, ROOT, ids};
use crate::stage::{SOON, TOLD, booked, event, id};

/// What each of the two sees of itself, and root of both.
fn each_sees_itself(machine: &Machine) {
    for (uid, own, others) in [(ANN, 1..4, 11..13), (BEN, 11..13, 1..4)] {
        let list = json!({"op": "queue", "action": "list"});
        let own: Vec<String> = own.map(id).collect();
        assert_eq!(ids(&machine.list(uid, &list)), own);
        let status = machine.status(uid);
        assert_eq!(status["daemon"]["mode"], "system");
        assert_eq!(status["queue"]["events"], own.len());
        assert_eq!(status["destinations"][0]["queued"], own.len());
        assert_eq!(booked(&status, "queued"), own.len() as u64);
        assert!(status["queue"]["bytes"].as_u64().unwrap() > 0);
        let metrics = machine.ask(uid, &json!({"op": "metrics"}));
        let text = metrics["text"].as_str().unwrap();
        assert!(text.contains(&format!("uid=\"{uid}\"")), "{text}");
        assert!(
            !text.contains(&format!("uid=\"{}\"", if uid == ANN { BEN } else { ANN })),
            "{text}"
        );
        assert!(!text.contains("telemetryd_connections"), "{text}");
        for other in others {
            let show = json!({"op": "queue", "action": "show", "id": id(other)});
            assert!(machine.list(uid, &show).is_empty());
        }
        let next = machine.list(uid, &json!({"op": "queue", "action": "next_batch"}));
        assert_eq!(next[0]["events"], own.len());
        let doctor = machine.ask(uid, &json!({"op": "doctor"}));
        let books = doctor["checks"].as_array().unwrap();
        assert_eq!(books[0]["detail"], "1 balance", "{doctor}");
    }
    let all = json!({"op": "queue", "action": "list", "all_users": true});
    let rows = machine.list(ROOT, &all);
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().any(|row| row["uid"] == ANN) && rows.iter().any(|row| row["uid"] == BEN));
    assert!(
        machine
            .list(ROOT, &json!({"op": "queue", "action": "list"}))
            .is_empty()
    );
    let status = machine.ask(ROOT, &json!({"op": "status", "all_users": true}));
    assert_eq!(status["queue"]["events"], 5);
    assert_eq!(status["books"].as_array().unwrap().len(), 2);
}

#[test]
fn each_user_is_answered_about_itself_and_root_about_all() {
    let Some(mut machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.queue(ANN, (1..4).map(event));
    machine.queue(BEN, (11..13).map(event));
    each_sees_itself(&machine);
    machine.daemon.restart();
    each_sees_itself(&machine);
}

#[test]
fn what_touches_everybody_is_roots() {
    let Some(mut machine) = Machine::start(TOLD, "") else {
        return;
    };
    for op in ["stop", "reload", "pause", "resume"] {
        let refused = machine.ask(ANN, &json!({"op": op}));
        assert_eq!(refused["error"], "not_allowed", "{refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(message.starts_with(op) && message.contains("root's"), "{message}");
    }
    for op in ["status", "metrics", "doctor", "sent", "tail", "flush"] {
        let refused = machine.ask(ANN, &json!({"op": op, "all_users": true}));
        assert_eq!(refused["error"], "not_allowed", "{op}: {refused}");
        assert!(refused["message"].as_str().unwrap().contains("all_users"));
    }
    for action in ["list", "parked", "purge", "requeue", "next_batch"] {
        let refused = machine.ask(ANN, &json!({"op": "queue", "action": action, "all_users": true}));
        assert_eq!(refused["error"], "not_allowed", "{action}: {refused}");
    }
    for uid in [ANN, ROOT] {
        let manifest = "name = \"theirs\"\nevents = \"any\"\n";
        let refused = machine.ask(uid, &json!({"op": "register", "manifest": manifest}));
        assert_eq!(refused["error"], "not_allowed", "{refused}");
    }
    machine.queue(ANN, [event(1)]);
    for op in ["pause", "resume", "reload"] {
        assert_eq!(machine.ask(ROOT, &json!({"op": op}))["ok"], true, "{op}");
    }
    assert_eq!(
        machine.ask(ROOT, &json!({"op": "stop", "drain_ms": 0}))["ok"],
        true
    );
    machine.daemon.wait(telemetry_testkit::DEADLINE).expect_code(0);
}

#[test]
fn a_flush_sends_the_callers_rows_and_waits_for_them_alone() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.queue(ANN, (1..600).map(event));
    // A full batch of hers has gone by itself.
    machine.endpoint.wait_for_ids((1..501).map(id));
    machine.queue(BEN, (1001..1004).map(event));
    let flush = json!({"op": "flush", "wait": true, "timeout_ms": 15_000});
    let flushed = machine.ask(BEN, &flush);
    assert_eq!(
        (&flushed["settled"], &flushed["left"]),
        (&json!(3), &json!(0)),
        "{flushed}"
    );
    machine.endpoint.wait_for_ids((1001..1004).map(id));
    assert_eq!(booked(&machine.status(ANN), "queued"), 99, "her rows wait on");
    let flushed = machine.ask(ANN, &flush);
    assert_eq!(flushed["left"], 0, "{flushed}");
    machine.endpoint.wait_for_ids((1..600).chain(1001..1004).map(id));
    // Rows that come later were not asked for.
    machine.queue(ANN, [event(700)]);
    machine.queue(BEN, [event(1700)]);
    assert_eq!(
        machine.ask(
            ROOT,
            &json!({"op": "flush", "all_users": true, "wait": true, "timeout_ms": 15_000})
        )["left"],
        0
    );
    machine.endpoint.wait_for_ids([id(700), id(1700)]);
}

#[test]
fn nobody_purges_or_requeues_what_is_anothers() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.queue(ANN, (1..4).map(event));
    machine.queue(BEN, (11..13).map(event));
    let purged = machine.ask(BEN, &json!({"op": "queue", "action": "purge", "id": id(1)}));
    assert_eq!(purged["purged"], 0, "{purged}");
    assert_eq!(
        machine.ask(BEN, &json!({"op": "queue", "action": "requeue"}))["requeued"],
        0
    );
    let purged = machine.ask(BEN, &json!({"op": "queue", "action": "purge"}));
    assert_eq!(purged["purged"], 2, "{purged}");
    assert_eq!(booked(&machine.status(ANN), "queued"), 3);
    assert_eq!(booked(&machine.status(BEN), "purged"), 2);
    let purged = machine.ask(
        ROOT,
        &json!({"op": "queue", "action": "purge", "all_users": true}),
    );
    assert_eq!(purged["purged"], 3, "{purged}");
}

#[test]
fn what_was_sent_and_what_happens_now_is_shown_to_its_own_user() {
    let Some(machine) = Machine::start(SOON, "") else {
        return;
    };
    let mut watching = machine.connect(BEN);
    watching.send(&json!({"op": "tail"}));
    let mut all = machine.connect(ROOT);
    all.send(&json!({"op": "tail", "all_users": true}));
    // The watchers are there when they have been answered about something later on the same connection; a tail
    // answers nothing of its own, so an event of each tells.
    telemetry_testkit::eventually("both watch", telemetry_testkit::DEADLINE, || {
        machine.ask(BEN, &json!({"tool": crate::stage::TOOL, "event": "ready"}));
        let heard = |tool: &mut telemetry_testkit::Tool| {
            matches!(
                tool.hear(std::time::Duration::from_millis(50)),
                telemetry_testkit::Heard::Line(_)
            )
        };
        (heard(&mut watching) && heard(&mut all)).then_some(())
    });
    machine.queue(ANN, [event(1)]);
    machine.queue(BEN, [event(2)]);
    machine.endpoint.wait_for_ids([id(1), id(2)]);
    let heard_of = |tool: &mut telemetry_testkit::Tool, wanted: &[String]| {
        let mut missing: Vec<&String> = wanted.iter().collect();
        let mut lines: Vec<Value> = Vec::new();
        while !missing.is_empty() {
            let line = tool.answer();
            missing.retain(|id| !(line["id"] == ***id && line["what"] == "delivered"));
            lines.push(line);
        }
        lines
    };
    let own = heard_of(&mut watching, &[id(2)]);
    assert!(own.iter().all(|line| line["id"] != id(1)), "{own:?}");
    heard_of(&mut all, &[id(1), id(2)]);
    let own = machine.list(ANN, &json!({"op": "sent", "bodies": true}));
    assert_eq!(own.len(), 1, "{own:?}");
    assert!(own[0]["body"].as_str().unwrap().contains(&id(1)));
    assert!(!own[0]["body"].as_str().unwrap().contains(&id(2)));
    let all = machine.list(ROOT, &json!({"op": "sent", "all_users": true}));
    assert!(all.iter().any(|batch| batch["uid"] == ANN) && all.iter().any(|batch| batch["uid"] == BEN));
    assert!(machine.list(ROOT, &json!({"op": "sent"})).is_empty());
}

#[test]
fn the_socket_is_everybodys_and_the_state_is_the_daemons_alone() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.queue(ANN, [event(1)]);
    machine.ask(ANN, &json!({"op": "consent", "action": "allow", "tool": "mine"}));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let socket = machine.home.socket();
    assert_eq!(mode(&socket), 0o666);
    assert_eq!(mode(socket.parent().unwrap()), 0o755);
    let state = machine.home.state_dir();
    for folder in [state.clone(), state.join("consent")] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for file in std::fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
        }
    }
    assert_eq!(mode(&state.join(format!("consent/{ANN}.toml"))), 0o600);
    assert_eq!(
        machine.ask(BEN, &json!({"op": "hello", "protocol": 1}))["mode"],
        "system"
    );
}
