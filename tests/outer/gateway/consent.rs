//! Consent at the gateway: the admin's switch closes it, and clients that ignore `DO_NOT_TRACK` obey it here.

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use telemetry_testkit::{Collector, DEADLINE, Daemon, eventually};

use super::{Gate, KEYS, Request};
use crate::stage::{TOLD, destination, home, status};
use crate::traced::traced;

fn track() -> Request {
    Request::post(
        "/v1/track",
        &json!({"event": "Ran", "userId": "u", "writeKey": "mykey"}),
    )
}

/// Whether anybody listens there.
fn listens(at: SocketAddr) -> bool {
    TcpStream::connect(at).is_ok()
}

/// What a program of somebody's hears, that was started with these variables: curl, which knows of none of them.
#[track_caller]
fn from_a_process(gate: &Gate, variables: &[(&str, &str)]) -> Value {
    let mut command = Command::new("curl");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs(variables.iter().copied());
    let body = json!({"event": "Ran", "userId": "u", "writeKey": "mykey"}).to_string();
    let url = format!("http://{}/v1/track", gate.address());
    command.args([
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "-H",
        "Content-Type: application/json",
        "-d",
        &body,
        &url,
    ]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn do_not_track_in_the_environment_of_the_peers_process_stores_nothing() {
    let gate = Gate::new();
    gate.home.write_manifest(
        "demo",
        "name = \"demo\"\nconsent = \"opt-out\"\nevents = \"any\"\n\
         opt_out_env = [{ name = \"DEMO_TELEMETRY\", unless = [\"true\"] }]\n",
    );
    for (variables, stored) in [
        (&[][..], true),
        (&[("DO_NOT_TRACK", "1")], false),
        (&[("DO_NOT_TRACK", "")], false),
        (&[("DO_NOT_TRACK", "0")], false),
        (&[("DEMO_TELEMETRY", "false")], false),
        (&[("DEMO_TELEMETRY", "true")], true),
        (&[("OTHER_TELEMETRY", "false")], true),
    ] {
        let before = gate.queued();
        assert_eq!(
            from_a_process(&gate, variables),
            json!({"success": true}),
            "{variables:?}"
        );
        assert_eq!(gate.queued() - before, u64::from(stored), "{variables:?}");
    }
    let declined = &status(&gate.daemon)["tools"][0]["declined"];
    assert_eq!(declined["environment"], 4, "{declined}");
}

#[test]
fn do_not_track_in_the_daemons_own_environment_keeps_it_from_listening() {
    let endpoint = Collector::builder().expect_nothing().start();
    let home = home();
    let config = super::config(&endpoint.url(), "");
    let daemon = Daemon::builder(&home)
        .config(&config)
        .env("DO_NOT_TRACK", "")
        .start();
    let gateway = status(&daemon)["gateway"].clone();
    assert_eq!(
        gateway,
        json!({"state": "closed", "listen": null, "reason": "DO_NOT_TRACK"})
    );
}

#[test]
fn the_machine_wide_opt_out_closes_the_listener_and_its_end_opens_it_again() {
    let gate = Gate::new();
    let at = gate.address();
    // The same port again, so that it can be told whether anybody listens there.
    gate.listen(&format!("\"{at}\""));
    assert_eq!(gate.ask(&track()).status, 200);
    let opt_out = gate.home.machine_dir().join("opt-out");
    gate.home.write(&opt_out, "");
    // Nobody asks the daemon: its watch on the file tells it.
    eventually("nobody listens", DEADLINE, || (!listens(at)).then_some(()));
    let gateway = status(&gate.daemon)["gateway"].clone();
    assert_eq!(
        (&gateway["state"], &gateway["reason"]),
        (&json!("closed"), &json!(opt_out))
    );
    assert_eq!(gate.queued(), 0, "and what was queued is erased");
    std::fs::remove_file(&opt_out).unwrap();
    eventually("it listens again", DEADLINE, || listens(at).then_some(()));
    assert_eq!(gate.ask(&track()).status, 200);
    assert_eq!(gate.queued(), 1);
}

#[test]
fn with_consent_denied_on_the_machine_no_internet_socket_is_opened_for_the_gateway() {
    // I12
    let home = home();
    home.write(home.machine_dir().join("opt-out"), "");
    let config = super::config("http://127.0.0.1:9/", "");
    let builder = Daemon::builder(&home).config(&config);
    let Some(calls) = traced(&home, builder, "socket,bind,connect", |daemon| {
        assert_eq!(status(daemon)["gateway"]["state"], "closed");
        daemon.ctl().run(["stop"]).expect_code(0);
    }) else {
        return;
    };
    assert!(calls.contains("AF_UNIX") && !calls.contains("AF_INET"), "{calls}");
}

#[test]
fn a_user_who_says_no_is_answered_as_ever_and_nothing_is_stored() {
    let gate = Gate::new();
    gate.home
        .write(gate.home.config_dir().join("consent.toml"), "telemetry = false\n");
    assert_eq!(gate.ask(&track()).body, json!({"success": true}));
    assert_eq!(gate.queued(), 0);
}

#[test]
fn a_key_whose_sender_shows_the_notice_has_it_shown_and_another_key_has_not() {
    let endpoint = Collector::builder().expect_tool("demo").start();
    let home = home();
    home.write_manifest(
        "demo",
        "name = \"demo\"\nconsent = \"opt-out\"\nevents.Ran.properties = \"any\"\nnotice = \"We count.\"\nnotice_required = true\n",
    );
    let keys = "keys = { silent = \"demo\", shows = { tool = \"demo\", notice = \"tool\" } }";
    let config = format!(
        "{}[gateway]\nlisten = \"127.0.0.1:0\"\n{keys}\n",
        destination(&endpoint.url(), TOLD)
    );
    let daemon = Daemon::start(&home, &config);
    let gate = Gate {
        daemon,
        endpoint,
        home,
    };
    let with = |key: &str| {
        Request::post(
            "/v1/track",
            &json!({"event": "Ran", "userId": "u", "writeKey": key}),
        )
    };
    assert_eq!(gate.ask(&with("silent")).status, 200);
    assert_eq!(gate.queued(), 0, "nobody was told");
    // What would be refused is not of the tool that shows it.
    let alone = |event: Value| json!({"event": event, "userId": "u", "writeKey": "shows"});
    let beside = json!({"writeKey": "shows", "batch": [
        {"type": "track", "event": "Ran", "userId": "u"}, {"type": "track", "event": "Walked", "userId": "u"},
    ]});
    for (path, body) in [
        ("/v1/track", alone(json!("Walked"))),
        ("/v1/track", alone(json!("x".repeat(300)))),
        ("/v1/track", alone(json!(7))),
        ("/v1/batch", beside),
    ] {
        gate.ask(&Request::post(path, &body));
        assert_eq!(gate.queued(), 0, "{body}");
    }
    assert!(!gate.home.state_dir().join("noticed/demo").exists());
    gate.ask(&with("silent"));
    assert_eq!(gate.queued(), 0, "still nobody was told");
    assert_eq!(gate.ask(&with("shows")).status, 200);
    assert_eq!(gate.queued(), 1);
    assert!(!KEYS.contains("silent"));
}
