//! Clients of every kind: many at once, broken ones, endless ones, and ones that never read. None takes anything from
//! the others (I6).

use std::fs::Permissions;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use telemetry_testkit::sink::Script;
use telemetry_testkit::{DEADLINE, Heard, Running, Tool, eventually};

use crate::stage::{SOON, Stage, TOLD, TOOL, ask, booked, event, id, peak_kib, status, waiting};

/// A number of the OpenMetrics text.
fn metric(stage: &Stage, name: &str) -> u64 {
    let text = ask(&stage.daemon, &json!({"op": "metrics"}))["text"]
        .as_str()
        .expect("a text")
        .to_owned();
    let line = text
        .lines()
        .find(|line| line.starts_with(name) && !line.starts_with('#'));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

fn without_ack(n: u64) -> String {
    format!(
        "{}\n",
        json!({"tool": TOOL, "event": "ran", "id": id(n), "ack": "none"})
    )
}

#[test]
fn of_five_hundred_that_connect_write_and_close_at_once_none_is_lost() {
    let stage = Stage::new(Script::new(), SOON);
    let socket = stage.daemon.socket();
    std::thread::scope(|scope| {
        for writer in 0..20 {
            let socket = &socket;
            scope.spawn(move || {
                let open: Vec<UnixStream> = (0..25)
                    .map(|_| UnixStream::connect(socket).expect("the backlog holds them"))
                    .collect();
                for (n, mut stream) in (writer * 25..).zip(open) {
                    stream
                        .write_all(without_ack(n).as_bytes())
                        .expect("the socket's buffer takes a line");
                }
            });
        }
    });
    stage.endpoint.wait_for_ids((0..500).map(id));
    assert_eq!(booked(&status(&stage.daemon), "accepted"), 500);
}

#[test]
fn a_client_that_closes_right_after_a_large_write_loses_nothing() {
    let stage = Stage::new(Script::new(), TOLD);
    for round in 0..10u64 {
        let mut stream = UnixStream::connect(stage.daemon.socket()).unwrap();
        let lines: String = (0..300).map(|n| without_ack(round * 300 + n)).collect();
        stream.write_all(lines.as_bytes()).unwrap();
    }
    eventually("all are accepted", DEADLINE, || {
        (booked(&status(&stage.daemon), "accepted") == 3_000).then_some(())
    });
    // With answers that nobody reads it is the same.
    for round in 0..10u64 {
        let mut stream = UnixStream::connect(stage.daemon.socket()).unwrap();
        let lines: String = (0..300)
            .map(|n| format!("{}\n", event(10_000 + round * 300 + n)))
            .collect();
        stream.write_all(lines.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    }
    eventually("these too", DEADLINE, || {
        (booked(&status(&stage.daemon), "accepted") == 6_000).then_some(())
    });
}

#[test]
fn a_half_line_at_the_end_is_dropped_and_counted_and_what_came_before_is_kept() {
    let stage = Stage::new(Script::new(), TOLD);
    let mut stream = UnixStream::connect(stage.daemon.socket()).unwrap();
    let whole = without_ack(1);
    // A whole object without its newline is not a line.
    stream
        .write_all(format!("{whole}{}", without_ack(2).trim_end()).as_bytes())
        .unwrap();
    drop(stream);
    eventually("it is counted", DEADLINE, || {
        (metric(&stage, "telemetryd_lines_truncated") == 1).then_some(())
    });
    let rows = waiting(&stage.daemon);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["id"], id(1));
}

#[test]
fn an_endless_line_is_skipped_in_bounded_memory_and_the_next_is_served() {
    let stage = Stage::new(Script::new(), TOLD);
    let mut tool = stage.daemon.connect();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..1024 {
        tool.send_bytes(&piece);
    }
    assert_eq!(
        ask(&stage.daemon, &event(1))["status"],
        "queued",
        "others are served meanwhile"
    );
    tool.send_line("");
    let answer = tool.answer();
    assert_eq!(answer["error"], "too_large", "{answer}");
    assert_eq!(tool.ask(&event(2))["status"], "queued");
    let peak = peak_kib(&stage.daemon);
    assert!(peak < 40 * 1024, "{peak} KiB at most");
}

#[test]
fn many_long_unfinished_lines_are_held_and_no_more() {
    let stage = Stage::new(Script::new(), TOLD);
    let begun: Vec<Tool> = (0..100)
        .map(|_| {
            let mut tool = stage.daemon.connect();
            tool.send_bytes(&[b'x'; 65_000]);
            tool
        })
        .collect();
    assert_eq!(ask(&stage.daemon, &event(1))["status"], "queued");
    let peak = peak_kib(&stage.daemon);
    assert!(peak < 40 * 1024, "{peak} KiB at most");
    drop(begun);
    eventually("all are counted", DEADLINE, || {
        (metric(&stage, "telemetryd_lines_truncated") == 100).then_some(())
    });
}

#[test]
fn a_client_that_never_reads_is_cut_off_and_others_are_served_meanwhile() {
    for limits in ["answer_timeout = \"500ms\"\n", "max_unread = \"8KiB\"\n"] {
        let stage = Stage::new(Script::new(), &format!("{TOLD}[limits]\n{limits}"));
        let mut deaf = stage.daemon.connect();
        let mut others = stage.daemon.connect();
        let mut n = 0;
        // The socket's buffers take some; then the daemon stops reading, or cuts off.
        let lines: String = (0..2_000).map(|n| format!("{}\n", event(n))).collect();
        let cut_off = std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                for _ in 0..200 {
                    if deaf.try_send_bytes(lines.as_bytes()).is_err() {
                        return true;
                    }
                }
                false
            });
            while !sending.is_finished() {
                n += 1;
                assert_eq!(others.ask(&event(1_000_000 + n))["status"], "queued");
            }
            sending.join().unwrap()
        });
        assert!(cut_off, "{limits}: it was never cut off");
        assert_eq!(others.ask(&event(2_000_000))["status"], "queued");
        eventually("it is counted", DEADLINE, || {
            (metric(&stage, "telemetryd_connections_cut_off") == 1).then_some(())
        });
        assert!(
            peak_kib(&stage.daemon) < 40 * 1024,
            "{} KiB",
            peak_kib(&stage.daemon)
        );
    }
}

#[test]
fn a_tail_that_nobody_reads_holds_back_nobody() {
    let stage = Stage::new(
        Script::new(),
        &format!("{TOLD}[limits]\nanswer_timeout = \"300ms\"\n"),
    );
    let mut watching = stage.daemon.connect();
    watching.send(&json!({"op": "tail"}));
    let mut tool = stage.daemon.connect();
    let mut n = 0;
    eventually("the watcher is cut off", DEADLINE, || {
        for _ in 0..500 {
            n += 1;
            assert_eq!(tool.ask(&event(n))["status"], "queued");
        }
        (metric(&stage, "telemetryd_connections_cut_off") == 1).then_some(())
    });
}

#[test]
fn a_line_that_comes_byte_by_byte_is_a_line() {
    let stage = Stage::new(Script::new(), SOON);
    let mut tool = stage.daemon.connect();
    for byte in format!("{}\r\n", event(1)).bytes() {
        tool.send_bytes(&[byte]);
        assert_eq!(tool.hear(Duration::ZERO), Heard::Nothing);
    }
    assert_eq!(tool.answer()["status"], "queued");
    stage.endpoint.wait_for_ids([id(1)]);
}

#[test]
fn past_max_connections_nobody_is_turned_away_and_all_are_served_in_the_end() {
    let stage = Stage::new(Script::new(), &format!("{SOON}[limits]\nmax_connections = 4\n"));
    let held: Vec<Tool> = (0..4)
        .map(|n| {
            let mut tool = stage.daemon.connect();
            assert_eq!(tool.ask(&event(n))["status"], "queued");
            tool
        })
        .collect();
    let mut late: Vec<Tool> = (4..40)
        .map(|n| {
            let mut tool = stage.daemon.connect();
            tool.send(&event(n));
            tool
        })
        .collect();
    assert_eq!(
        late[0].hear(Duration::from_millis(200)),
        Heard::Nothing,
        "it waits outside"
    );
    // Some give up meanwhile; what they wrote counts all the same.
    late.truncate(20);
    drop(held);
    for mut tool in late {
        assert_eq!(tool.answer()["status"], "queued");
    }
    stage.endpoint.wait_for_ids((0..40).map(id));
}

#[test]
fn bytes_that_are_no_utf_8_or_no_text_are_answered_and_do_no_harm() {
    let stage = Stage::new(Script::new(), TOLD);
    let mut tool = stage.daemon.connect();
    for bytes in [
        &b"\xff\xfe\n"[..],
        b"{\"tool\":\"demo\",\"event\":\"\xc3\x28\"}\n",
        b"\0\0\0\n",
        b"\x16\x03\x01\x02\n",
        b"GET / HTTP/1.1\n",
    ] {
        tool.send_bytes(bytes);
        let answer = tool.answer();
        assert_eq!(answer["error"], "invalid_json", "{bytes:?}: {answer}");
    }
    assert_eq!(tool.ask(&event(1))["status"], "queued");
}

#[test]
fn random_bytes_never_end_the_daemon_or_a_connection() {
    let stage = Stage::new(Script::new(), TOLD);
    let mut rng = fastrand::Rng::with_seed(11);
    let whole = json!({"tool": TOOL, "event": "ran", "id": id(1), "properties": {"a": [1, "\u{1f600}", {"b": null}]}, "ack": "queued"}).to_string();
    let mut tool = stage.daemon.connect();
    for _ in 0..3_000 {
        let mut line = whole.clone().into_bytes();
        for _ in 0..rng.usize(1..6) {
            let at = rng.usize(..line.len().max(1)).min(line.len().saturating_sub(1));
            if line.is_empty() {
                break;
            }
            match rng.u8(..4) {
                0 => line[at] = rng.u8(..),
                1 => drop(line.remove(at)),
                2 => line.insert(at, b"{}[]\",:\\0"[rng.usize(..9)]),
                _ => line.truncate(at.max(1)),
            }
        }
        line.retain(|byte| *byte != b'\n');
        line.push(b'\n');
        tool.send_bytes(&line);
        match tool.hear(DEADLINE) {
            Heard::Line(answer) => {
                let answer: Value = serde_json::from_str(&answer).expect("an answer is JSON");
                assert!(answer["ok"].is_boolean(), "{answer}");
            }
            other => {
                // A damaged `ack` can only be a readable "none", which is answered by silence.
                panic!("{other:?} after {}", String::from_utf8_lossy(&line));
            }
        }
    }
    status(&stage.daemon);
}

#[test]
fn what_waits_in_the_backlog_when_a_term_comes_is_processed() {
    for round in 0..6 {
        let limits = if round % 2 == 0 {
            ""
        } else {
            "[limits]\nmax_connections = 2\n"
        };
        let mut stage = Stage::new(Script::new(), &format!("{TOLD}{limits}"));
        // Two that say nothing take the places, where there are no more.
        let _silent: Vec<Tool> = (0..2).map(|_| stage.daemon.connect()).collect();
        // Stopped, it accepts nobody: all of them wait in the backlog, written and closed.
        stage.daemon.signal(rustix::process::Signal::STOP);
        for n in 0..300 {
            let mut stream = UnixStream::connect(stage.daemon.socket()).unwrap();
            stream.write_all(without_ack(n).as_bytes()).unwrap();
        }
        stage.daemon.signal(rustix::process::Signal::TERM);
        stage.daemon.signal(rustix::process::Signal::CONT);
        stage.daemon.wait(DEADLINE).expect_code(0);
        stage.endpoint.wait_for_ids((0..300).map(id));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_connections_leave_no_descriptor_and_no_thread() {
    let stage = Stage::new(Script::new(), SOON);
    let count = |what: &str| {
        std::fs::read_dir(format!("/proc/{}/{what}", stage.daemon.pid()))
            .unwrap()
            .count()
    };
    stage.queue([event(0)]);
    stage.endpoint.wait_for_ids([id(0)]);
    let settled = || (count("fd"), count("task"));
    let before = eventually("it is at rest", DEADLINE, || {
        (waiting(&stage.daemon).is_empty() && stage.destination()["state"] == "idle").then(settled)
    });
    for n in 1..=1_000u64 {
        let mut tool = stage.daemon.connect();
        match n % 4 {
            0 => tool.send(&event(n)),
            1 => assert_eq!(tool.ask(&event(n))["status"], "queued"),
            2 => tool.send_bytes(b"{\"tool\":"),
            _ => tool.send(&json!({"op": "tail"})),
        }
    }
    stage.endpoint.wait_for_events(501);
    eventually("what was opened is closed", DEADLINE, || {
        (settled() <= before).then_some(())
    });
}

#[test]
fn another_user_is_not_served_even_past_the_permissions() {
    let stage = Stage::new(Script::new(), TOLD);
    let open = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    // Somebody else's program, where somebody else can run it.
    let program = stage.home.root().join("telemetryctl");
    std::fs::copy(telemetry_testkit::telemetryctl(), &program).unwrap();
    open(stage.home.root(), 0o711);
    open(&stage.home.runtime_dir(), 0o711);
    let stranger = |line: &str| {
        let mut command = stage.home.command("setpriv");
        let other = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        command
            .args(other)
            .arg(&program)
            .args(line.split(' '))
            .current_dir("/");
        Running::start(command, None).wait(DEADLINE)
    };
    if stranger("--version").code != Some(0) {
        crate::stage::skipped("root and setpriv are needed");
        return;
    }
    let exit = stranger("send demo ran --strict");
    assert!(!exit.stderr.is_empty() && exit.code != Some(0), "{exit:?}");
    assert!(
        exit.stderr.to_lowercase().contains("permission denied"),
        "{exit:?}"
    );
    open(stage.daemon.socket().parent().unwrap(), 0o711);
    open(&stage.daemon.socket(), 0o666);
    let exit = stranger("send demo ran --strict");
    assert!(exit.code != Some(0), "{exit:?}");
    assert!(waiting(&stage.daemon).is_empty());
    assert!(
        stage.daemon.log().contains("another user"),
        "{}",
        stage.daemon.log()
    );
}
