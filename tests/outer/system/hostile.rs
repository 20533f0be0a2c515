//! One user who means no good, and another at the same machine: the other is served, nothing is taken from anybody,
//! and nothing stays behind (I6, I13).

use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use telemetry_testkit::{DEADLINE, Tool, eventually};

use super::{ANN, BEN, Machine, builder, connect_as, machine};
use crate::stage::{TOLD, TOOL, booked, destination, event, id, peak_kib};

/// At most, in KiB: of a release build it is half as much.
const MEMORY: u64 = 64 * 1024;

/// A stream of that user's which gives up when it is not read.
fn stream(machine: &Machine, uid: u32) -> UnixStream {
    let stream = machine.connect(uid).stream().try_clone().unwrap();
    stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    stream
}

type Way = fn(&Machine, &AtomicBool);

/// Ways to be a bad neighbour, each over and over until told to stop. A connection that was closed is none of ours.
const WAYS: [(&str, Way); 6] = [
    ("connects and says nothing", |machine, done| {
        while !done.load(Ordering::Relaxed) {
            drop((0..40).map(|_| machine.connect(ANN)).collect::<Vec<_>>());
        }
    }),
    ("writes a byte at a time", |machine, done| {
        while !done.load(Ordering::Relaxed) {
            let mut stream = stream(machine, ANN);
            for byte in event(1).to_string().bytes() {
                if stream.write_all(&[byte]).is_err() || done.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    }),
    ("never reads", |machine, done| {
        let asked = format!("{}\n", json!({"op": "config"})).repeat(200);
        while !done.load(Ordering::Relaxed) {
            let mut stream = stream(machine, ANN);
            while !done.load(Ordering::Relaxed) && stream.write_all(asked.as_bytes()).is_ok() {}
        }
    }),
    ("writes without end and without a line feed", |machine, done| {
        let piece = vec![b'{'; 1 << 20];
        while !done.load(Ordering::Relaxed) {
            let mut stream = stream(machine, ANN);
            while !done.load(Ordering::Relaxed) && stream.write_all(&piece).is_ok() {}
        }
    }),
    ("writes JSON as deep as a line is long", |machine, done| {
        let deep = format!("{{\"tool\":\"{TOOL}\",\"event\":{}\n", "[".repeat(60_000));
        while !done.load(Ordering::Relaxed) {
            let mut stream = stream(machine, ANN);
            while !done.load(Ordering::Relaxed) && stream.write_all(deep.as_bytes()).is_ok() {}
        }
    }),
    ("asks for everything", |machine, done| {
        let mut all = String::new();
        for op in ["status", "metrics", "doctor", "sent", "tail"] {
            all.push_str(&format!("{}\n", json!({"op": op, "all_users": true})));
        }
        while !done.load(Ordering::Relaxed) {
            let mut stream = stream(machine, ANN);
            for _ in 0..20 {
                if stream.write_all(all.as_bytes()).is_err() {
                    break;
                }
            }
        }
    }),
];

fn descriptors(machine: &Machine) -> usize {
    fs::read_dir(format!("/proc/{}/fd", machine.daemon.pid()))
        .unwrap()
        .count()
}

#[test]
fn whatever_one_user_does_every_event_of_another_is_taken_and_nothing_stays_behind() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    machine.queue(BEN, [event(0)]);
    let before = descriptors(&machine);
    let mut taken = 1;
    for (way, hostile) in WAYS {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| hostile(&machine, &done));
            }
            for _ in 0..60 {
                let answer = machine.ask(BEN, &event(taken));
                if answer["status"] != "queued" {
                    done.store(true, Ordering::Relaxed);
                    panic!("{way}: {answer}");
                }
                taken += 1;
            }
            done.store(true, Ordering::Relaxed);
        });
    }
    assert_eq!(booked(&machine.status(BEN), "accepted"), taken);
    eventually("what was opened is closed", DEADLINE, || {
        (descriptors(&machine) <= before + 1).then_some(())
    });
    let peak = peak_kib(&machine.daemon);
    assert!(peak < MEMORY, "{peak} KiB at most");
}

#[test]
fn a_gigabyte_without_a_line_feed_is_one_line_too_large_and_is_kept_nowhere() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    let mut tool = machine.connect(ANN);
    let mut stream = tool.stream().try_clone().unwrap();
    let piece = vec![b'{'; 1 << 20];
    for at in 0..1024 {
        stream.write_all(&piece).unwrap();
        if at % 64 == 0 {
            assert_eq!(machine.ask(BEN, &event(at / 64))["status"], "queued");
        }
    }
    stream.write_all(b"\n").unwrap();
    assert_eq!(tool.answer()["error"], "too_large");
    assert_eq!(tool.ask(&event(1))["status"], "queued", "the connection goes on");
    let peak = peak_kib(&machine.daemon);
    assert!(peak < MEMORY, "{peak} KiB at most");
}

#[test]
fn an_id_that_one_user_has_used_is_anothers_to_use_as_well() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    // She guesses his ids and is there first.
    machine.queue(ANN, (1..11).map(event));
    machine.queue(BEN, (1..11).map(event));
    assert_eq!(machine.ask(ANN, &event(1))["status"], "duplicate");
    for uid in [ANN, BEN] {
        assert_eq!(booked(&machine.status(uid), "accepted"), 10, "{uid}");
    }
    let purge = json!({"op": "queue", "action": "purge", "id": id(1), "yes": true});
    machine.ask(ANN, &purge);
    assert_eq!(booked(&machine.status(BEN), "queued"), 10);
}

#[test]
fn a_state_directory_of_another_users_is_refused_and_nothing_is_written_to_it() {
    let Some(home) = machine() else {
        return;
    };
    let config = destination("http://127.0.0.1:9/", TOLD);
    let mut first = builder(&home, &config).start();
    let mut tool: Tool = connect_as(&home.socket(), ANN);
    assert_eq!(tool.ask(&event(1))["status"], "queued");
    drop(tool);
    first.kill9();
    drop(first);
    let state = home.state_dir();
    for what in [state.clone(), state.join("queue.db")] {
        chown(&what, Some(BEN), Some(BEN)).unwrap();
        let listing = || -> Vec<_> {
            let entries = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap());
            let mut names: Vec<_> = entries
                .map(|entry| (entry.file_name(), entry.metadata().unwrap().len()))
                .filter(|(name, _)| name != "telemetryd.log")
                .collect();
            names.sort();
            names
        };
        let before = listing();
        let exit = builder(&home, &config).run();
        assert!(exit.code != Some(0), "{exit:?}");
        assert!(exit.stderr.contains(&format!("uid {BEN}")), "{}", exit.stderr);
        assert_eq!(listing(), before, "{}", what.display());
        chown(&what, Some(0), Some(0)).unwrap();
    }
    // It is taken up again once it is the daemon's.
    let daemon = builder(&home, &config).start();
    let status = connect_as(&home.socket(), ANN).ask(&json!({"op": "status"}));
    assert_eq!(booked(&status, "queued"), 1, "{}", daemon.log());
}
