//! What other tools get wrong about an opt-out, each as a test with its name that passes here; the admin's policies
//! at a running daemon; and a client that is told not to track, which touches nothing (I3).

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use telemetry_testkit::{Collector, Ctl, DEADLINE, Home, Running, eventually, telemetryctl};

use crate::stage::{Stage, TOLD, ask, booked, destination, status, waiting};

const KEDRO: &str = "name = \"kedro\"\nconsent = \"opt-out\"\nevents = \"any\"\n\
    opt_out_env = [\"KEDRO_DISABLE_TELEMETRY\", { name = \"GITHUB_REPOSITORY_OWNER\", equals = \"kedro-org\" }]\n\
    project_files = [{ path = \".telemetry\", format = \"yaml\", key = \"consent\" }]\n";
const DLT: &str = "name = \"dlt\"\nconsent = \"opt-out\"\nevents = \"any\"\n\
    opt_out_env = [{ name = \"RUNTIME__DLTHUB_TELEMETRY\", unless = [\"true\", \"1\"] }]\n\
    project_files = [{ path = \".dlt/config.toml\", format = \"toml\", key = \"runtime.dlthub_telemetry\" }]\n\
    user_files = [{ path = \"~/.dlt/config.toml\", format = \"toml\", key = \"runtime.dlthub_telemetry\" }]\n";
const EVIDENTLY: &str = "name = \"evidently\"\nconsent = \"opt-out\"\nevents = \"any\"\n\
    opt_out_env = [\"EVIDENTLY_DISABLE_TELEMETRY\", \"ITERATIVE_DO_NOT_TRACK\"]\n";

/// A daemon that sends when it is told to, an endpoint, and the three tools.
fn stage() -> Stage {
    let stage = Stage::new(telemetry_testkit::sink::Script::new(), TOLD);
    for (tool, manifest) in [("kedro", KEDRO), ("dlt", DLT), ("evidently", EVIDENTLY)] {
        stage.home.write_manifest(tool, manifest);
    }
    stage
}

fn project(home: &Home) -> PathBuf {
    home.home_dir().join("project")
}

/// Sends an event from the project; whether it was taken.
#[track_caller]
fn taken(home: &Home, tool: &str) -> bool {
    let project = project(home);
    std::fs::create_dir_all(&project).unwrap();
    let args = [
        "send",
        tool,
        "ran",
        "--strict",
        "--project",
        project.to_str().unwrap(),
    ];
    match Ctl::new(home).run(args).code {
        Some(0) => true,
        Some(4) => false,
        other => panic!("telemetryctl ended with {other:?}"),
    }
}

fn explained(home: &Home, tool: &str) -> Value {
    let project = project(home);
    let args = [
        "consent",
        "explain",
        "--tool",
        tool,
        "--json",
        "--project",
        project.to_str().unwrap(),
    ];
    serde_json::from_str(&Ctl::new(home).run(args).expect_code(0).stdout).unwrap()
}

#[test]
fn kedro_reads_the_string_false_as_yes_and_here_it_is_a_no() {
    let stage = stage();
    for text in [
        "consent: \"false\"\n",
        "consent: 0\n",
        "Consent: true\n",
        "consent:false\n",
        "[]\n",
        "",
    ] {
        stage.home.write(project(&stage.home).join(".telemetry"), text);
        assert!(!taken(&stage.home, "kedro"), "{text:?}");
        let said = explained(&stage.home, "kedro");
        assert_eq!(
            (&said["verdict"], &said["by"]),
            (&json!("deny"), &json!("project")),
            "{text:?}"
        );
    }
    stage
        .home
        .write(project(&stage.home).join(".telemetry"), "consent: true\n");
    assert!(taken(&stage.home, "kedro"));
}

#[test]
fn kedro_dies_on_malformed_yaml_and_here_nothing_fails_and_nothing_is_sent() {
    let stage = stage();
    let file = project(&stage.home).join(".telemetry");
    stage.home.write(&file, "consent: true\n\tbroken: [\n");
    assert!(!taken(&stage.home, "kedro"));
    let place = project(&stage.home);
    let quiet = ["send", "kedro", "ran", "--project", place.to_str().unwrap()];
    Ctl::new(&stage.home).run(quiet).expect_code(0);
    let said = explained(&stage.home, "kedro");
    let decider = said["chain"]
        .as_array()
        .unwrap()
        .iter()
        .find(|link| link["decides"] == true);
    assert_eq!(decider.unwrap()["line"], 2);
}

#[test]
fn dlt_ignores_do_not_track_and_here_it_holds_whatever_its_value() {
    let stage = stage();
    assert!(taken(&stage.home, "dlt"));
    for value in ["", "0", "false", "1", "true"] {
        stage.home.set_env("DO_NOT_TRACK", value);
        for tool in ["kedro", "dlt", "evidently"] {
            assert!(!taken(&stage.home, tool), "{tool} with DO_NOT_TRACK={value:?}");
        }
    }
}

#[test]
fn dlt_lets_a_project_overrule_the_user_wide_switch_and_here_it_cannot() {
    let stage = stage();
    let (off, on) = (
        "[runtime]\ndlthub_telemetry = false\n",
        "[runtime]\ndlthub_telemetry = true\n",
    );
    stage
        .home
        .write(project(&stage.home).join(".dlt/config.toml"), on);
    assert!(taken(&stage.home, "dlt"));
    stage
        .home
        .write(stage.home.home_dir().join(".dlt/config.toml"), off);
    assert!(!taken(&stage.home, "dlt"));
    // The daemon sees the user's file by itself, too.
    let raw = json!({"tool": "dlt", "event": "ran"});
    assert_eq!(ask(&stage.daemon, &raw)["by"], "user");
}

#[test]
fn dlt_sends_an_event_when_told_to_stop_and_ubuntu_insights_and_glean_call_home_and_here_nobody_hears_of_it()
{
    let stage = Stage::new(telemetry_testkit::sink::Script::new(), TOLD);
    let nothing = Collector::builder().expect_nothing().start();
    stage.home.write_config(&destination(&nothing.url(), TOLD));
    assert_eq!(ask(&stage.daemon, &json!({"op": "reload"}))["ok"], true);
    stage.home.write_manifest("dlt", DLT);
    assert!(taken(&stage.home, "dlt"));
    let ctl = Ctl::new(&stage.home);
    ctl.run(["opt-out"]).expect_code(0);
    assert!(!taken(&stage.home, "dlt"));
    ctl.run(["flush", "--wait"]).expect_code(0);
    ctl.run(["opt-out", "--tool", "dlt"]).expect_code(0);
    eventually("what was queued is purged", DEADLINE, || {
        (booked(&status(&stage.daemon), "purged") == 1).then_some(())
    });
}

#[test]
fn evidentlys_own_variable_has_stopped_working_and_here_it_works() {
    let stage = stage();
    for variable in ["EVIDENTLY_DISABLE_TELEMETRY", "ITERATIVE_DO_NOT_TRACK"] {
        assert!(taken(&stage.home, "evidently"));
        stage.home.set_env(variable, "1");
        assert!(!taken(&stage.home, "evidently"), "{variable}");
        assert!(taken(&stage.home, "dlt"), "{variable} is not dlt's");
        stage.home.unset_env(variable);
    }
}

#[test]
fn dlt_writes_its_cookie_while_off_and_here_a_denied_client_creates_nothing_and_connects_to_nobody() {
    let stage = stage();
    std::fs::create_dir_all(project(&stage.home)).unwrap();
    stage.home.set_env("DO_NOT_TRACK", "");
    let trace = stage.home.root().join("trace");
    let traced = |args: &[&str]| {
        let mut command = stage.home.command("strace");
        command.args([
            "-f",
            "-qq",
            "-e",
            "trace=%file,%network,openat",
            "-e",
            "signal=none",
            "-o",
        ]);
        command.arg(&trace).arg(telemetryctl()).args(args);
        Running::start(command, None).wait(DEADLINE)
    };
    if !crate::traced::strace_works() {
        return;
    }
    traced(&["send", "dlt", "ran", "--strict"]).expect_code(4);
    let seen = std::fs::read_to_string(&trace).unwrap();
    assert!(seen.contains("openat"), "nothing was seen:\n{seen}");
    for call in ["O_CREAT", "connect(", "socket(", "mkdir", "rename", "unlink"] {
        assert!(!seen.contains(call), "{call} in\n{seen}");
    }
    // That the test can see one.
    stage.home.unset_env("DO_NOT_TRACK");
    traced(&["send", "dlt", "ran", "--strict"]).expect_code(0);
    assert!(std::fs::read_to_string(&trace).unwrap().contains("connect("));
}

#[test]
fn a_policy_is_obeyed_when_it_comes_when_it_is_edited_in_place_and_when_it_goes() {
    let stage = stage();
    let policy = stage.home.machine_dir().join("policy.d/10.toml");
    let raw = json!({"tool": "dlt", "event": "ran"});
    let said = || ask(&stage.daemon, &raw)["status"].clone();
    assert_eq!(said(), "queued");
    stage.home.write(&policy, "[tools]\nallow_only = [\"kedro\"]\n");
    assert_eq!(said(), "declined");
    assert_eq!(explained(&stage.home, "dlt")["by"], "machine");
    std::fs::write(&policy, "[tools]\nallow_only = [\"kedro\", \"dlt\"]\n").unwrap();
    assert_eq!(said(), "queued");
    std::fs::write(&policy, "[tools]\nallow_onli = [\"kedro\", \"dlt\"]\n").unwrap();
    assert_eq!(said(), "declined");
    std::fs::remove_file(&policy).unwrap();
    assert_eq!(said(), "queued");
}

#[test]
fn an_address_that_the_admin_does_not_allow_gets_nothing_and_explain_says_so() {
    let stage = stage();
    let policy = stage.home.machine_dir().join("policy.d/10.toml");
    let raw = json!({"tool": "dlt", "event": "ran"});
    stage.home.write(
        &policy,
        "\n[destinations]\nallow = [\"https://ours.example/v1\"]\n",
    );
    let answer = ask(&stage.daemon, &raw);
    assert_eq!(
        (&answer["status"], &answer["by"]),
        (&json!("declined"), &json!("machine"))
    );
    let said = explained(&stage.home, "dlt");
    let decider = said["chain"]
        .as_array()
        .unwrap()
        .iter()
        .find(|link| link["decides"] == true)
        .unwrap();
    assert_eq!(decider["line"], 3);
    assert!(
        decider["detail"].as_str().unwrap().contains("destinations.allow"),
        "{said}"
    );
    let url = stage.endpoint.url();
    stage
        .home
        .write(&policy, format!("[destinations]\nallow = [\"{url}\"]\n"));
    assert_eq!(ask(&stage.daemon, &raw)["status"], "queued");
}

#[test]
fn where_only_installed_manifests_count_a_tool_cannot_bring_its_own() {
    let stage = stage();
    let raw = json!({"tool": "dlt", "event": "ran"});
    let policy = stage.home.machine_dir().join("policy.d/10.toml");
    stage.home.write(&policy, "manifests = \"installed\"\n");
    assert_eq!(
        ask(&stage.daemon, &raw)["status"],
        "declined",
        "a user's own counts as none"
    );
    let brought = "name = \"brought\"\nevents = \"any\"\n";
    let answer = ask(&stage.daemon, &json!({"op": "register", "manifest": brought}));
    assert_eq!(answer["error"], "not_allowed", "{answer}");
    std::fs::remove_file(&policy).unwrap();
    assert_eq!(ask(&stage.daemon, &raw)["status"], "queued");
}

#[test]
fn the_policies_of_the_repository_say_what_they_are_named_after() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/policy.d");
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let home = Home::new();
        home.write_manifest("kedro", KEDRO);
        home.write_manifest("evidently", EVIDENTLY);
        home.write(
            home.machine_dir().join("policy.d/10.toml"),
            std::fs::read_to_string(&path).unwrap(),
        );
        let verdict = |tool: &str| {
            let said = explained(&home, tool);
            let machine = said["chain"]
                .as_array()
                .unwrap()
                .iter()
                .find(|link| link["layer"] == "machine");
            machine.unwrap()["verdict"].as_str().unwrap().to_owned()
        };
        let expected = match name.as_str() {
            "all-off" => ["deny", "deny"],
            "only-two-tools" => ["none", "deny"],
            "only-our-endpoint" => ["none", "none"],
            other => panic!("{other}: say here what it does"),
        };
        assert_eq!([verdict("kedro"), verdict("evidently")], expected, "{name}");
        seen.push(name);
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn what_is_queued_for_an_address_that_is_not_allowed_any_more_is_held_and_not_sent() {
    let stage = stage();
    let nothing = Collector::builder().expect_nothing().start();
    let two = |tool: &str| {
        let other = "[destinations.other]\nurl = \"https://ours.example/v1\"\n";
        format!("{}{other}{tool}", destination(&nothing.url(), TOLD))
    };
    stage.home.write_config(&two(""));
    assert_eq!(ask(&stage.daemon, &json!({"op": "reload"}))["ok"], true);
    let raw = json!({"tool": "dlt", "event": "ran"});
    assert_eq!(ask(&stage.daemon, &raw)["status"], "queued");
    // The tool goes elsewhere from now on; what was taken for the old address is still there.
    stage
        .home
        .write_config(&two("[tools.dlt]\ndestination = \"other\"\n"));
    assert_eq!(ask(&stage.daemon, &json!({"op": "reload"}))["ok"], true);
    let policy = stage.home.machine_dir().join("policy.d/10.toml");
    stage
        .home
        .write(&policy, "[destinations]\nallow = [\"https://ours.example\"]\n");
    ask(&stage.daemon, &json!({"op": "flush", "destination": "default"}));
    eventually("it is held, with a reason", DEADLINE, || {
        let status = status(&stage.daemon);
        let all = status["destinations"].as_array().unwrap();
        let held = all.iter().find(|one| one["name"] == "default")?;
        (held["state"] == "held" && held["reason"] == "not_allowed").then_some(())
    });
    assert_eq!(waiting(&stage.daemon).len(), 1);
}
