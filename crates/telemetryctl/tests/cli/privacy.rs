//! What a person or an auditor asks about privacy: exit codes and shapes, with a daemon and without.

use serde_json::json;

use crate::world::{Reply, World, line};

#[test]
fn asking_without_a_terminal_records_nothing_and_says_so() {
    let world = World::new();
    world.write_kedros_manifest();
    for save in ["user", "project"] {
        let ended = world.run(&[
            "consent", "ask", "--tool", "kedro", "--save", save, "--text", "May we?",
        ]);
        assert_eq!(ended.code, 0, "{}", ended.err);
        assert_eq!(
            ended.err,
            "there is no terminal: nothing was asked and nothing recorded\n"
        );
        let asked = world
            .run(&["consent", "ask", "--tool", "kedro", "--save", save, "--json"])
            .value();
        assert_eq!(
            (
                &asked["asked"],
                &asked["answer"],
                &asked["saved"],
                &asked["verdict"]
            ),
            (&json!(false), &json!(null), &json!(null), &json!("allow"))
        );
    }
    assert!(!world.path("config/consent.toml").exists() && !world.path(".telemetry").exists());
    assert_eq!(std::fs::read_dir(world.path("state")).unwrap().count(), 0);
    // Where an answer would change nothing, that is the reason.
    world.write("machine/opt-out", "");
    let ended = world.run(&["consent", "ask", "--tool", "kedro"]);
    assert!(
        ended.err.starts_with("kedro is off, by machine: "),
        "{}",
        ended.err
    );
    // A tool that has no file in a project cannot keep its answer there.
    let ended = world.run(&["consent", "ask", "--tool", "dlt", "--save", "project"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
}

#[test]
fn an_audit_ends_with_1_if_anything_could_leave_and_needs_no_daemon() {
    let world = World::new();
    let audit = |world: &World| {
        let ended = world.run(&["audit", "--json"]);
        let audit = ended.value();
        assert_eq!(audit["could_leave"], json!(ended.code == 1), "{audit}");
        assert_eq!(audit["left"], json!(null), "no daemon says what left");
        (ended.code, audit)
    };
    assert_eq!(audit(&world).0, 0, "nothing is declared");
    world.write_kedros_manifest();
    let (code, told) = audit(&world);
    assert_eq!(code, 1);
    let tool = &told["tools"][0];
    assert_eq!(
        (
            &tool["tool"],
            &tool["verdict"],
            &tool["by"],
            &tool["consent"],
            &tool["origin"]
        ),
        (
            &json!("kedro"),
            &json!("allow"),
            &json!("default"),
            &json!("opt-out"),
            &json!("user")
        )
    );
    // What one shell or one project says is not everybody's.
    world.write(".telemetry", "consent: false\n");
    assert_eq!(audit(&world).0, 1);
    let shell = World::new().with("DO_NOT_TRACK", "1");
    shell.write_kedros_manifest();
    assert_eq!(audit(&shell).0, 1);
    world.write("config/consent.toml", "[tools]\nkedro = false\n");
    assert_eq!(audit(&world).0, 0);
    world.write("config/consent.toml", "");
    world.write("machine/opt-out", "");
    let (code, told) = audit(&world);
    assert_eq!((code, &told["telemetry"]["by"]), (0, &json!("machine")));
    let human = world.run(&["audit"]);
    assert!(human.out.starts_with("nothing can leave\n"), "{}", human.out);
    assert!(human.out.contains("no daemon answers"), "{}", human.out);
}

#[test]
fn an_audit_tells_what_left_in_the_last_days() {
    let world = World::new();
    let daemon = world.daemon(|request| match request["op"].as_str() {
        Some("sent") => Reply::Lines(
            [
                r#"{"batch_id":"a","destination":"default","at":"2000-01-01T00:00:00Z","tools":{"kedro":9}}"#,
                r#"{"batch_id":"b","destination":"default","at":"2999-01-01T00:00:00Z","tools":{"kedro":3,"dlt":1}}"#,
                r#"{"ok":true,"status":"end","count":2}"#,
            ]
            .map(str::to_owned)
            .to_vec(),
        ),
        _ => line(r#"{"ok":true,"status":"end","count":0}"#),
    });
    let audit = world.run(&["audit", "--json", "--days", "30"]).value();
    let left = audit["left"].as_array().unwrap();
    assert_eq!(left.len(), 2, "{audit}");
    assert_eq!(
        (&left[1]["tool"], &left[1]["events"]),
        (&json!("kedro"), &json!(3))
    );
    drop(daemon);
}

#[test]
fn what_needs_a_daemon_says_so_with_3() {
    let world = World::new();
    for command in [&["identity"][..], &["forget"], &["forget", "--tool", "kedro"]] {
        assert_eq!(world.run(command).code, 3, "{command:?}");
    }
}

#[test]
fn forgetting_shows_the_ids_and_whom_to_write_to_before_anything_is_erased() {
    let world = World::new();
    let daemon = world.daemon(|request| match request["op"].as_str() {
        Some("identity") => Reply::Lines(vec![
            r#"{"tool":"kedro","anonymous_id":"0199aaaa-0000-7000-8000-000000000001"}"#.to_owned(),
            r#"{"ok":true,"status":"end","count":1}"#.to_owned(),
        ]),
        Some("tools") => line(r#"{"ok":true,"tool":"kedro","privacy":{"contact":"privacy@example.org"}}"#),
        _ => line(
            r#"{"ok":true,"status":"forgotten","purged":3,"sent":2,"sent_bodies":2,"identities":1,"cancelled":0,"reached":["/s"],"not_reached":[]}"#,
        ),
    });
    let ended = world.run(&["forget", "--tool", "kedro"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(
        ended.out,
        "kedro\n  anonymous_id   0199aaaa-0000-7000-8000-000000000001\n\
         about what kedro has sent, write to privacy@example.org\n\
         erased: 3 queued events, 2 entries of the log of what was sent, 1 identity\n"
    );
    let ops: Vec<String> = daemon
        .all()
        .iter()
        .map(|r| r["op"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ops, ["identity", "tools", "forget"]);
    let receipt = world.run(&["forget", "--tool", "kedro", "--json"]).value();
    assert_eq!(
        (
            &receipt["purged"],
            &receipt["contacts"]["kedro"],
            &receipt["not_reached"]
        ),
        (&json!(3), &json!("privacy@example.org"), &json!([]))
    );
}

#[test]
fn the_log_is_shown_with_a_daemon_and_without() {
    let world = World::new();
    assert_eq!(world.run(&["consent", "log"]).err, "nothing has changed yet\n");
    let change = r#"{"at":"2026-11-22T00:00:00.000Z","tool":"kedro","verdict":"deny","by":"user","source":"/c","how":"command"}"#;
    let erased = r#"{"at":"2026-11-22T00:00:00.100Z","tool":"kedro","erased":4,"sent_bodies":1}"#;
    world.write("state/consent-log.ndjson", &format!("{change}\n{erased}\n"));
    let log = world.run(&["consent", "log", "--json"]).value();
    assert_eq!(
        (&log["purged"], &log["sent_bodies"], &log["how"]),
        (&json!(4), &json!(1), &json!("command"))
    );
    assert!(
        world
            .run(&["consent", "log", "--tool", "dlt", "--json"])
            .out
            .is_empty()
    );
    let daemon = world.daemon(|_| {
        Reply::Lines(vec![
            r#"{"at":"2026-11-22T00:00:00.000Z","tool":null,"verdict":"allow","by":"machine","source":"/o","how":"file","purged":0,"sent_bodies":0}"#.to_owned(),
            r#"{"ok":true,"status":"end","count":1}"#.to_owned(),
        ])
    });
    let shown = world.run(&["consent", "log", "--last", "1"]);
    assert!(
        shown.out.contains("2026-11-22 00:00:00Z  all   on"),
        "{}",
        shown.out
    );
    assert_eq!(
        daemon.next(),
        json!({"op":"consent","action":"log","tool":null,"limit":1})
    );
}

#[test]
fn an_export_without_a_daemon_has_consent_and_what_the_daemons_program_reads() {
    let world = World::new().telemetryd(r#"[ "$1 $2" = "--export -" ] && echo '{"id":"x"}'"#);
    world.write_kedros_manifest();
    let values = world.run(&["export"]).values();
    assert_eq!(
        (&values[0]["kind"], &values[0]["tool"]),
        (&json!("consent"), &json!("kedro"))
    );
    assert_eq!(values[1], json!({"id": "x"}));
}

#[test]
fn what_a_variable_leaves_in_the_queue_is_told() {
    let world = World::new().with("DO_NOT_TRACK", "1");
    world.write_kedros_manifest();
    let _daemon = world.daemon(|request| match request["op"].as_str() {
        Some("status") => line(
            r#"{"ok":true,"daemon":{"version":"x","mode":"user"},"tools":[{"tool":"kedro","verdict":"allow","queued":12}]}"#,
        ),
        _ => line(r#"{"ok":true,"status":"end","count":0}"#),
    });
    let sentence = "12 earlier events are still queued; 'telemetryctl opt-out --tool kedro' removes them";
    let explained = world.run(&["consent", "explain", "--tool", "kedro"]);
    assert!(explained.out.contains(sentence), "{}", explained.out);
    let value = world
        .run(&["consent", "explain", "--tool", "kedro", "--json"])
        .value();
    assert_eq!(value["still_queued"], 12);
    let status = world.run(&["status"]);
    assert!(status.out.contains(sentence), "{}", status.out);
}
