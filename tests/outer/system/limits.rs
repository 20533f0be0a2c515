//! What one user may take of the sockets, and that nobody else feels it.

use std::io::Write;

use serde_json::{Value, json};
use telemetry_testkit::{DEADLINE, Heard, Tool, eventually};

use super::{ANN, BEN, Machine, announce, connect_as};
use crate::stage::{TOLD, TOOL, booked, event};

#[test]
fn a_user_has_so_many_connections_and_the_next_one_is_told_and_closed() {
    let Some(machine) = Machine::start(TOLD, "[limits]\nmax_connections_per_user = 3\n") else {
        return;
    };
    let mut open: Vec<Tool> = (0..3).map(|_| machine.connect(ANN)).collect();
    for tool in &mut open {
        assert_eq!(tool.ask(&json!({"op": "hello", "protocol": 1}))["ok"], true);
    }
    let mut fourth = machine.connect(ANN);
    let Heard::Line(line) = fourth.hear(DEADLINE) else {
        panic!("nothing was said");
    };
    let refused: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(refused["error"], "rate_limited", "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("limits.max_connections_per_user"), "{message}");
    assert_eq!(fourth.hear(DEADLINE), Heard::Closed);
    // The others are served, and so is she when one of hers has left.
    assert_eq!(machine.ask(BEN, &event(1))["status"], "queued");
    assert_eq!(open[0].ask(&event(2))["status"], "queued");
    open.pop();
    eventually("there is room again", DEADLINE, || {
        let mut tool = machine.connect(ANN);
        tool.send(&event(3));
        matches!(tool.hear(DEADLINE), Heard::Line(line) if line.contains("\"ok\":true")).then_some(())
    });
}

#[test]
fn the_default_is_sixty_four_connections_a_user() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    let mut open: Vec<Tool> = (0..64).map(|_| machine.connect(ANN)).collect();
    assert_eq!(open[63].ask(&event(1))["status"], "queued");
    let mut next = machine.connect(ANN);
    assert!(matches!(next.hear(DEADLINE), Heard::Line(line) if line.contains("rate_limited")));
    assert_eq!(machine.ask(BEN, &event(2))["status"], "queued");
}

/// Answers by their `status`, or their `error`.
fn flood(socket: &std::path::Path, uid: u32, connections: usize, lines: usize) -> (usize, usize) {
    let mut sum = (0, 0);
    let flooding: Vec<_> = (0..connections)
        .map(|_| {
            let mut tool = connect_as(socket, uid);
            std::thread::spawn(move || {
                let mut writing = tool.stream().try_clone().expect("a socket of our own");
                let writer = std::thread::spawn(move || {
                    let line = format!("{}\n", json!({"tool": TOOL, "event": "noise"}));
                    for _ in 0..lines {
                        writing.write_all(line.as_bytes()).expect("the daemon reads");
                    }
                });
                let (mut queued, mut limited) = (0, 0);
                for _ in 0..lines {
                    let answer = tool.answer();
                    match (answer["status"].as_str(), answer["error"].as_str()) {
                        (Some("queued"), _) => queued += 1,
                        (_, Some("rate_limited")) => limited += 1,
                        _ => panic!("{answer}"),
                    }
                }
                writer.join().expect("all was written");
                (queued, limited)
            })
        })
        .collect();
    for one in flooding {
        let (queued, limited) = one.join().expect("every line was answered");
        sum = (sum.0 + queued, sum.1 + limited);
    }
    sum
}

#[test]
fn a_flood_of_one_user_is_rate_limited_and_every_event_of_another_is_taken() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    let socket = machine.home.socket();
    let quiet = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&socket, ANN, 32, 500));
        let mut taken = 0;
        // He comes by again and again, for as long as she floods.
        while !flooding.is_finished() || taken < 200 {
            let answer = machine.ask(BEN, &event(10_000 + taken));
            assert_eq!(answer["status"], "queued", "{answer}");
            taken += 1;
        }
        let (queued, limited) = flooding.join().expect("the flood was answered");
        assert_eq!(queued + limited, 16_000);
        // The burst, and a thousand a second as long as it took.
        assert!(queued >= 10_000, "{queued}");
        assert!(limited > 0, "{queued} were all taken");
        assert_eq!(booked(&machine.status(ANN), "accepted"), queued as u64);
        taken
    });
    assert_eq!(booked(&machine.status(BEN), "accepted"), quiet);
}

#[test]
fn idle_connections_of_some_users_do_not_keep_out_another() {
    let few = "[limits]\nmax_connections = 16\nmax_connections_per_user = 8\n";
    let Some(machine) = Machine::start(TOLD, few) else {
        return;
    };
    let hello = json!({"op": "hello", "protocol": 1});
    let idle = |uid: u32, count: usize| -> Vec<Tool> {
        let one = |_| {
            let mut tool = machine.connect(uid);
            assert_eq!(tool.ask(&hello)["ok"], true);
            tool
        };
        (0..count).map(one).collect()
    };
    // As many as there are: who has most gives up those that said nothing for longest.
    let mut hers = idle(ANN, 8);
    let mut his = idle(BEN, 8);
    for uid in 64_100..64_120 {
        assert_eq!(machine.ask(uid, &event(u64::from(uid)))["status"], "queued");
    }
    assert_eq!(hers[0].hear(DEADLINE), Heard::Closed);
    // What had reached the socket of one that has to leave is taken all the same.
    let mut more = Vec::new();
    for n in 0..16 {
        his.last_mut().unwrap().send(&event(200 + n));
        more.extend(idle(u32::try_from(64_200 + n).unwrap(), 1));
    }
    eventually("all are taken", DEADLINE, || {
        (booked(&machine.status(BEN), "accepted") == 16).then_some(())
    });
}

#[test]
fn who_connects_in_a_loop_keeps_nobody_out() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    let socket = machine.home.socket();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    drop(connect_as(&socket, ANN));
                }
            });
        }
        for n in 0..200 {
            assert_eq!(machine.ask(BEN, &event(n))["status"], "queued");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    eventually("she is let in again", DEADLINE, || {
        let mut tool = machine.connect(ANN);
        let asked = tool.stream().write_all(b"{\"op\":\"hello\"}\n");
        let heard = matches!(tool.hear(DEADLINE), Heard::Line(line) if line.contains("\"ok\":true"));
        (asked.is_ok() && heard).then_some(())
    });
    assert_eq!(booked(&machine.status(BEN), "accepted"), 200);
}

#[test]
fn the_rate_is_each_tools_own_of_each_user() {
    let rate = "[limits]\nrate = { per_second = 1, burst = 5 }\n";
    let Some(machine) = Machine::start(TOLD, rate) else {
        return;
    };
    let other = |n: u64| json!({"tool": "other", "event": "ran", "id": crate::stage::id(n)});
    machine.queue(ANN, (1..6).map(event));
    assert_eq!(machine.ask(ANN, &event(6))["error"], "rate_limited");
    machine.queue(ANN, (11..16).map(other));
    machine.queue(BEN, (21..26).map(event));
    assert_eq!(machine.ask(ANN, &other(16))["error"], "rate_limited");
}

#[test]
fn a_user_has_sixty_four_tools_and_takes_none_of_anothers() {
    let Some(machine) = Machine::start(TOLD, "") else {
        return;
    };
    let tool = |n: usize| format!("tool{n}");
    for n in 0..65 {
        announce(&machine.home, &tool(n));
    }
    assert_eq!(machine.ask(super::ROOT, &json!({"op": "reload"}))["ok"], true);
    let ran = |n: usize| json!({"tool": tool(n), "event": "ran"});
    machine.queue(ANN, (0..64).map(ran));
    assert_eq!(machine.ask(ANN, &ran(64))["error"], "queue_full");
    machine.queue(BEN, (1..65).map(ran));
    assert_eq!(machine.ask(BEN, &ran(0))["error"], "queue_full");
}
