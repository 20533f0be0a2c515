//! Daemon, command line and vectors, against a daemon that this test plays itself: what is tested here is the
//! kit, not telemetryd.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::{env, fs, thread};

use rustix::process::Signal;
use serde_json::{Value, json};
use telemetry_testkit::vectors::{self, Case};
use telemetry_testkit::{DEADLINE, Daemon, DaemonBuilder, Home, Tool, eventually};

/// Says which part this process plays.
const PART: &str = "TESTKIT_PART";

/// Not a test of its own: what the tests below start as `telemetryd`. It answers every line with what it is,
/// an event with its id, and `close` by closing.
#[test]
fn a_daemon_that_is_played() {
    let Ok(part) = env::var(PART) else {
        return;
    };
    if part == "fails" {
        eprintln!("cannot do what was asked");
        panic!("of a bad configuration");
    }
    let socket = PathBuf::from(env::var_os("TELEMETRYD_SOCKET").expect("the home says where"));
    fs::create_dir_all(socket.parent().expect("it is in a folder")).expect("a folder of our own");
    // The one of a process that was killed may be there.
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(socket).expect("a path that is short enough");
    eprintln!("listening");
    if part == "panics" {
        let _ = thread::spawn(|| panic!("in some thread")).join();
    }
    for stream in listener.incoming() {
        thread::spawn(move || serve(stream.expect("a connection")));
    }
}

fn serve(stream: UnixStream) {
    let mut writer = stream.try_clone().expect("a second handle");
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let answer = match serde_json::from_str::<Value>(&line) {
            Err(_) => {
                json!({"ok": false, "error": "invalid_json", "message": format!("{} bytes", line.len())})
            }
            Ok(value) if value["op"] == "close" => return,
            Ok(value) if value["op"] == "hello" => json!({"ok": true, "protocol": 1, "server": "played/0"}),
            Ok(value) if value["ack"] == "none" => continue,
            Ok(value) => json!({"ok": true, "status": "queued", "id": value["id"]}),
        };
        if writeln!(writer, "{answer}").is_err() {
            return;
        }
    }
}

fn played(home: &Home, part: &str) -> DaemonBuilder {
    Daemon::builder(home)
        .program(env::current_exe().expect("a process knows its own file"))
        .arg("a_daemon_that_is_played")
        .arg("--exact")
        .arg("--nocapture")
        .env(PART, part)
}

#[test]
fn a_daemon_is_ready_when_it_answers_and_gone_when_it_is_dropped() {
    let home = Home::new();
    let daemon = played(&home, "serves").config("# nothing").start();
    assert!(daemon.log().contains("listening"));
    assert_eq!(
        fs::read_to_string(home.config_file()).expect("it was written"),
        "# nothing"
    );
    let mut tool = daemon.connect();
    assert_eq!(tool.ask(&json!({"op": "hello"}))["server"], "played/0");
    let socket = daemon.socket();
    drop(daemon);
    Tool::try_connect(&socket).expect_err("nobody is there any more");
}

#[test]
fn a_killed_daemon_comes_back_as_another_process_with_its_log_kept() {
    let home = Home::new();
    let mut daemon = played(&home, "serves").start();
    let first = daemon.pid();
    let mut tool = daemon.connect();
    daemon.kill9();
    assert!(tool.until_closed().is_empty());
    daemon.restart();
    assert_ne!(daemon.pid(), first);
    assert_eq!(daemon.log().matches("listening").count(), 2);
    let exit = daemon.term();
    assert_eq!((exit.code, exit.signal), (None, Some(Signal::TERM.as_raw())));
}

#[test]
#[should_panic(expected = "telemetryd ended instead of getting ready")]
fn a_daemon_that_does_not_start_fails_the_test_at_once() {
    let _daemon = played(&Home::new(), "fails").start();
}

#[test]
fn a_failed_start_can_be_looked_at() {
    let exit = played(&Home::new(), "fails").run();
    assert_eq!(exit.code, Some(101));
    assert!(exit.stderr.contains("cannot do what was asked"));
}

#[test]
#[should_panic(expected = "telemetryd panicked")]
fn a_panic_in_the_daemon_fails_the_test() {
    let daemon = played(&Home::new(), "panics").start();
    eventually("it panics", DEADLINE, || {
        daemon.log().contains("in some thread").then_some(())
    });
}

#[test]
#[should_panic(expected = "telemetryd ended unasked")]
fn a_daemon_that_ends_by_itself_fails_the_test() {
    let mut daemon = played(&Home::new(), "serves").start();
    let mut tool = daemon.connect();
    daemon.signal(Signal::TERM);
    tool.until_closed();
    // Its socket closes a moment before the process is gone.
    eventually("the process ends", DEADLINE, || daemon.ended());
}

fn case(lines: &[Value]) -> Case {
    let header = json!({"name": "a case", "spec": "none"});
    let text: String = std::iter::once(&header)
        .chain(lines)
        .map(|line| format!("{line}\n"))
        .collect();
    Case::parse("case", &text).expect("a vector")
}

fn play(lines: &[Value]) {
    let home = Home::new();
    let daemon = played(&home, "serves").start();
    vectors::play(&case(lines), &daemon.socket(), None);
}

#[test]
fn a_vector_is_played_step_by_step() {
    play(&[
        json!({"send": {"tool": "demo", "event": "e", "id": "0198a6c2-7a41-7c3e-9f61-6a2c0d6b3a10"}}),
        json!({"expect": {"ok": true, "id": "<uuid as first>", "error": "<absent>"}}),
        json!({"send": {"tool": "demo", "event": "e", "id": "<same first>"}, "on": "second"}),
        json!({"expect": {"id": "<same first>"}, "on": "second"}),
        json!({"send": {"raw": [{"repeat": "x", "times": 70000}]}}),
        json!({"expect": {"error": "invalid_json", "message": "<contains 70000>"}}),
        json!({"send": {"tool": "demo", "event": "e", "ack": "none"}}),
        json!({"expect_nothing": true}),
        json!({"send": {"raw": "{\"op\":\"he", "newline": false}}),
        json!({"send": {"raw": "llo\"}"}}),
        json!({"expect": {"protocol": "<int>"}}),
        json!({"close": true, "on": "second"}),
        json!({"send": {"op": "close"}}),
        json!({"expect_closed": true}),
    ]);
}

#[test]
#[should_panic(expected = "case.ndjson:3: .status: wanted \"declined\", found \"queued\"")]
fn a_vector_that_fails_says_where() {
    play(&[
        json!({"send": {"tool": "demo"}}),
        json!({"expect": {"status": "declined"}}),
    ]);
}

#[test]
#[should_panic(expected = "wanted nothing, heard Line")]
fn an_answer_where_there_should_be_none_fails_a_vector() {
    play(&[json!({"send": {"tool": "demo"}}), json!({"expect_nothing": true})]);
}

#[test]
#[should_panic(expected = "that no step expected")]
fn an_answer_too_many_fails_a_vector() {
    play(&[
        json!({"send": {"raw": "{\"op\":\"hello\"}\n{\"op\":\"hello\"}"}}),
        json!({"expect": {"ok": true}}),
    ]);
}
