//! What a service manager and the daemon say to each other: a socket handed over, readiness, and the journal's lines.
//! `systemd-socket-activate` stands for the manager: it hands over and starts, and needs no systemd that runs. What a
//! real one does with the units is in `tests/systemd/`.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
#[cfg(target_os = "linux")]
use telemetry_testkit::Running;
use telemetry_testkit::{Collector, DEADLINE, Daemon, DaemonBuilder, Home, Tool, eventually, telemetryd};

use crate::stage::{SOON, TOOL, ask, destination, event, home, id, queue};

const ACTIVATE: &str = "systemd-socket-activate";

/// The daemon, started by the first connection to the home's socket.
fn activated(home: &Home, arguments: &[&str]) -> DaemonBuilder {
    let socket = home.socket();
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let mut builder = Daemon::builder(home).program(ACTIVATE);
    for name in home.variables().keys() {
        builder = builder.arg("-E").arg(name);
    }
    arguments
        .iter()
        .fold(builder, |builder, argument| builder.arg(argument))
        .arg("-l")
        .arg(socket)
        .arg(telemetryd())
}

fn there(socket: &std::path::Path) -> bool {
    Tool::try_connect(socket).is_ok()
}

#[test]
fn an_inherited_socket_comes_first_and_its_file_stays() {
    let home = home();
    let endpoint = Collector::for_tool(TOOL);
    home.write_config(&destination(&endpoint.url(), SOON));
    // Somebody else's idea of the place does not count.
    let mut daemon = activated(&home, &["--fdname=telemetryd"])
        .arg("--socket")
        .arg(home.root().join("elsewhere.sock"))
        .start();
    assert!(!home.root().join("elsewhere.sock").exists());
    queue(&daemon, [event(1)]);
    endpoint.wait_for_ids([id(1)]);
    let status = ask(&daemon, &json!({"op": "status"}));
    assert_eq!(status["daemon"]["socket"], home.socket().display().to_string());
    daemon.term().expect_code(0);
    assert!(home.socket().exists(), "the file is the service manager's");
}

#[test]
fn a_daemon_that_was_started_by_its_socket_leaves_when_nobody_needs_it() {
    let home = home();
    let endpoint = Collector::for_tool(TOOL);
    home.write_config(&destination(&endpoint.url(), SOON));
    let mut daemon = activated(&home, &[]).arg("--idle-exit").arg("200ms").start();
    // The connections of `start` are gone; nothing waits.
    daemon.wait(DEADLINE).expect_code(0);
    assert!(home.socket().exists());
}

#[test]
fn a_socket_that_makes_no_sense_is_told_and_is_no_reason_to_try_again() {
    let home = home();
    let other = home.root().join("run/other.sock").display().to_string();
    for (arguments, said) in [
        (&["--fdname=gateway"][..], "'gateway'"),
        (
            &["--fdname=telemetryd:gateway", "-l", &other][..],
            "2 sockets were inherited",
        ),
        (&["--datagram"][..], "another type than stream"),
    ] {
        let mut running = activated(&home, arguments).spawn();
        let ended = eventually("it ends", DEADLINE, || {
            let _ = there(&home.socket());
            if let Ok(datagram) = UnixDatagram::unbound() {
                let _ = datagram.send_to(b"x", home.socket());
            }
            running.exited()
        });
        let ended = ended.expect_code(78);
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        std::fs::remove_file(home.socket()).unwrap();
        let _ = std::fs::remove_file(&other);
    }
}

#[test]
fn a_socket_meant_for_another_process_is_not_taken() {
    let home = home();
    home.set_env("LISTEN_FDS", "1");
    home.set_env("LISTEN_PID", "1");
    let mut daemon = Daemon::start(&home, "");
    daemon.term().expect_code(0);
    assert!(!home.socket().exists(), "its own, so it went with it");
}

/// The next message of the daemon's, as its lines.
fn told(manager: &UnixDatagram) -> Vec<String> {
    let mut bytes = [0; 4096];
    let length = manager
        .recv(&mut bytes)
        .expect("the daemon says something in time");
    String::from_utf8_lossy(&bytes[..length])
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_service_manager_is_told_of_ready_reloading_and_stopping() {
    let home = home();
    let place = home.root().join("notify");
    let manager = UnixDatagram::bind(&place).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    home.set_env("NOTIFY_SOCKET", &place);
    let mut daemon = Daemon::start(&home, "[daemon]\nshutdown_drain = \"40s\"\n");
    let ready = told(&manager);
    assert_eq!(ready[0], "READY=1");
    assert_eq!(
        ready[1],
        format!("STATUS=listening at {}", home.socket().display())
    );

    daemon.signal(Signal::HUP);
    assert_eq!(told(&manager)[0], "RELOADING=1");
    assert_eq!(told(&manager), ["READY=1", "STATUS=reloaded"]);
    home.write_config("[daemon]\nlgo = 1\n");
    daemon.signal(Signal::HUP);
    assert_eq!(told(&manager)[0], "RELOADING=1");
    let refused = told(&manager);
    assert!(
        refused[0] == "READY=1" && refused[1].contains("the old ones stay"),
        "{refused:?}"
    );

    daemon.signal(Signal::TERM);
    let stopping = told(&manager);
    assert_eq!(stopping[0], "STOPPING=1");
    // Longer than a unit's TimeoutStopSec: asked for.
    assert_eq!(stopping[1], "EXTEND_TIMEOUT_USEC=50000000");
    daemon.wait(DEADLINE).expect_code(0);
}

#[test]
fn a_manager_that_is_gone_or_does_not_listen_changes_nothing() {
    let home = home();
    home.set_env("NOTIFY_SOCKET", home.root().join("nobody"));
    Daemon::start(&home, "").term().expect_code(0);
}

/// The daemon with a stderr that it takes for the journal's.
#[cfg(target_os = "linux")]
fn in_the_journal(home: &Home) -> Running {
    let mut command = home.command("sh");
    command
        .args([
            "-c",
            "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$0\"",
        ])
        .arg(telemetryd());
    Running::start(command, None)
}

#[cfg(target_os = "linux")]
#[test]
fn in_the_journal_a_line_begins_with_its_level_and_has_no_time() {
    let home = home();
    home.write_config("");
    let mut daemon = in_the_journal(&home);
    eventually("it is ready", DEADLINE, || there(&home.socket()).then_some(()));
    home.write_config("[daemon]\nlgo = 1\n[queue]\nmax_bites = 1\n");
    daemon.signal(Signal::HUP);
    eventually("it has complained", DEADLINE, || {
        daemon.stderr().contains("max_bites").then_some(())
    });
    daemon.signal(Signal::TERM);
    let said = daemon.wait(DEADLINE).expect_code(0).stderr;
    for line in said.lines() {
        assert!(line.starts_with("<6>") || line.starts_with("<3>"), "{line}");
    }
    assert!(said.starts_with("<6>ready version="), "{said}");
    assert!(said.contains("\n<3>"), "an error is one: {said}");
    let year = said.find("20").map(|at| &said[at..]).unwrap_or_default();
    assert!(!year.starts_with("202"), "no time: {said}");

    let refused = in_the_journal(&home).wait(DEADLINE).expect_code(78).stderr;
    assert!(refused.lines().all(|line| line.starts_with("<3>")), "{refused}");
}

#[test]
fn an_idle_daemon_with_a_service_manager_says_nothing_more() {
    let home = home();
    let place = home.root().join("notify");
    let manager = UnixDatagram::bind(&place).unwrap();
    home.set_env("NOTIFY_SOCKET", &place);
    // As a unit with WatchdogSec= would: nobody is fed (I11).
    home.set_env("WATCHDOG_USEC", "100000");
    let mut daemon = Daemon::start(&home, "");
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(told(&manager)[0], "READY=1");
    manager
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    assert!(
        manager.recv(&mut [0; 64]).is_err(),
        "five times the watchdog's time"
    );
    daemon.term().expect_code(0);
}
