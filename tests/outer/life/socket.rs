//! The socket's file while the daemon runs: deleted, it is there again; in the hands of others, it is left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use telemetry_testkit::sink::Script;
use telemetry_testkit::{DEADLINE, Tool, eventually};

use crate::stage::{SOON, Stage, books_balance, event, id, status};

/// A daemon that has delivered an event, and a connection that stays open.
fn served() -> (Stage, Tool) {
    let stage = Stage::new(Script::new(), SOON);
    let tool = stage.daemon.connect();
    stage.queue([event(1)]);
    stage.endpoint.wait_for_ids([id(1)]);
    (stage, tool)
}

/// Two more events, this one on the connection that was open and the next on a new one, to the same process.
fn served_again(stage: &Stage, open: &mut Tool, n: u64) {
    assert_eq!(open.ask(&event(n))["status"], "queued");
    eventually("somebody can connect", DEADLINE, || {
        Tool::try_connect(&stage.home.socket()).ok()
    });
    stage.queue([event(n + 1)]);
    stage.endpoint.wait_for_ids([id(n), id(n + 1)]);
    let status = status(&stage.daemon);
    assert_eq!(status["daemon"]["pid"], stage.daemon.pid());
    books_balance(&status);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let socket = stage.home.socket();
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn a_socket_that_is_deleted_is_there_again_and_open_connections_go_on() {
    let (mut stage, mut open) = served();
    for n in [10, 20, 30] {
        fs::remove_file(stage.home.socket()).unwrap();
        served_again(&stage, &mut open, n);
    }
    assert_eq!(stage.daemon.log().matches("another one is there now").count(), 3);
    stage.daemon.term().expect_code(0);
    assert!(!stage.home.socket().exists(), "the last one goes with its daemon");
}

#[test]
fn a_directory_that_is_deleted_or_moved_is_made_again_with_its_socket() {
    let (stage, mut open) = served();
    let directory = stage.home.socket().parent().unwrap().to_owned();
    fs::remove_dir_all(&directory).unwrap();
    served_again(&stage, &mut open, 10);
    fs::rename(&directory, directory.with_extension("moved")).unwrap();
    served_again(&stage, &mut open, 20);
    fs::remove_dir_all(stage.home.runtime_dir()).unwrap();
    served_again(&stage, &mut open, 30);
}

#[test]
fn what_somebody_else_puts_in_the_sockets_place_is_left_alone_until_it_is_gone() {
    let (mut stage, mut open) = served();
    let socket = stage.home.socket();
    let beside = socket.with_extension("beside");
    fs::write(&beside, "precious").unwrap();
    fs::rename(&beside, &socket).unwrap();
    eventually("it says so", DEADLINE, || {
        stage.daemon.log().contains("is not a socket").then_some(())
    });
    // What happens to it is looked at, and told no second time.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(open.ask(&event(2))["status"], "queued");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");

    // Another daemon's: it has the path and keeps it.
    let other = UnixListener::bind(&beside).unwrap();
    other.set_nonblocking(true).unwrap();
    fs::rename(&beside, &socket).unwrap();
    eventually("it names who listens", DEADLINE, || {
        let pid = format!("(pid {}", std::process::id());
        stage.daemon.log().contains(&pid).then_some(())
    });
    Tool::try_connect(&socket).unwrap();
    assert_eq!(stage.daemon.log().matches("it is left alone").count(), 2);

    fs::remove_file(&socket).unwrap();
    served_again(&stage, &mut open, 40);
    assert_eq!(stage.daemon.log().matches("another one is there now").count(), 1);
    drop(other);
    stage.daemon.term().expect_code(0);
}

#[test]
fn a_daemon_whose_socket_cannot_be_made_again_delivers_and_leaves_with_the_reason() {
    let (mut stage, mut open) = served();
    let runtime = stage.home.runtime_dir();
    assert_eq!(open.ask(&event(2))["status"], "queued");
    fs::remove_dir_all(&runtime).unwrap();
    fs::write(&runtime, "no directory").unwrap();
    let exit = stage.daemon.wait(DEADLINE).expect_code(1);
    assert!(
        exit.stderr.contains(&stage.home.socket().display().to_string()),
        "{}",
        exit.stderr
    );
    stage.endpoint.wait_for_ids([id(1), id(2)]);
}
