//! Nothing queued costs nothing: after its events have left, a daemon does nothing at all (I11).

use std::fs;
use std::time::Duration;

use telemetry_testkit::sink::Script;
use telemetry_testkit::{DEADLINE, Deadline, Running, eventually};

use crate::stage::{SOON, Stage, event, id, status};

/// Long enough for a timer of a second to go off twice.
const LOOK: Duration = Duration::from_millis(2_500);

#[test]
fn a_daemon_whose_events_have_left_makes_no_system_call_and_has_no_connection() {
    if !crate::traced::strace_works() {
        return;
    }
    let stage = Stage::new(Script::new(), SOON);
    stage.queue((0..50).map(event));
    stage.endpoint.wait_for_ids((0..50).map(id));
    eventually("they are settled", DEADLINE, || {
        (status(&stage.daemon)["queue"]["events"] == 0).then_some(())
    });
    let pid = stage.daemon.pid().to_string();
    // What was begun comes to its end, and then it sleeps: asked until one look finds nothing.
    let seen = eventually("it does nothing", DEADLINE, || {
        let file = stage.home.root().join("idle");
        let mut command = stage.home.command("strace");
        command.args(["-f", "-p", &pid, "-o"]).arg(&file);
        let mut strace = Running::start(command, None);
        eventually("strace is attached", DEADLINE, || {
            strace.stderr().contains("attached").then_some(())
        });
        let until = Deadline::after(LOOK);
        eventually("the look is over", DEADLINE, || {
            until.left().is_none().then_some(())
        });
        strace.signal(rustix::process::Signal::INT);
        strace.wait(DEADLINE);
        let trace = fs::read_to_string(&file).unwrap();
        // A call that is waited in neither begins nor ends.
        let ended = trace.lines().any(|line| line.contains(" = "));
        if ended {
            // Shown where no look finds nothing: what it was that it did.
            eprintln!("---- a look ----\n{trace}");
        }
        (!ended).then_some(trace)
    });
    assert!(seen.contains("epoll"), "the daemon was looked at: {seen}");
    let sockets = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let held: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|target| {
            Some(
                target
                    .to_str()?
                    .strip_prefix("socket:[")?
                    .trim_end_matches(']')
                    .to_owned(),
            )
        })
        .collect();
    for line in sockets.lines().skip(1) {
        let inode = line.split_whitespace().nth(9).unwrap_or_default();
        assert!(
            !held.iter().any(|own| own == inode),
            "a connection is open: {line}"
        );
    }
}
