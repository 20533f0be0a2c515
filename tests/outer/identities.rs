//! The id under which the endpoints know a user ends with each withdrawal, however short it was and whether or not a
//! daemon ran to see it, and with a "forget" (I3).

use serde_json::{Value, json};
use telemetry_testkit::Ctl;
use telemetry_testkit::sink::Script;

use crate::stage::{Stage, TOLD, TOOL, event, list};

/// The `anonymous_id` under which this event arrives.
#[track_caller]
fn sent_as(stage: &Stage, n: u64) -> String {
    stage.queue([event(n)]);
    arrived_as(stage, n)
}

#[track_caller]
fn arrived_as(stage: &Stage, n: u64) -> String {
    stage.flush();
    let events = stage.endpoint.events();
    let found = events.iter().find(|found| found["id"] == event(n)["id"]);
    found.unwrap()["anonymous_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_withdrawal_while_no_daemon_runs_ends_the_id() {
    let mut stage = Stage::new(Script::new(), TOLD);
    let mut before = sent_as(&stage, 1);
    for (n, what) in [(2, &["--tool", TOOL][..]), (3, &[])] {
        stage.daemon.term();
        let ctl = Ctl::new(&stage.home);
        ctl.ok(["opt-out"].iter().chain(what));
        let kept = stage.home.state_dir().join("identity");
        let files: Vec<_> = std::fs::read_dir(kept).unwrap().collect();
        assert!(files.is_empty(), "{files:?}");
        ctl.ok(["opt-in"].iter().chain(what));
        stage.daemon.restart();
        let after = sent_as(&stage, n);
        assert_ne!(after, before, "{what:?}");
        before = after;
    }
    stage.daemon.restart();
    assert_eq!(sent_as(&stage, 4), before, "nobody withdrew anything");
}

#[test]
fn a_withdrawal_of_a_moment_ends_the_id() {
    let stage = Stage::new(Script::new(), TOLD);
    let mut before = sent_as(&stage, 1);
    for n in 2..=6 {
        let mut tool = stage.daemon.connect();
        let consent = |action: &str| json!({"op": "consent", "action": action, "tool": TOOL});
        let mut taken = event(n);
        taken["ack"] = json!("queued");
        let lines = [consent("deny"), consent("allow"), taken];
        tool.send_bytes(lines.map(|line| format!("{line}\n")).concat().as_bytes());
        for _ in 0..2 {
            let done = tool.answer();
            assert_eq!(done["ok"], true, "{done}");
        }
        assert_eq!(tool.answer()["status"], "queued");
        let after = arrived_as(&stage, n);
        assert_ne!(after, before);
        let known = list(&stage.daemon, &json!({"op": "identity"}));
        assert_eq!(known.len(), 1, "{known:?}");
        assert_eq!(known[0]["anonymous_id"], *after);
        before = after;
    }
}

#[test]
fn nothing_that_is_taken_while_a_user_is_forgotten_carries_the_old_id() {
    let stage = Stage::new(Script::new(), TOLD);
    let before = sent_as(&stage, 1);
    // Fewer than a batch, all of them: nothing leaves before it is told to.
    stage.queue((2..200).map(event));
    std::thread::scope(|scope| {
        let more = scope.spawn(|| stage.queue((200..450).map(event)));
        let forgotten = stage.daemon.connect().ask(&json!({"op": "forget", "tool": TOOL}));
        assert_eq!(forgotten["status"], "forgotten", "{forgotten}");
        more.join().unwrap();
    });
    let after = sent_as(&stage, 9000);
    assert_ne!(after, before);
    let events = stage.endpoint.events();
    let old: Vec<&Value> = events
        .iter()
        .filter(|event| event["anonymous_id"] == *before)
        .collect();
    assert_eq!(old.len(), 1, "the one that was sent before: {:?}", old.last());
}
