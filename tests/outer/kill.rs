//! The daemon killed with -9 in the middle of its work: no acknowledged event is lost, what comes twice comes with its
//! own ids, and the books balance (I1, I5, I8).

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{Collector, DEADLINE, Daemon, Deadline, Heard, Tool, eventually};

use crate::stage::{TOOL, ask, booked, destination, home, id, parked, status};

/// Lives of a daemon in one test.
const ROUNDS: usize = 20;

/// Clients that write all the time.
const WRITERS: u64 = 3;

/// What the clients heard, over all lives.
#[derive(Default)]
struct Clients {
    acknowledged: Mutex<BTreeSet<String>>,
    sent: Mutex<BTreeSet<String>>,
    next: AtomicU64,
    end: AtomicBool,
    /// Events that a client writes at once, at most.
    burst: u64,
}

impl Clients {
    /// One client: writes bursts, hears answers, connects again when it is cut off, and resends what nobody answered.
    fn write(&self, socket: &Path, ack: &str, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let mut unanswered: Vec<Value> = Vec::new();
        while !self.end.load(Ordering::Relaxed) {
            let Ok(mut tool) = Tool::try_connect(socket) else {
                std::thread::yield_now();
                continue;
            };
            self.one_connection(&mut tool, &mut unanswered, ack, &mut rng);
        }
    }

    fn one_connection(&self, tool: &mut Tool, unanswered: &mut Vec<Value>, ack: &str, rng: &mut Rng) {
        while !self.end.load(Ordering::Relaxed) {
            let fresh = rng.u64(1..=self.burst);
            let first = self.next.fetch_add(fresh, Ordering::Relaxed);
            unanswered.extend((first..first + fresh).map(|n| {
                json!({"tool": TOOL, "event": "ran", "id": id(n), "ack": ack, "properties": {"s": "x".repeat(rng.usize(0..400))}})
            }));
            let lines: String = unanswered.iter().map(|event| format!("{event}\n")).collect();
            self.sent.lock().unwrap().extend(unanswered.iter().map(id_of));
            if tool.try_send_bytes(lines.as_bytes()).is_err() {
                return;
            }
            let mut answered = 0;
            while answered < unanswered.len() {
                // The daemon may die in the middle of a line: that one was not heard.
                let line = match hear(tool) {
                    Some(line) => line,
                    None => break,
                };
                let answer: Value = serde_json::from_str(&line).expect("an answer is JSON");
                if answer["error"] == "shutting_down" {
                    break;
                }
                assert_eq!(answer["ok"], true, "{answer}");
                assert_eq!(answer["id"], unanswered[answered]["id"], "answers come in order");
                self.acknowledged.lock().unwrap().insert(id_of(&answer));
                answered += 1;
            }
            let all = answered == unanswered.len();
            unanswered.drain(..answered);
            if !all {
                return;
            }
        }
    }
}

/// Ends the clients, when the test has failed too: it would wait for them.
struct Ending<'c>(&'c Clients);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end.store(true, Ordering::Relaxed);
    }
}

fn id_of(value: &Value) -> String {
    value["id"].as_str().expect("an id").to_owned()
}

/// A whole line, or nothing when the daemon died.
fn hear(tool: &mut Tool) -> Option<String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tool.hear(DEADLINE)))
        .ok()
        .and_then(|heard| match heard {
            Heard::Line(line) => Some(line),
            Heard::Nothing | Heard::Closed => None,
        })
}

/// Kills a daemon `ROUNDS` times at random moments while clients write and the endpoint has its troubles.
fn lives(ack: &str, seed: u64, burst: u64, script: Script) {
    lives_with(ack, seed, burst, script, |_, _| ());
}

/// The same, with something done to the daemon between two kills.
fn lives_with(ack: &str, seed: u64, burst: u64, script: Script, between: fn(&Daemon, &mut Rng)) {
    let mut rng = Rng::with_seed(seed);
    let endpoint = Collector::builder()
        .script(script)
        .expect_tool(TOOL)
        .expect_duplicates()
        .expect_undecodable()
        .start();
    let home = home();
    let config = "batch = { max_events = 60, max_wait = \"20ms\" }\nretry = { initial = \"10ms\", max = \"50ms\", spread = \"0s\" }\n";
    let mut daemon = Daemon::start(&home, &destination(&endpoint.url(), config));
    let heard = Clients {
        burst,
        ..Clients::default()
    };
    std::thread::scope(|scope| {
        let (heard, socket) = (&heard, daemon.socket());
        let _ending = Ending(heard);
        for writer in 0..WRITERS {
            let socket = socket.clone();
            scope.spawn(move || heard.write(&socket, ack, seed * 100 + writer));
        }
        for round in 0..ROUNDS {
            let until = Deadline::after(Duration::from_millis(rng.u64(5..120)));
            eventually("the moment of the kill", DEADLINE, || {
                until.left().is_none().then_some(())
            });
            between(&daemon, &mut rng);
            daemon.restart();
            assert!(
                !daemon.log().contains("do not balance"),
                "round {round}: {}",
                daemon.log()
            );
            status(&daemon);
        }
    });
    let acknowledged = heard.acknowledged.into_inner().unwrap();
    assert!(
        acknowledged.len() > ROUNDS,
        "only {} events were acknowledged",
        acknowledged.len()
    );
    eventually("nothing is left", DEADLINE, || {
        ask(&daemon, &json!({"op": "resume"}));
        ask(&daemon, &json!({"op": "flush"}));
        (status(&daemon)["queue"]["events"] == 0).then_some(())
    });
    let aside: BTreeSet<String> = parked(&daemon).iter().map(id_of).collect();
    let arrived = endpoint.ids();
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|id| !arrived.contains(*id) && !aside.contains(*id))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged events are lost: {lost:?}\n{}",
        lost.len(),
        acknowledged.len(),
        daemon.log()
    );
    let sent = heard.sent.into_inner().unwrap();
    assert!(arrived.is_subset(&sent), "the endpoint got what nobody sent");
    let shown = status(&daemon);
    let (accepted, delivered) = (booked(&shown, "accepted"), booked(&shown, "delivered"));
    assert_eq!(accepted, delivered + aside.len() as u64, "{shown}");
    assert_eq!(
        accepted,
        (arrived.union(&aside).count()) as u64,
        "each was accepted once, whatever was resent"
    );
    assert_eq!(booked(&shown, "lost"), 0);
    one_batch_for_each(&endpoint);
}

/// I8: an event that came twice came in the same batch, unless that was cut in between.
fn one_batch_for_each(endpoint: &Collector) {
    let cut = endpoint
        .requests()
        .iter()
        .any(|request| matches!(request.answer.status, Some(400..=499)));
    if cut {
        return;
    }
    let mut batch_of: BTreeMap<String, String> = BTreeMap::new();
    for request in endpoint.requests() {
        let Some(key) = request.idempotency_key() else {
            continue;
        };
        for id in request.ids() {
            let known = batch_of.entry(id.to_owned()).or_insert_with(|| key.to_owned());
            assert_eq!(known, key, "event {id} came in two batches");
        }
    }
}

#[test]
fn after_twenty_kills_no_acknowledged_event_is_lost_and_the_books_balance() {
    lives("queued", 1, 40, Script::new());
}

#[test]
fn after_twenty_kills_no_synced_event_is_lost() {
    lives("synced", 2, 40, Script::new());
}

#[test]
fn after_twenty_kills_before_an_endpoint_with_every_trouble_no_event_is_lost() {
    let script = Script::new()
        .then(Step::status(503).every(5))
        .then(Step::status(500).store(true).every(7))
        .then(Step::reset().every(11))
        .then(Step::half(20).store(true).every(13))
        .then(Step::too_large(9_000));
    lives("queued", 3, 5, script);
}

#[test]
fn a_kill_before_any_answer_leaves_a_daemon_that_starts() {
    let home = home();
    home.write_config(&destination("http://127.0.0.1:9/", ""));
    let mut rng = Rng::with_seed(4);
    for _ in 0..ROUNDS {
        let mut started = Daemon::builder(&home).spawn();
        let until = Deadline::after(Duration::from_micros(rng.u64(0..25_000)));
        while until.left().is_some() {
            // A client that comes at any moment is served or refused.
            let _ = UnixStream::connect(home.socket());
        }
        started.kill();
    }
    let daemon = Daemon::builder(&home).start();
    assert!(!daemon.log().contains("corrupt"), "{}", daemon.log());
    assert_eq!(status(&daemon)["queue"]["events"], 0);
}

/// What people ask of a daemon, none of which may cost an event.
const ASKED: [&str; 14] = [
    r#"{"op":"pause"}"#,
    r#"{"op":"pause","for_ms":5}"#,
    r#"{"op":"resume"}"#,
    r#"{"op":"flush"}"#,
    r#"{"op":"flush","wait":true,"timeout_ms":20}"#,
    r#"{"op":"reload"}"#,
    r#"{"op":"status"}"#,
    r#"{"op":"queue","action":"list"}"#,
    r#"{"op":"queue","action":"next_batch"}"#,
    r#"{"op":"queue","action":"requeue"}"#,
    r#"{"op":"queue","action":"purge","tool":"other"}"#,
    r#"{"op":"consent","action":"deny","tool":"other"}"#,
    r#"{"op":"sent","bodies":true}"#,
    r#"{"op":"tail"}"#,
];

#[test]
fn after_twenty_kills_among_all_that_people_ask_no_event_is_lost() {
    let script = Script::new()
        .then(Step::status(503).every(6))
        .then(Step::status(401).every(17));
    lives_with("queued", 5, 10, script, |daemon, rng| {
        // On a connection each, so that one that waits holds back none; not all are listened to.
        let mut asked: Vec<Tool> = Vec::new();
        for _ in 0..rng.usize(1..12) {
            let mut tool = daemon.connect();
            tool.send_line(ASKED[rng.usize(..ASKED.len())]);
            if rng.bool() {
                tool.hear(Duration::from_millis(rng.u64(0..30)));
            }
            asked.push(tool);
        }
    });
}
