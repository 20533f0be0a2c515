//! A withdrawal wins every race, whoever made it: what is queued is erased before it is sent, what comes is declined,
//! and with everything denied no internet socket is opened (I3, I12).

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
#[cfg(target_os = "linux")]
use telemetry_testkit::Daemon;
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{Collector, DEADLINE, Home, eventually};

#[cfg(target_os = "linux")]
use crate::stage::{SOON, destination, home, queue};
use crate::stage::{Stage, TOLD, TOOL, ask, booked, event, id, status, waiting};

/// Withdraws in one of the ways there are.
type Withdrawal = fn(&Home);

fn opt_out(home: &Home) {
    home.write(home.machine_dir().join("opt-out"), "");
}

fn opt_out_of_the_tool(home: &Home) {
    home.write(home.machine_dir().join("opt-out.d/demo"), "");
}

fn consent_file(home: &Home) {
    home.write(home.config_dir().join("consent.toml"), "[tools]\ndemo = false\n");
}

fn consent_file_for_all(home: &Home) {
    home.write(home.config_dir().join("consent.toml"), "telemetry = false\n");
}

fn consent_file_that_cannot_be_read(home: &Home) {
    home.write(home.config_dir().join("consent.toml"), "telemetry = maybe\n");
}

const WITHDRAWALS: [(&str, Withdrawal, &str); 5] = [
    ("opt-out", opt_out, "machine"),
    ("opt-out.d/demo", opt_out_of_the_tool, "machine"),
    ("consent.toml of the tool", consent_file, "user"),
    ("consent.toml", consent_file_for_all, "user"),
    (
        "consent.toml that cannot be read",
        consent_file_that_cannot_be_read,
        "user",
    ),
];

/// No byte of an event is left in the state directory.
fn nothing_is_left_of(home: &Home, word: &str) {
    let mut folders = vec![home.state_dir()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(bytes) = fs::read(&path) else { continue };
            let found = bytes.windows(word.len()).any(|part| part == word.as_bytes());
            assert!(!found, "{word} is left in {}", path.display());
        }
    }
}

fn telling(n: u64) -> Value {
    json!({"tool": TOOL, "event": "telling-event-name", "id": id(n), "properties": {"s": "telling-property"}})
}

#[test]
fn a_withdrawal_by_a_file_erases_what_is_queued_and_declines_what_comes() {
    for (what, withdraw, by) in WITHDRAWALS {
        let endpoint = Collector::builder().expect_nothing().start();
        let stage = Stage::before(endpoint, TOLD);
        stage.queue((0..100).map(telling));
        withdraw(&stage.home);
        // Whoever asks first: a client, or a flush.
        let answer = ask(&stage.daemon, &telling(1_000));
        assert_eq!(
            (&answer["status"], &answer["by"]),
            (&json!("declined"), &json!(by)),
            "{what}: {answer}"
        );
        let answer = stage.flush();
        assert_eq!(answer["left"], 0, "{what}: {answer}");
        eventually("it is erased", DEADLINE, || {
            (booked(&status(&stage.daemon), "purged") == 100).then_some(())
        });
        assert!(waiting(&stage.daemon).is_empty(), "{what}");
        nothing_is_left_of(&stage.home, "telling-event-name");
        nothing_is_left_of(&stage.home, "telling-property");
        stage.endpoint.finish();
    }
}

#[test]
fn a_withdrawal_that_nobody_told_the_daemon_of_holds_before_the_next_batch() {
    for (what, withdraw, _) in WITHDRAWALS {
        let endpoint = Collector::builder().expect_nothing().start();
        let stage = Stage::before(endpoint, "batch = { max_wait = \"300ms\" }\n");
        stage.queue((0..10).map(telling));
        withdraw(&stage.home);
        // Nothing is asked of the daemon: its own timer comes, and it looks before it sends.
        eventually("it is erased", DEADLINE, || {
            stage.daemon.log().contains("consent was withdrawn").then_some(())
        });
        assert_eq!(booked(&status(&stage.daemon), "purged"), 10, "{what}");
        stage.endpoint.finish();
    }
}

#[test]
fn a_withdrawal_cancels_the_request_that_is_under_way() {
    let script = Script::new().then(Step::hang_for_ever().times(1));
    let stage = Stage::new(script, &format!("{TOLD}timeout = \"60s\"\n"));
    stage.queue((0..10).map(telling));
    ask(&stage.daemon, &json!({"op": "flush"}));
    stage.endpoint.wait_for_requests(1);
    let receipt = ask(
        &stage.daemon,
        &json!({"op": "consent", "action": "deny", "tool": TOOL}),
    );
    assert_eq!(receipt["ok"], true, "{receipt}");
    // The rows of a lease are erased when it has ended, which it does at once.
    eventually("all of it is erased", Duration::from_secs(5), || {
        (booked(&status(&stage.daemon), "purged") == 10).then_some(())
    });
    nothing_is_left_of(&stage.home, "telling-event-name");
    assert_eq!(stage.endpoint.requests().len(), 1, "and is not tried again");
}

#[test]
fn a_withdrawal_while_the_daemon_was_away_is_obeyed_before_its_socket_is_there() {
    for (what, withdraw, _) in WITHDRAWALS {
        let endpoint = Collector::builder().expect_nothing().start();
        let mut stage = Stage::before(endpoint, "batch = { max_wait = \"1h\" }\n");
        stage.queue((0..10).map(telling));
        stage.daemon.kill9();
        withdraw(&stage.home);
        stage.daemon.restart();
        assert_eq!(booked(&status(&stage.daemon), "purged"), 10, "{what}");
        nothing_is_left_of(&stage.home, "telling-event-name");
        stage.endpoint.finish();
    }
}

#[test]
fn a_withdrawal_erases_parked_rows_and_sent_bodies_too() {
    let script = Script::new().then(Step::status(400).event("poison"));
    let stage = Stage::new(script, TOLD);
    stage.queue([
        telling(1),
        json!({"tool": TOOL, "event": "poison", "id": id(2), "properties": {"s": "telling-property"}}),
    ]);
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids([id(1)]);
    let receipt = ask(
        &stage.daemon,
        &json!({"op": "consent", "action": "deny", "tool": TOOL}),
    );
    assert_eq!(receipt["purged"], 1, "{receipt}");
    nothing_is_left_of(&stage.home, "telling-property");
    nothing_is_left_of(&stage.home, "telling-event-name");
    let sent = crate::stage::list(&stage.daemon, &json!({"op": "sent", "bodies": true}));
    assert_eq!(
        sent.len(),
        1,
        "that it was sent stays, as the user's own evidence"
    );
    assert!(sent[0]["body"].is_null(), "{sent:?}");
}

#[test]
fn an_allow_after_a_denial_releases_nothing_old_however_quick_it_is() {
    let stage = Stage::new(Script::new(), TOLD);
    let mut expected = Vec::new();
    for round in 0..20 {
        stage.queue([telling(round * 10)]);
        let mut tool = stage.daemon.connect();
        tool.send_bytes(
            b"{\"op\":\"consent\",\"action\":\"deny\",\"tool\":\"demo\"}\n{\"op\":\"consent\",\"action\":\"allow\",\"tool\":\"demo\"}\n",
        );
        assert_eq!(
            (&tool.answer()["ok"], &tool.answer()["ok"]),
            (&json!(true), &json!(true))
        );
        expected.extend(stage.queue([event(round * 10 + 1)]));
        assert_eq!(stage.flush()["left"], 0);
    }
    stage.endpoint.wait_for_ids(&expected);
    let arrived = stage.endpoint.ids();
    assert_eq!(arrived.len(), expected.len(), "{arrived:?}");
}

#[test]
fn a_file_that_comes_and_goes_between_two_looks_still_withdraws() {
    let stage = Stage::new(Script::new(), TOLD);
    stage.queue([telling(1)]);
    opt_out(&stage.home);
    assert_eq!(ask(&stage.daemon, &event(2))["status"], "declined");
    fs::remove_file(stage.home.machine_dir().join("opt-out")).unwrap();
    assert_eq!(
        ask(&stage.daemon, &event(3))["status"],
        "queued",
        "it is on again"
    );
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids([id(3)]);
    assert_eq!(
        stage.endpoint.ids().len(),
        1,
        "what was written before is not released"
    );
}

#[test]
fn withdrawals_while_clients_write_and_batches_leave_let_nothing_pass_afterwards() {
    let stage = Stage::new(
        Script::new(),
        "batch = { max_events = 20, max_wait = \"10ms\" }\n",
    );
    let mut rng = fastrand::Rng::with_seed(7);
    let mut n = 0;
    for round in 0..30 {
        let socket = stage.daemon.socket();
        let deny = rng.u64(0..300);
        let (first, accepted_after) = std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                let mut tool = telemetry_testkit::Tool::connect(&socket);
                let first = n;
                for _ in 0..10 {
                    let lines: String = (0..50).map(|k| format!("{}\n", event(n + k))).collect();
                    n += 50;
                    tool.send_bytes(lines.as_bytes());
                    for _ in 0..50 {
                        let status = tool.answer()["status"].as_str().unwrap_or("none").to_owned();
                        assert!(["queued", "declined"].contains(&status.as_str()), "{status}");
                    }
                }
                first
            });
            while stage.endpoint.counts().events % 500 < deny && !writing.is_finished() {
                std::thread::yield_now();
            }
            let receipt = ask(
                &stage.daemon,
                &json!({"op": "consent", "action": "deny", "tool": TOOL}),
            );
            assert_eq!(receipt["ok"], true);
            let first = writing.join().unwrap();
            (first, ask(&stage.daemon, &event(1_000_000 + round)))
        });
        assert_eq!(
            accepted_after["status"], "declined",
            "round {round} from event {first}"
        );
        let settled = eventually("nothing is left", DEADLINE, || {
            let shown = status(&stage.daemon);
            (shown["queue"]["events"] == 0).then_some(shown)
        });
        // What was sent was sent before the denial was answered, or it was erased.
        let arrived = stage.endpoint.counts().unique;
        assert_eq!(
            booked(&settled, "accepted"),
            booked(&settled, "delivered") + booked(&settled, "purged")
        );
        assert!(arrived >= booked(&settled, "delivered"));
        assert_eq!(
            ask(
                &stage.daemon,
                &json!({"op": "consent", "action": "allow", "tool": TOOL})
            )["ok"],
            true
        );
    }
}

/// The daemon under strace, with these events and that consent; every socket call that it made.
#[cfg(target_os = "linux")]
fn socket_calls(home: &Home, config: &str, live: impl FnOnce(&Daemon)) -> Option<String> {
    let builder = Daemon::builder(home).config(config);
    crate::traced::traced(home, builder, "%network", |daemon| {
        live(daemon);
        assert_eq!(ask(daemon, &json!({"op": "stop"}))["ok"], true);
    })
}

#[cfg(target_os = "linux")]
#[test]
fn with_the_opt_out_in_place_no_internet_socket_is_opened_in_a_daemons_life() {
    // First that the test can see one at all.
    let endpoint = Collector::for_tool(TOOL);
    let on = home();
    let config = destination(&endpoint.url(), SOON);
    let Some(trace) = socket_calls(&on, &config, |daemon| {
        queue(daemon, [event(1)]);
        endpoint.wait_for_ids([id(1)]);
    }) else {
        return;
    };
    assert!(trace.contains("AF_INET"), "nothing was seen:\n{trace}");
    let nothing = Collector::builder().expect_nothing().start();
    for (what, withdraw, _) in [WITHDRAWALS[0], WITHDRAWALS[3]] {
        let off = home();
        let config = destination(&nothing.url(), SOON);
        // With rows from before, so that there would be something to send.
        let mut before = Daemon::start(&off, &destination(&nothing.url(), TOLD));
        queue(&before, (0..10).map(event));
        before.kill9();
        drop(before);
        withdraw(&off);
        // And after a restart.
        for _ in 0..2 {
            let trace = socket_calls(&off, &config, |daemon| {
                assert_eq!(ask(daemon, &event(100))["status"], "declined");
                for op in ["flush", "status", "doctor", "reload", "resume"] {
                    let request = json!({"op": op, "wait": true, "probe": true});
                    assert_eq!(ask(daemon, &request)["ok"], true);
                }
                assert_eq!(status(daemon)["telemetry"]["verdict"], "deny");
            });
            let trace = trace.expect("strace works");
            assert!(trace.contains("AF_UNIX"), "{trace}");
            assert!(
                !trace.contains("AF_INET"),
                "{what}: an internet socket was opened:\n{trace}"
            );
        }
    }
    nothing.finish();
}

fn claimed(n: u64) -> Value {
    let claim = json!({"layer": "project", "verdict": "allow", "source": "./.telemetry"});
    json!({"tool": "asks", "event": "ran", "id": id(n), "consent": claim})
}

fn word(stage: &Stage, action: &str) -> Value {
    ask(
        &stage.daemon,
        &json!({"op": "consent", "action": action, "tool": "asks"}),
    )
}

/// A stage with a tool that is off until somebody allows it.
fn asking() -> Stage {
    let mut stage = Stage::new(Script::new(), TOLD);
    stage.home.write_manifest(
        "asks",
        "name = \"asks\"\nconsent = \"opt-in\"\nevents = \"any\"\n",
    );
    assert_eq!(ask(&stage.daemon, &json!({"op": "reload"}))["ok"], true);
    stage.endpoint.expect_tool("asks");
    stage
}

#[test]
fn what_a_client_was_allowed_to_send_is_sent_over_restarts_and_until_somebody_denies() {
    let mut stage = asking();
    stage.queue([claimed(1)]);
    stage.daemon.restart();
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids([id(1)]);
    // The user's own allow takes nothing away from it, and a denial takes all.
    stage.queue([claimed(2)]);
    assert_eq!(word(&stage, "allow")["purged"], 0);
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids([id(2)]);
    stage.queue([claimed(3)]);
    assert_eq!(word(&stage, "deny")["purged"], 1);
    assert_eq!(ask(&stage.daemon, &claimed(4))["status"], "declined");
    assert_eq!(stage.flush()["left"], 0);
    assert_eq!(stage.endpoint.ids().len(), 2);
}

#[test]
fn what_the_user_allowed_is_erased_when_the_user_takes_the_word_back() {
    let stage = asking();
    assert_eq!(word(&stage, "allow")["ok"], true);
    stage.queue([json!({"tool": "asks", "event": "ran", "id": id(1)})]);
    assert_eq!(word(&stage, "reset")["purged"], 1);
    stage.queue([claimed(2)]);
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids([id(2)]);
    assert_eq!(stage.endpoint.ids().len(), 1);
}

#[test]
fn a_manifest_that_is_gone_or_made_opt_in_withdraws() {
    for narrowed in [
        None,
        Some("name = \"demo\"\nconsent = \"opt-in\"\nevents = \"any\"\n"),
    ] {
        let mut stage = Stage::new(Script::new(), TOLD);
        stage.queue([event(1)]);
        match narrowed {
            None => fs::remove_file(stage.home.tools_dir().join("demo.toml")).unwrap(),
            Some(text) => stage.home.write_manifest(TOOL, text),
        }
        stage.daemon.signal(rustix::process::Signal::HUP);
        eventually("it is erased", DEADLINE, || {
            (booked(&status(&stage.daemon), "purged") == 1).then_some(())
        });
        assert_eq!(ask(&stage.daemon, &event(2))["status"], "declined");
        stage.home.write_manifest(TOOL, &crate::stage::manifest(TOOL));
        assert_eq!(ask(&stage.daemon, &json!({"op": "reload"}))["ok"], true);
        stage.queue([event(3)]);
        assert_eq!(stage.flush()["left"], 0);
        stage.endpoint.wait_for_ids([id(3)]);
        assert_eq!(stage.endpoint.ids().len(), 1);
    }
}

#[test]
fn a_word_names_so_many_tools_and_no_more() {
    let stage = Stage::new(Script::new(), TOLD);
    let say = |tool: &str, action: &str| {
        ask(
            &stage.daemon,
            &json!({"op": "consent", "action": action, "tool": tool}),
        )
    };
    for n in 0..256 {
        let answer = say(&format!("tool-{n}"), "allow");
        assert_eq!(answer["ok"], true, "{answer}");
    }
    let refused = say("one-more", "allow");
    assert_eq!(refused["ok"], false, "{refused}");
    assert!(
        refused["message"]
            .as_str()
            .is_some_and(|text| text.contains("256 tools")),
        "{refused}"
    );
    // What is named already can be changed, and forgotten.
    assert_eq!(say("tool-7", "deny")["ok"], true);
    assert_eq!(say("tool-7", "reset")["ok"], true);
    assert_eq!(say("one-more", "allow")["ok"], true);
}

#[test]
fn a_switch_of_any_kind_of_file_denies() {
    use std::os::unix::fs::symlink;
    let made: [(&str, Withdrawal); 6] = [
        ("opt-out as a directory", |home| {
            fs::create_dir(home.machine_dir().join("opt-out")).unwrap()
        }),
        ("opt-out as a dangling link", |home| {
            symlink("/nowhere/at/all", home.machine_dir().join("opt-out")).unwrap()
        }),
        ("opt-out.d as a file", |home| {
            home.write(home.machine_dir().join("opt-out.d"), "")
        }),
        ("opt-out.d/demo as a directory", |home| {
            fs::create_dir_all(home.machine_dir().join("opt-out.d/demo")).unwrap()
        }),
        ("consent.toml as a directory", |home| {
            fs::create_dir(home.config_dir().join("consent.toml")).unwrap()
        }),
        ("consent.toml as a dangling link", |home| {
            symlink("/nowhere/at/all", home.config_dir().join("consent.toml")).unwrap()
        }),
    ];
    for (what, make) in made {
        let endpoint = Collector::builder().expect_nothing().start();
        let stage = Stage::before(endpoint, TOLD);
        stage.queue([telling(1)]);
        make(&stage.home);
        assert_eq!(stage.flush()["left"], 0, "{what}");
        assert_eq!(ask(&stage.daemon, &event(2))["status"], "declined", "{what}");
        eventually("it is erased", DEADLINE, || {
            (booked(&status(&stage.daemon), "purged") == 1).then_some(())
        });
        stage.endpoint.finish();
    }
}

#[test]
fn a_kill_in_the_middle_of_a_withdrawal_leaves_nothing_that_is_ever_sent() {
    let endpoint = Collector::builder().expect_nothing().start();
    let mut stage = Stage::before(endpoint, TOLD);
    let mut rng = fastrand::Rng::with_seed(5);
    for round in 0..10u64 {
        stage.queue((0..300).map(|n| telling(round * 1_000 + n)));
        let mut tool = stage.daemon.connect();
        tool.send(&json!({"op": "consent", "action": "deny", "tool": TOOL}));
        let until = telemetry_testkit::Deadline::after(Duration::from_micros(rng.u64(0..8_000)));
        while until.left().is_some() {
            std::thread::yield_now();
        }
        stage.daemon.restart();
        // Killed before it was read, the denial was never heard: it is said again.
        assert_eq!(
            ask(
                &stage.daemon,
                &json!({"op": "consent", "action": "deny", "tool": TOOL})
            )["ok"],
            true
        );
        assert_eq!(stage.flush()["left"], 0);
        nothing_is_left_of(&stage.home, "telling-event-name");
        assert_eq!(
            ask(
                &stage.daemon,
                &json!({"op": "consent", "action": "allow", "tool": TOOL})
            )["ok"],
            true
        );
        assert_eq!(stage.flush()["left"], 0);
    }
    assert_eq!(booked(&status(&stage.daemon), "purged"), 3_000);
    stage.endpoint.finish();
}

#[test]
fn of_words_that_are_said_at_once_none_is_lost_whoever_writes_them() {
    let stage = Stage::new(Script::new(), TOLD);
    let nowhere = stage.home.root().join("nowhere.sock");
    for round in 0..5 {
        let mut said: Vec<_> = (0..10)
            .map(|n| {
                let tool = format!("tool-{round}-{n}");
                // Some over the socket, so that the daemon writes them; the others find no daemon.
                let socket = if n % 2 == 0 {
                    stage.home.socket()
                } else {
                    nowhere.clone()
                };
                let args = [
                    "--socket",
                    socket.to_str().unwrap(),
                    "consent",
                    "deny",
                    "--tool",
                    &tool,
                ];
                (tool.clone(), stage.daemon.ctl().spawn(args, None))
            })
            .collect();
        for (_, running) in &mut said {
            running.wait(DEADLINE).expect_code(0);
        }
        let kept = fs::read_to_string(stage.home.config_dir().join("consent.toml")).unwrap();
        for (tool, _) in said {
            assert!(
                kept.contains(&format!("{tool} = false")),
                "{tool} is not in:\n{kept}"
            );
        }
    }
}
