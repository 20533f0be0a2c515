//! Changing one's mind, with a daemon and without: the file, the receipt, and what holds afterwards.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::world::{Reply, World, line};

#[test]
fn without_a_daemon_the_file_is_written_and_nothing_else_in_it_is_lost() {
    let world = World::new();
    world.manifest("kedro", "opt-out");
    world.write("config/consent.toml", "# mine\n[tools]\ndlt = true # yes\n");
    let ended = world.run(&["opt-out", "--tool", "kedro"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.starts_with("kedro: off, by user: "), "{}", ended.out);
    let text = world.read("config/consent.toml");
    assert_eq!(text, "# mine\n[tools]\ndlt = true # yes\nkedro = false\n");
    let mode = std::fs::metadata(world.path("config/consent.toml"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        std::fs::read_dir(world.path("config")).unwrap().count(),
        1,
        "no temporary file is left"
    );

    assert!(
        world
            .run(&["opt-in", "--tool", "kedro"])
            .out
            .starts_with("kedro: on, by user: ")
    );
    assert!(
        world
            .run(&["consent", "reset", "--tool", "kedro"])
            .out
            .starts_with("kedro: on, by default: ")
    );
    assert_eq!(
        world.read("config/consent.toml"),
        "# mine\n[tools]\ndlt = true # yes\n"
    );
}

#[test]
fn the_receipt_has_its_four_keys() {
    let world = World::new();
    let receipt = world.run(&["opt-out", "--json"]).value();
    let file = world.path("config/consent.toml").display().to_string();
    assert_eq!(
        receipt,
        json!({"purged":0,"cancelled":0,"reached":[file],"not_reached":[]})
    );
    assert_eq!(world.read("config/consent.toml"), "telemetry = false\n");
}

#[test]
fn allowing_a_tool_under_a_general_no_says_that_it_stays_off() {
    let world = World::new();
    world.write("config/consent.toml", "telemetry = false\n");
    let ended = world.run(&["opt-in", "--tool", "kedro"]);
    assert_eq!(ended.code, 0);
    assert!(
        ended.out.starts_with("kedro: stays off, by user: "),
        "{}",
        ended.out
    );
    assert!(ended.out.contains("(telemetry = false)"), "{}", ended.out);
    world.write("machine/opt-out", "");
    assert!(
        world
            .run(&["opt-in"])
            .out
            .starts_with("telemetry stays off, by machine: ")
    );
}

#[test]
fn a_file_with_a_mistake_in_it_is_not_overwritten() {
    let world = World::new();
    world.write("config/consent.toml", "tele metry\n");
    let ended = world.run(&["opt-out"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    assert!(
        ended.err.contains("cannot change") && ended.err.contains("not TOML"),
        "{}",
        ended.err
    );
    assert_eq!(world.read("config/consent.toml"), "tele metry\n");
}

#[test]
fn a_queue_without_a_daemon_is_purged_by_the_daemons_program() {
    let world = World::new().telemetryd(r#"[ "$1" = --purge ] && echo '{"purged":12,"sent_bodies":3}'"#);
    world.write("state/queue.db", "");
    let receipt = world.run(&["opt-out", "--json"]).value();
    assert_eq!(receipt["purged"], 12);
    let world = World::new();
    world.write("state/queue.db", "");
    let ended = world.run(&["opt-out", "--json"]);
    assert_eq!(ended.code, 0, "an opt-out never depends on a program");
    assert!(
        ended.value()["not_reached"][0]
            .as_str()
            .unwrap()
            .contains("cannot start"),
        "{}",
        ended.out
    );
}

#[test]
fn a_daemon_is_told_and_its_receipt_is_shown() {
    let world = World::new();
    let daemon = world.daemon(|request| match request["op"].as_str() {
        Some("consent") if request["action"] == "deny" => {
            line(r#"{"ok":true,"purged":12,"cancelled":1,"reached":["/s"],"not_reached":[]}"#)
        }
        _ => line(r#"{"ok":true,"status":"end","count":0}"#),
    });
    let ended = world.run(&["opt-out", "--tool", "kedro"]);
    assert!(
        ended
            .out
            .contains("erased: 12 queued events; cancelled: 1 request\n"),
        "{}",
        ended.out
    );
    assert_eq!(
        daemon.next(),
        json!({"op":"consent","action":"deny","tool":"kedro"})
    );
    // This daemon has not written our file (it may have another): then it is written here.
    assert_eq!(world.read("config/consent.toml"), "[tools]\nkedro = false\n");
}

#[test]
fn an_opt_out_holds_even_where_the_daemon_fails() {
    let world = World::new();
    let _daemon = world.daemon(|_| Reply::HangUp);
    let ended = world.run(&["opt-out", "--json"]);
    assert_eq!(ended.code, 0);
    assert!(
        ended.value()["not_reached"][0]
            .as_str()
            .unwrap()
            .contains("did not answer"),
        "{}",
        ended.out
    );
    assert_eq!(world.read("config/consent.toml"), "telemetry = false\n");
}

#[test]
fn the_admins_switch_is_a_file_and_the_daemon_is_told_to_look() {
    let world = World::new();
    let daemon = world.daemon(|_| line(r#"{"ok":true,"status":"reloaded"}"#));
    let ended = world.run(&["opt-out", "--system"]);
    assert!(
        ended
            .out
            .starts_with("telemetry is off for every tool, by machine: "),
        "{}",
        ended.out
    );
    let said = daemon.all();
    assert!(said.contains(&json!({"op":"reload"})), "{said:?}");
    assert!(world.path("machine/opt-out").exists() && !world.path("config/consent.toml").exists());
    assert_eq!(world.run(&["opt-in", "--system"]).code, 0);
    assert!(!world.path("machine/opt-out").exists());
    assert_eq!(world.run(&["opt-out", "--system", "--tool", "dlt"]).code, 0);
    assert!(world.path("machine/opt-out.d/dlt").exists());
    assert_eq!(world.run(&["opt-in", "--system", "--tool", "dlt"]).code, 0);
    assert!(!world.path("machine/opt-out.d/dlt").exists());
}
