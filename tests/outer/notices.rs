//! Nothing is collected before a user could have known, and a question is asked where somebody can answer: notices with
//! and without a daemon, `consent ask` at a real terminal, a manifest that lets more through than was agreed to.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use telemetry_testkit::sink::Script;
use telemetry_testkit::{Collector, Ctl, DEADLINE, Home, eventually, telemetryctl};

use crate::stage::{Stage, TOLD, TOOL, ask, booked, event, list, status, waiting};
use crate::terminal::Terminal;

const TELLS: &str = "name = \"demo\"\nconsent = \"opt-out\"\nevents = \"any\"\n\
    notice = \"Demo counts how often it runs.\"\nnotice_required = true\n";

/// telemetryctl as somebody at a terminal starts it.
fn at_a_terminal(home: &Home, args: &[&str]) -> Terminal {
    let mut command: Command = home.command(telemetryctl());
    command.args(args);
    Terminal::start(command)
}

/// Installs the tool's manifest as packages do, in one step: whoever asks next sees it.
fn install(home: &Home, text: &str) {
    let new = home.root().join("new.toml");
    home.write(&new, text);
    fs::rename(new, home.tools_dir().join(format!("{TOOL}.toml"))).unwrap();
}

/// A stage whose tool has to tell something first.
fn telling() -> Stage {
    let stage = Stage::new(Script::new(), TOLD);
    install(&stage.home, TELLS);
    stage
}

#[test]
fn a_notice_is_shown_once_at_a_terminal_and_from_then_on_events_count() {
    let stage = telling();
    let ctl = Ctl::new(&stage.home);
    // Nobody watches: declined, as often as it is tried.
    for _ in 0..2 {
        ctl.run(["send", TOOL, "ran", "--strict"]).expect_code(4);
    }
    let (code, shown) = at_a_terminal(&stage.home, &["send", TOOL, "ran"]).end();
    assert_eq!(code, Some(0));
    assert!(shown.contains("Demo counts how often it runs."), "{shown}");
    assert!(
        waiting(&stage.daemon).is_empty(),
        "what happened before the user could know is not collected"
    );
    let (_, shown) = at_a_terminal(&stage.home, &["send", TOOL, "ran"]).end();
    assert!(!shown.contains("Demo counts"), "once: {shown}");
    ctl.run(["send", TOOL, "ran", "--strict"]).expect_code(0);
    assert_eq!(waiting(&stage.daemon).len(), 2);
}

#[test]
fn who_turns_a_tool_on_at_a_terminal_is_shown_its_notice_and_its_events_count() {
    let stage = telling();
    let ctl = Ctl::new(&stage.home);
    assert_eq!(ask(&stage.daemon, &event(1))["by"], "notice");
    let doctor = ctl.run(["doctor"]).stdout;
    assert!(
        doctor.contains("1 events of demo were declined: nobody has shown its notice yet"),
        "{doctor}"
    );
    // A script that says yes has shown nobody anything.
    let said = ctl.run(["opt-in", "--tool", TOOL]).stdout;
    assert!(said.contains("stays off, by notice"), "{said}");
    assert_eq!(ask(&stage.daemon, &event(2))["by"], "notice");
    let (code, shown) = at_a_terminal(&stage.home, &["opt-in", "--tool", TOOL]).end();
    assert_eq!(code, Some(0));
    assert!(shown.contains("Demo counts how often it runs."), "{shown}");
    assert!(shown.contains("demo: on"), "{shown}");
    assert_eq!(ask(&stage.daemon, &event(3))["status"], "queued");
    let doctor = ctl.run(["doctor"]).stdout;
    assert!(!doctor.contains("nobody has shown"), "{doctor}");
}

#[test]
fn a_notice_that_was_shown_while_no_daemon_ran_is_known_to_the_next_one() {
    let mut stage = telling();
    stage.daemon.term().expect_code(0);
    let (_, shown) = at_a_terminal(&stage.home, &["send", TOOL, "ran"]).end();
    assert!(shown.contains("Demo counts how often it runs."), "{shown}");
    assert!(stage.home.state_dir().join("noticed").join(TOOL).exists());
    let (_, shown) = at_a_terminal(&stage.home, &["send", TOOL, "ran"]).end();
    assert!(!shown.contains("Demo counts"), "once: {shown}");
    stage.daemon.restart();
    assert_eq!(ask(&stage.daemon, &event(1))["status"], "queued");
    // A marker that comes while it runs is told by the client that knows of it.
    fs::remove_dir_all(stage.home.state_dir().join("noticed")).unwrap();
    let _ = fs::remove_dir_all(stage.home.state_dir().join("agreed"));
    stage.daemon.restart();
    assert_eq!(ask(&stage.daemon, &event(2))["by"], "notice");
    stage
        .home
        .write(stage.home.state_dir().join("noticed").join(TOOL), "");
    Ctl::new(&stage.home)
        .run(["send", TOOL, "ran", "--strict"])
        .expect_code(0);
    assert_eq!(ask(&stage.daemon, &event(3))["status"], "queued");
}

#[test]
fn who_is_denied_is_shown_nothing() {
    let stage = telling();
    stage.home.set_env("DO_NOT_TRACK", "1");
    let (code, shown) = at_a_terminal(&stage.home, &["send", TOOL, "ran"]).end();
    assert_eq!(code, Some(0));
    assert!(!shown.contains("Demo counts"), "{shown}");
    assert!(!stage.home.state_dir().join("noticed").exists());
}

/// What widens a manifest that a user agreed to.
const WIDER: [(&str, &str, &str); 4] = [
    (
        "opt-in to opt-out",
        "consent = \"opt-in\"",
        "consent = \"opt-out\"",
    ),
    ("a shorter notice", "how often it runs", "runs"),
    (
        "another destination",
        "events = \"any\"",
        "events = \"any\"\ndestination = \"second\"",
    ),
    (
        "no notice any more",
        "notice_required = true",
        "notice_required = false",
    ),
];

#[test]
fn a_manifest_that_lets_more_through_than_was_agreed_to_asks_again_and_purges() {
    for (what, narrow, wide) in WIDER {
        let endpoint = Collector::builder().expect_nothing().start();
        let more = format!(
            "{TOLD}[destinations.second]\nurl = \"{}\"\n{TOLD}",
            endpoint.url()
        );
        let stage = Stage::before(endpoint, &more);
        let before = TELLS.replace(wide, narrow);
        let after = before.replace(narrow, wide);
        assert_ne!(before, after, "{what}");
        install(&stage.home, &before);
        let noticed = json!({"op": "consent", "action": "noticed", "tool": TOOL});
        assert_eq!(ask(&stage.daemon, &noticed)["status"], "noticed");
        if before.contains("opt-in") {
            let allow = json!({"op": "consent", "action": "allow", "tool": TOOL});
            assert_eq!(ask(&stage.daemon, &allow)["verdict"], "allow");
        }
        stage.queue((1..=3).map(event));
        install(&stage.home, &after);
        // Nobody asks it anything: it sees the file.
        eventually(
            &format!("{what}: what was taken before is erased"),
            DEADLINE,
            || (booked(&status(&stage.daemon), "purged") == 3).then_some(()),
        );
        assert_eq!(ask(&stage.daemon, &event(4))["by"], "notice", "{what}");
        let explain = json!({"op": "consent", "action": "explain", "tool": TOOL});
        let explained = &list(&stage.daemon, &explain)[0];
        assert_eq!(
            (
                &explained["verdict"],
                &explained["by"],
                explained["wider"].as_array().map(Vec::len)
            ),
            (&json!("deny"), &json!("notice"), Some(1)),
            "{what}: {explained}"
        );
        let told = Ctl::new(&stage.home)
            .ok(["consent", "explain", "--tool", TOOL])
            .stdout;
        assert!(told.contains("lets more through than was agreed to"), "{told}");
        // Told again, it counts again; and back to less it needs nobody's word.
        assert_eq!(ask(&stage.daemon, &noticed)["status"], "noticed");
        assert_eq!(ask(&stage.daemon, &event(5))["status"], "queued", "{what}");
        install(&stage.home, &before);
        let answer = ask(&stage.daemon, &event(6));
        assert_eq!(
            answer["status"] == "queued",
            what != "another destination",
            "{what}: {answer}"
        );
        stage.endpoint.finish();
    }
}

#[test]
fn what_was_agreed_to_is_kept_across_restarts_and_asks_again_whoever_looks() {
    let mut stage = Stage::new(Script::new(), TOLD);
    install(&stage.home, &TELLS.replace("opt-out", "opt-in"));
    let ctl = Ctl::new(&stage.home);
    ctl.ok(["opt-in", "--tool", TOOL]);
    assert_eq!(
        ask(
            &stage.daemon,
            &json!({"op": "consent", "action": "noticed", "tool": TOOL})
        )["ok"],
        true
    );
    assert_eq!(ask(&stage.daemon, &event(1))["status"], "queued");
    stage.daemon.kill9();
    install(&stage.home, TELLS);
    stage.daemon.restart();
    assert_eq!(booked(&status(&stage.daemon), "purged"), 1);
    assert_eq!(ask(&stage.daemon, &event(2))["by"], "notice");
    // The client sees it, too, and shows the notice once more.
    let (_, shown) = at_a_terminal(&stage.home, &["send", TOOL, "ran"]).end();
    assert!(shown.contains("Demo counts how often it runs."), "{shown}");
    assert!(shown.contains("it is on unless denied now"), "{shown}");
    assert_eq!(ask(&stage.daemon, &event(3))["status"], "queued");
}

const ASKS: &str = "name = \"demo\"\nevents = \"any\"\n\
    project_files = [{ path = \".telemetry\", format = \"yaml\", key = \"consent\" }]\n";

/// The last line of JSON that a terminal has shown.
fn json_of(shown: &str) -> Value {
    let line = shown
        .lines()
        .rev()
        .find(|line| line.starts_with('{'))
        .expect("JSON");
    serde_json::from_str(line.trim()).unwrap()
}

#[test]
fn a_question_at_a_terminal_is_answered_once_and_kept_with_the_user() {
    let stage = Stage::new(Script::new(), TOLD);
    install(&stage.home, ASKS);
    assert_eq!(ask(&stage.daemon, &event(1))["status"], "declined");
    let args = [
        "consent",
        "ask",
        "--tool",
        TOOL,
        "--text",
        "May we count?\u{1b}[2J",
        "--json",
    ];
    let mut terminal = at_a_terminal(&stage.home, &args);
    terminal.wait_for("[y/N]");
    assert!(
        terminal.shown().contains("May we count?\u{fffd}[2J"),
        "{}",
        terminal.shown()
    );
    terminal.types("perhaps\n");
    terminal.wait_for("Please answer y or n.");
    terminal.types("y\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    let said = json_of(&shown);
    assert_eq!(
        (&said["asked"], &said["answer"], &said["verdict"], &said["by"]),
        (&json!(true), &json!("allow"), &json!("allow"), &json!("user"))
    );
    let word = fs::read_to_string(stage.home.config_dir().join("consent.toml")).unwrap();
    assert!(word.contains("demo = true"), "{word}");
    assert_eq!(ask(&stage.daemon, &event(2))["status"], "queued");
    // An empty answer is a no, and erases.
    let mut terminal = at_a_terminal(&stage.home, &args);
    terminal.wait_for("[y/N]");
    terminal.types("\n");
    let (_, shown) = terminal.end();
    assert_eq!(json_of(&shown)["answer"], "deny", "{shown}");
    assert_eq!(booked(&status(&stage.daemon), "purged"), 1);
    // The end of input is no answer: what was said before stays.
    let mut terminal = at_a_terminal(&stage.home, &args);
    terminal.wait_for("[y/N]");
    terminal.types("\u{4}");
    let (code, shown) = terminal.end();
    assert_eq!(
        (code, &json_of(&shown)["asked"]),
        (Some(0), &json!(false)),
        "{shown}"
    );
    let log = list(
        &stage.daemon,
        &json!({"op": "consent", "action": "log", "tool": TOOL}),
    );
    let verdicts: Vec<&str> = log.iter().filter_map(|l| l["verdict"].as_str()).collect();
    assert_eq!(verdicts.last(), Some(&"deny"), "{log:?}");
}

#[test]
fn an_answer_for_the_project_is_in_its_file_and_out_of_its_repository() {
    let stage = Stage::new(Script::new(), TOLD);
    install(&stage.home, ASKS);
    let project = stage.home.home_dir().join("project");
    fs::create_dir_all(project.join("src")).unwrap();
    fs::write(project.join(".gitignore"), "target").unwrap();
    let place = project.to_str().unwrap();
    let answer = |from: &str, keys: &str| {
        let args = [
            "consent",
            "ask",
            "--tool",
            TOOL,
            "--save",
            "project",
            "--project",
            from,
        ];
        let mut terminal = at_a_terminal(&stage.home, &args);
        terminal.wait_for("[y/N]");
        terminal.types(keys);
        let (code, shown) = terminal.end();
        assert_eq!(code, Some(0), "{shown}");
    };
    let said = || fs::read_to_string(project.join(".telemetry")).unwrap();
    answer(place, "yes\n");
    assert_eq!(said(), "consent: true\n");
    let ignored = || fs::read_to_string(project.join(".gitignore")).unwrap();
    assert_eq!(ignored(), "target\n.telemetry\n");
    let ctl = Ctl::new(&stage.home);
    ctl.run(["send", TOOL, "ran", "--strict", "--project", place])
        .expect_code(0);
    ctl.run(["send", TOOL, "ran", "--strict"]).expect_code(4);
    assert_eq!(waiting(&stage.daemon).len(), 1);
    // From below, a no: in the same file, and what is queued of the project goes.
    answer(project.join("src").to_str().unwrap(), "n\n");
    assert_eq!(
        (said(), ignored()),
        ("consent: false\n".to_owned(), "target\n.telemetry\n".to_owned())
    );
    assert!(!project.join("src/.telemetry").exists());
    assert_eq!(booked(&status(&stage.daemon), "purged"), 1);
    assert!(waiting(&stage.daemon).is_empty());
}

#[test]
fn a_projects_denial_that_a_client_meets_erases_what_is_queued_of_that_project_alone() {
    let mut stage = Stage::new(Script::new(), TOLD);
    install(&stage.home, &format!("consent = \"opt-out\"\n{ASKS}"));
    let ctl = Ctl::new(&stage.home);
    let project = |name: &str| {
        let path = stage.home.home_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let (one, two) = (project("one"), project("two"));
    for (place, times) in [(&one, 3), (&two, 2)] {
        for _ in 0..times {
            ctl.run([
                "send",
                TOOL,
                "ran",
                "--strict",
                "--project",
                place.to_str().unwrap(),
            ])
            .expect_code(0);
        }
    }
    // The key by which rows know their project outlives the daemon.
    stage.daemon.restart();
    fs::write(one.join(".telemetry"), "consent: \"false\"\n").unwrap();
    for _ in 0..2 {
        ctl.run([
            "send",
            TOOL,
            "ran",
            "--strict",
            "--project",
            one.to_str().unwrap(),
        ])
        .expect_code(4);
    }
    assert_eq!(booked(&status(&stage.daemon), "purged"), 3);
    assert_eq!(waiting(&stage.daemon).len(), 2);
    let log = list(&stage.daemon, &json!({"op": "consent", "action": "log"}));
    let erased: Vec<&Value> = log.iter().filter(|l| l["how"] == "project").collect();
    assert_eq!(
        erased.len(),
        1,
        "a denial that erases nothing is no news: {log:?}"
    );
    assert_eq!(
        (&erased[0]["purged"], &erased[0]["tool"]),
        (&json!(3), &json!(TOOL))
    );
}
