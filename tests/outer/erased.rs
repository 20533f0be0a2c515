//! Erased means erased (CONSENT.md, "Epochs"): after a withdrawal no byte of what it covers is in any file of the state
//! directory, whatever the size of the events and wherever they were: waiting, half delivered, parked, in the log of what
//! was sent, in a file that was set aside as corrupt, in a database that a kill left unfinished.

use std::fs;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{DEADLINE, Home, eventually};

use crate::stage::{Stage, TOLD, TOOL, ask, booked, id, queue, status};

/// What no other file in the world has in it; a body is made of it, so that each page of an event has some.
const NEEDLE: &str = "n33dl3-";
/// What belongs to the other tool, and stays.
const STAYS: &str = "st4ys-";

/// From a byte to just under the largest event: within a page of 4 KiB and of 16 KiB, at its borders, and over several.
const SIZES: [usize; 14] = [
    1, 7, 60, 300, 1_000, 3_900, 4_096, 4_200, 8_192, 16_000, 16_384, 20_000, 40_000, 60_000,
];

fn body(of: &str, bytes: usize) -> String {
    of.chars().cycle().take(bytes).collect()
}

/// Events of all sizes, numbered from `first`, in an order that mixes them.
fn events(tool: &str, of: &str, first: u64, count: u64) -> Vec<Value> {
    (0..count)
        .map(|n| {
            let size = SIZES[usize::try_from((n * 5 + first) % SIZES.len() as u64).unwrap()];
            json!({
                "tool": tool, "event": format!("{of}event"), "id": id(first + n), "version": body(of, 40),
                "properties": {"s": body(of, size), "more": {of: n}},
            })
        })
        .collect()
}

/// The files below that have the word in them.
fn holding(directory: &Path, word: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, word));
        } else if fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(word.len()).any(|part| part == word.as_bytes()))
        {
            found.push(path);
        }
    }
    found
}

#[track_caller]
fn nothing_is_left(home: &Home, when: &str) {
    // Half a word would be as telling.
    for part in [NEEDLE, "n33dl", "33dl3-n"] {
        assert_eq!(
            holding(&home.state_dir(), part),
            Vec::<PathBuf>::new(),
            "{when}: {part}"
        );
    }
}

/// A stage with events of both tools in every state there is.
fn in_every_state() -> Stage {
    let script = Script::new().then(Step::status(400).event("poison"));
    let few = TOLD.replace("max_wait = \"1h\"", "max_wait = \"1h\", max_events = 7");
    let stage = Stage::new(script, &few);
    stage.queue(events(TOOL, NEEDLE, 1, 30));
    stage.queue(events("other", STAYS, 1_000, 15));
    let poison = |n: u64| json!({"tool": TOOL, "event": "poison", "id": id(n), "properties": {"s": body(NEEDLE, 5_000)}});
    stage.queue((500..503).map(poison));
    assert_eq!(stage.flush()["left"], 0);
    assert!(booked(&status(&stage.daemon), "parked") >= 3);
    // More that is sent as it comes, and more that waits: segments of which a part is delivered.
    stage.queue(events(TOOL, NEEDLE, 1_500, 20));
    assert_eq!(ask(&stage.daemon, &json!({"op": "pause"}))["ok"], true);
    stage.queue(events(TOOL, NEEDLE, 2_000, 60));
    stage.queue(events("other", STAYS, 3_000, 30));
    stage
}

fn deny(stage: &Stage) -> Value {
    let receipt = ask(
        &stage.daemon,
        &json!({"op": "consent", "action": "deny", "tool": TOOL}),
    );
    assert_eq!(receipt["ok"], true, "{receipt}");
    receipt
}

/// What is left is the other tool's, whole.
fn the_others_are_whole(stage: &Stage) {
    let books = status(&stage.daemon);
    let rows = books["books"].as_array().unwrap();
    let sum = |tool: &str, column: &str| -> u64 {
        let own = rows.iter().filter(|book| book["tool"] == tool);
        own.map(|book| book[column].as_u64().unwrap()).sum()
    };
    assert_eq!((sum(TOOL, "queued"), sum(TOOL, "parked")), (0, 0));
    assert_eq!(sum("other", "purged"), 0);
    assert_eq!(ask(&stage.daemon, &json!({"op": "resume"}))["ok"], true);
    assert_eq!(stage.flush()["left"], 0);
    stage.endpoint.wait_for_ids((3_000..3_030).map(id));
}

#[test]
fn of_what_waits_is_parked_or_was_sent_no_byte_is_left_in_any_file() {
    let stage = in_every_state();
    assert!(
        !holding(&stage.home.state_dir(), NEEDLE).is_empty(),
        "the test can see"
    );
    let receipt = deny(&stage);
    nothing_is_left(&stage.home, "after a denial");
    assert_eq!(receipt["purged"], booked(&status(&stage.daemon), "purged"));
    assert!(receipt["sent_bodies"].as_u64().unwrap() > 0, "{receipt}");
    the_others_are_whole(&stage);
    assert!(!holding(&stage.home.state_dir(), STAYS).is_empty());
}

#[test]
fn after_a_kill_at_any_time_the_next_daemon_leaves_no_byte_either() {
    for turn in 0..6_u64 {
        let mut stage = in_every_state();
        // In the middle of writing, of sending, or of nothing at all.
        match turn % 3 {
            0 => {}
            1 => {
                let mut tool = stage.daemon.connect();
                for event in events(TOOL, NEEDLE, 5_000, 40) {
                    tool.send(&event);
                }
            }
            _ => {
                ask(&stage.daemon, &json!({"op": "resume"}));
                ask(&stage.daemon, &json!({"op": "flush"}));
            }
        }
        stage.daemon.kill9();
        stage
            .home
            .write(stage.home.machine_dir().join("opt-out.d").join(TOOL), "");
        stage.daemon.restart();
        nothing_is_left(&stage.home, &format!("turn {turn}"));
        // A batch that was on its way may have been delivered and not settled: it goes once more.
        stage.endpoint.expect_duplicates();
        the_others_are_whole(&stage);
    }
}

#[test]
fn a_file_that_was_set_aside_as_corrupt_goes_too() {
    let mut stage = in_every_state();
    stage.endpoint.expect_duplicates();
    stage.daemon.kill9();
    let file = stage.home.state_dir().join("queue.db");
    let mut database = fs::OpenOptions::new().write(true).open(&file).unwrap();
    // A page in the middle, so that most can be salvaged and the old file has all the rest.
    let middle = database.metadata().unwrap().len() / 2 / 4096 * 4096;
    database.seek(std::io::SeekFrom::Start(middle)).unwrap();
    database.write_all(&[0xA5; 4096]).unwrap();
    database.rewind().unwrap();
    database.write_all(b"no database any more").unwrap();
    drop(database);
    stage.daemon.restart();
    let aside = eventually("it is set aside", DEADLINE, || {
        let names = fs::read_dir(stage.home.state_dir()).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.find(|name| name.starts_with("queue.db.corrupt-"))
    });
    let aside = stage.home.state_dir().join(aside);
    assert!(!holding(&stage.home.state_dir(), NEEDLE).is_empty());
    deny(&stage);
    nothing_is_left(&stage.home, "after a denial");
    assert!(!aside.exists(), "it held everybody's bytes");
}

#[test]
fn what_a_client_left_for_the_next_daemon_goes_too_with_a_daemon_and_without() {
    let spooled = |home: &Home, n: u64, tool: &str, of: &str| {
        let name = format!("spool/{}.{tool}.ndjson", id(n));
        let line = json!({"tool": tool, "event": format!("{of}event"), "id": id(n), "time": 0});
        home.write(home.state_dir().join(name), format!("{line}\n"));
    };
    for with_a_daemon in [true, false] {
        let mut stage = Stage::new(Script::new(), TOLD);
        if !with_a_daemon {
            stage.daemon.term().expect_code(0);
        }
        spooled(&stage.home, 1, TOOL, NEEDLE);
        spooled(&stage.home, 2, "other", STAYS);
        telemetry_testkit::Ctl::new(&stage.home).ok(["opt-out", "--tool", TOOL]);
        nothing_is_left(&stage.home, "after opt-out");
        // By a file, which the daemon sees.
        if with_a_daemon {
            assert!(!holding(&stage.home.state_dir(), STAYS).is_empty());
            stage.home.write(stage.home.machine_dir().join("opt-out"), "");
            eventually("the spool is empty", DEADLINE, || {
                holding(&stage.home.state_dir(), STAYS).is_empty().then_some(())
            });
        }
    }
}

#[test]
fn what_is_forgotten_leaves_no_byte_and_no_trace_in_the_log_of_what_was_sent() {
    let stage = in_every_state();
    let sent = |stage: &Stage| crate::stage::list(&stage.daemon, &json!({"op": "sent", "tool": TOOL})).len();
    assert!(sent(&stage) > 0);
    let receipt = ask(&stage.daemon, &json!({"op": "forget", "tool": TOOL}));
    assert_eq!(receipt["ok"], true, "{receipt}");
    nothing_is_left(&stage.home, "after forgetting");
    assert_eq!(sent(&stage), 0);
    the_others_are_whole(&stage);
    // Nothing was denied: the next event is taken.
    queue(&stage.daemon, [crate::stage::event(9_000)]);
}
