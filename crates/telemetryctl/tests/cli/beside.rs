//! What a client says beside its events: a project's denial, a denial that only it can see, a notice.

use serde_json::{Value, json};

use crate::world::{Reply, World, line};

/// A daemon of that mode that takes everything.
fn daemon_of(mode: &'static str) -> impl Fn(&Value) -> Reply + Send + Sync + Clone + 'static {
    move |request| match request["op"].as_str() {
        Some("hello") => line(&format!(r#"{{"ok":true,"protocol":1,"mode":"{mode}"}}"#)),
        Some(_) => line(r#"{"ok":true,"status":"purged","purged":1}"#),
        None => line(r#"{"ok":true,"status":"queued"}"#),
    }
}

#[test]
fn a_users_own_denial_is_told_once_to_a_daemon_that_cannot_see_it() {
    let world = World::new();
    world.write("config/consent.toml", "telemetry = false\n");
    let daemon = world.daemon(daemon_of("system"));
    for _ in 0..3 {
        assert_eq!(world.run(&["send", "kedro", "ran", "--strict"]).code, 4);
    }
    let said = daemon.all();
    let ops: Vec<&str> = said.iter().filter_map(|r| r["op"].as_str()).collect();
    assert_eq!(ops, ["hello", "consent"], "told once: {said:?}");
    assert_eq!(said[1], json!({"op": "consent", "action": "deny", "tool": null}));
    // Another state of the file is told again.
    world.write("config/consent.toml", "[tools]\nkedro = false\n");
    world.run(&["send", "kedro", "ran"]);
    assert_eq!(
        daemon.all().last(),
        Some(&json!({"op": "consent", "action": "deny", "tool": "kedro"}))
    );
}

#[test]
fn a_users_own_daemon_reads_the_file_itself() {
    let world = World::new();
    world.write("config/consent.toml", "telemetry = false\n");
    let daemon = world.daemon(daemon_of("user"));
    world.run(&["send", "kedro", "ran"]);
    let said = daemon.all();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0]["op"], "hello");
    assert_eq!(std::fs::read_dir(world.path("state")).unwrap().count(), 0);
}

#[test]
fn a_projects_denial_is_one_line_and_its_events_say_whose_they_are() {
    let world = World::new();
    world.write_kedros_manifest();
    std::fs::create_dir_all(world.path("p/src")).unwrap();
    let daemon = world.daemon(daemon_of("user"));
    let src = world.path("p/src").display().to_string();
    let root = world.path("p").canonicalize().unwrap().display().to_string();
    world.run(&["send", "kedro", "ran", "--project", &src]);
    let event = daemon.next();
    assert!(event["project"].as_str().unwrap().ends_with("/p/src"), "{event}");
    world.write("p/.telemetry", "consent: true\n");
    world.run(&["send", "kedro", "ran", "--project", &src]);
    assert_eq!(daemon.next()["project"], json!(root));
    world.write("p/.telemetry", "consent: false\n");
    let lines = b"{}\n{}\n{}\n";
    let ended = world.run_with(
        &["send", "kedro", "ran", "--stdin", "--strict", "--project", &src],
        lines,
    );
    assert_eq!(ended.code, 4);
    let said = daemon.all();
    let projects: Vec<&str> = said.iter().filter_map(|r| r["project"].as_str()).collect();
    assert_eq!((said.len(), projects[0]), (2, root.as_str()), "{said:?}");
    assert!(projects[1].ends_with("/p/src"));
    assert!(
        said.iter().all(|r| r["action"] == "deny" && r["tool"] == "kedro"),
        "{said:?}"
    );
    // Of a tool that knows no projects nothing is said.
    world.manifest("dlt", "opt-out");
    world.run(&["send", "dlt", "ran", "--project", &src]);
    assert_eq!(daemon.next().get("project"), None);
}

#[test]
fn a_notice_that_the_marker_knows_is_told_to_the_daemon_and_the_event_goes_once_more() {
    let world = World::new();
    std::fs::create_dir_all(world.path("data/telemetryd/tools.d")).unwrap();
    let manifest = "name = \"kedro\"\nevents = \"any\"\nconsent = \"opt-out\"\nnotice = \"We count.\"\nnotice_required = true\n";
    world.write("data/telemetryd/tools.d/kedro.toml", manifest);
    let noticed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let daemon = world.daemon({
        let noticed = std::sync::Arc::clone(&noticed);
        move |request| {
            use std::sync::atomic::Ordering::SeqCst;
            if request["action"] == "noticed" {
                noticed.store(true, SeqCst);
                return line(r#"{"ok":true,"status":"noticed"}"#);
            }
            match noticed.load(SeqCst) {
                true => line(r#"{"ok":true,"status":"queued"}"#),
                false => line(
                    &json!({"ok":true,"status":"declined","by":"notice","source":"m","id":request["id"]})
                        .to_string(),
                ),
            }
        }
    });
    // Not shown yet, and nobody watches: the daemon declines, and nothing is claimed.
    assert_eq!(world.run(&["send", "kedro", "ran", "--strict"]).code, 4);
    assert_eq!(daemon.all().len(), 1);
    std::fs::create_dir(world.path("state/noticed")).unwrap();
    world.write("state/noticed/kedro", manifest);
    assert_eq!(world.run(&["send", "kedro", "ran", "--strict"]).code, 0);
    let said = daemon.all();
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(
        (said[1]["action"].as_str(), &said[0]["id"]),
        (Some("noticed"), &said[2]["id"])
    );
}
