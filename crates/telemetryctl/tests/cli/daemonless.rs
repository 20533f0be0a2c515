//! What needs no daemon: consent, the configuration through the daemon's program, completions, the manual.

use serde_json::{Value, json};

use crate::world::{Reply, World};

#[test]
fn status_without_a_daemon_shows_consent_and_is_3() {
    let world = World::new();
    world.manifest("kedro", "opt-out");
    world.manifest("dlt", "opt-in");
    let ended = world.run(&["status", "--json"]);
    assert_eq!(ended.code, 3);
    let status = ended.value();
    for key in ["daemon", "queue", "destinations", "books"] {
        assert_eq!(status[key], Value::Null, "{key}");
    }
    assert_eq!(
        status["telemetry"],
        json!({"verdict":"allow","by":null,"source":null})
    );
    let tools = status["tools"].as_array().unwrap();
    assert_eq!(
        (&tools[0]["tool"], &tools[0]["verdict"]),
        (&json!("dlt"), &json!("deny"))
    );
    assert_eq!(
        (&tools[1]["tool"], &tools[1]["verdict"]),
        (&json!("kedro"), &json!("allow"))
    );
    let screen = world.run(&["status"]);
    assert!(screen.out.contains("kedro") && screen.err.contains("cannot reach telemetryd"));
}

#[test]
fn explain_names_every_layer_and_the_one_that_decides() {
    let world = World::new();
    world.manifest("kedro", "opt-out");
    world.write("config/consent.toml", "# mine\n[tools]\nkedro = false\n");
    let value = world
        .run(&["consent", "explain", "--tool", "kedro", "--json"])
        .value();
    assert_eq!(
        (&value["tool"], &value["verdict"], &value["by"]),
        (&json!("kedro"), &json!("deny"), &json!("user"))
    );
    let chain = value["chain"].as_array().unwrap();
    let layers: Vec<&str> = chain.iter().map(|link| link["layer"].as_str().unwrap()).collect();
    assert_eq!(layers, ["machine", "environment", "user", "default"]);
    let decider: Vec<&Value> = chain.iter().filter(|link| link["decides"] == true).collect();
    assert_eq!(
        (decider.len(), &decider[0]["line"], &decider[0]["verdict"]),
        (1, &json!(3), &json!("deny"))
    );
    for link in chain {
        let keys: Vec<&String> = link.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["decides", "detail", "layer", "line", "source", "verdict"]);
    }
    let text = world.run(&["consent", "explain", "--tool", "kedro"]).out;
    assert!(text.starts_with("kedro: off\n  machine "), "{text}");
    assert_eq!(text.matches("<- decides").count(), 1);
    assert!(
        text.contains("consent.toml:3  kedro = false        <- decides"),
        "{text}"
    );
}

#[test]
fn a_tool_that_nobody_knows_is_off() {
    let world = World::new();
    let value = world
        .run(&["consent", "show", "--tool", "other", "--json"])
        .value();
    assert_eq!(
        value,
        json!({"tool":"other","verdict":"deny","by":"default","source":"no manifest"})
    );
    assert_eq!(world.run(&["consent", "show"]).code, 0);
}

#[test]
fn the_configuration_is_checked_and_shown_by_the_daemons_program() {
    let script = r#"case "$*" in
--check-config) echo "error: /c.toml:1: bad" >&2; exit 78 ;;
"--show-config --json") echo '{"key":"queue.max_age","value":"30d","origin":"default","line":null}' ;;
--show-config) echo 'queue.max_age = "30d"  # default' ;;
*) exit 9 ;;
esac"#;
    let world = World::new().telemetryd(script);
    let check = world.run(&["config", "check"]);
    assert_eq!((check.code, check.err.as_str()), (78, "error: /c.toml:1: bad\n"));
    assert_eq!(
        world.run(&["config", "show"]).out,
        "queue.max_age = \"30d\"  # default\n"
    );
    assert_eq!(
        world.run(&["config", "show", "--json"]).value()["key"],
        "queue.max_age"
    );
    let without = World::new().run(&["config", "show"]);
    assert_eq!(without.code, 1);
    assert!(
        without.err.contains("cannot start") && without.err.contains("TELEMETRYD_BIN"),
        "{}",
        without.err
    );
}

#[test]
fn the_sample_is_the_file_that_a_test_of_the_daemon_holds_to_its_code() {
    let sample = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../config/telemetryd.toml"
    ))
    .unwrap();
    assert_eq!(World::new().run(&["config", "default"]).out, sample);
}

#[test]
fn completions_and_the_manual_are_made_from_the_commands() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.run(&["completions", shell]);
        assert_eq!(script.code, 0);
        assert!(script.out.contains("next-batch"), "{shell}");
    }
    let page = world.run(&["man"]).out;
    assert!(
        page.contains(".TH telemetryctl 1") && page.contains("77 not permitted"),
        "{page}"
    );
    std::fs::create_dir(world.path("man")).unwrap();
    assert_eq!(world.run(&["man", "--dir", "man"]).code, 0);
    assert!(world.path("man/telemetryctl-queue-purge.1").exists());
}

#[test]
fn a_daemon_that_hangs_does_not_keep_consent_from_being_explained() {
    let world = World::new();
    world.manifest("kedro", "opt-out");
    world.manifest("dlt", "opt-in");
    let _daemon = world.daemon(|_| Reply::Silence);
    let values = world.run(&["consent", "show", "--json"]).values();
    assert_eq!(values.len(), 2);
    assert_eq!(values[1]["verdict"], "allow");
}
