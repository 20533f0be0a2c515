//! Manifests and `[tools.NAME]` as they come, change and break: what is said of them, and from when on they hold.

use serde_json::{Value, json};
use telemetry_testkit::sink::Script;
use telemetry_testkit::{Ctl, DEADLINE, Daemon, Home, eventually};

use crate::stage::{Stage, TOLD, TOOL, ask, destination, endpoint, event, id, status, waiting};

#[test]
fn a_manifest_with_mistakes_is_named_in_the_log_by_doctor_and_by_tools_with_its_lines() {
    let home = Home::new();
    home.write_manifest(TOOL, "name = \"demo\"\neventz = \"any\"\n");
    home.write_manifest(
        "other",
        "name = \"other\"\nconsent = \"opt-out\"\nevents = \"any\"\n",
    );
    let daemon = Daemon::start(&home, &destination("http://127.0.0.1:9/", TOLD));
    let file = home.tools_dir().join("demo.toml");
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("did you mean events?"));
    let line = line.unwrap_or_else(|| panic!("not in the log: {log}"));
    assert!(
        line.contains(&*file.to_string_lossy()) && line.contains("line=2"),
        "{line}"
    );
    let other = json!({"tool": "other", "event": "ran", "id": id(1)});
    assert_eq!(
        ask(&daemon, &other)["status"],
        "queued",
        "and no other tool is disturbed"
    );
    let ctl = Ctl::new(&home);
    for args in [
        &["doctor"][..],
        &["tools", "list"],
        &["tools", "show", TOOL],
        &["consent", "explain", "--tool", TOOL],
    ] {
        let exit = ctl.run(args);
        let said = format!("{}{}", exit.stdout, exit.stderr);
        assert!(
            said.contains("demo.toml:2: eventz: unknown key"),
            "{args:?}: {said}"
        );
    }
}

#[test]
fn a_manifest_that_is_edited_in_its_place_holds_for_the_next_event() {
    let stage = Stage::new(Script::new(), TOLD);
    for n in 0..20 {
        // As long as before, and neither wider nor narrower: nothing but the file itself tells.
        let share = n % 2;
        let text = format!("name = \"demo\"\nconsent = \"opt-out\"\nevents = \"any\"\nsample = {share}.0\n");
        stage.home.write_manifest(TOOL, &text);
        let status = ["sampled_out", "queued"][usize::try_from(share).unwrap()];
        let answer = ask(&stage.daemon, &event(n));
        assert_eq!(answer["status"], status, "{n}: {answer}");
    }
}

/// What is answered for this event under these lines of `[tools.demo]`.
fn under(home: &Home, daemon: &Daemon, lines: &str, n: u64) -> Value {
    let more =
        format!("{TOLD}[destinations.second]\nurl = \"http://127.0.0.1:9/\"\n{TOLD}[tools.demo]\n{lines}\n");
    home.write_config(&destination("http://127.0.0.1:9/", &more));
    assert_eq!(ask(daemon, &json!({"op": "reload"}))["ok"], true);
    ask(daemon, &json!({"tool": TOOL, "event": "ran", "id": id(n)}))
}

#[test]
fn each_key_of_the_config_about_a_tool_does_what_its_page_says_and_only_tightens() {
    let home = crate::stage::home();
    let daemon = Daemon::start(&home, &destination("http://127.0.0.1:9/", TOLD));
    assert_eq!(ask(&daemon, &event(1))["status"], "queued");

    let off = under(&home, &daemon, "enabled = false", 2);
    assert_eq!(
        (&off["by"], &off["source"]),
        (&json!("machine"), &json!("tools.demo.enabled")),
        "{off}"
    );
    eventually("what waited is erased", DEADLINE, || {
        waiting(&daemon).is_empty().then_some(())
    });

    let asked = under(&home, &daemon, "consent = \"opt-in\"", 3);
    assert_eq!(asked["by"], "default", "{asked}");
    assert!(
        asked["source"]
            .as_str()
            .is_some_and(|source| source.ends_with("made opt-in by the config"))
    );

    let unseen = under(&home, &daemon, "notice = \"required\"", 4);
    assert_eq!(unseen["by"], "notice", "{unseen}");

    assert_eq!(under(&home, &daemon, "sample = 0.0", 5)["status"], "sampled_out");

    assert_eq!(under(&home, &daemon, "max_per_day = 1", 6)["status"], "queued");
    let over = under(&home, &daemon, "max_per_day = 1", 7);
    assert_eq!(over["by"], "quota", "{over}");

    assert_eq!(
        under(&home, &daemon, "destination = \"second\"", 8)["status"],
        "queued"
    );
    let row = waiting(&daemon).into_iter().find(|row| row["id"] == id(8));
    assert_eq!(row.expect("it waits")["destination"], "second");

    // What would loosen is no value of these keys: the daemon stays as it was.
    for looser in ["consent = \"opt-out\"", "notice = false", "sample = 2.0"] {
        let more = format!("{TOLD}[tools.demo]\n{looser}\n");
        home.write_config(&destination("http://127.0.0.1:9/", &more));
        assert_eq!(ask(&daemon, &json!({"op": "reload"}))["ok"], false, "{looser}");
    }
    assert_eq!(ask(&daemon, &event(9))["status"], "queued");
    assert_eq!(status(&daemon)["tools"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_looser_word_of_the_config_does_not_widen_what_the_manifest_says() {
    let home = Home::new();
    home.write_manifest(
        TOOL,
        "name = \"demo\"\nconsent = \"opt-out\"\nevents = \"any\"\nsample = 0.0\nmax_per_day = 1\n",
    );
    let endpoint = endpoint(Script::default());
    let config = destination(
        &endpoint.url(),
        &format!("{TOLD}[tools.demo]\nsample = 1.0\nmax_per_day = 5\n"),
    );
    let daemon = Daemon::start(&home, &config);
    assert_eq!(ask(&daemon, &event(1))["status"], "sampled_out");
}
