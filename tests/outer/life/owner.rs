//! One owner of a queue and a socket: a live one is named, a dead one's leftovers are no obstacle.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use telemetry_testkit::sink::Script;
use telemetry_testkit::{Collector, Daemon};

use crate::stage::{SOON, Stage, TOLD, TOOL, destination, event, home, id, queue, waiting};

#[test]
fn a_second_daemon_names_the_first_and_disturbs_nothing() {
    let stage = Stage::new(Script::new(), SOON);
    let exit = Daemon::builder(&stage.home).run().expect_code(1);
    assert!(
        exit.stderr.contains(&stage.daemon.pid().to_string()),
        "{}",
        exit.stderr
    );
    assert!(exit.stderr.contains("hint:"), "{}", exit.stderr);
    stage.queue([event(1)]);
    stage.endpoint.wait_for_ids([id(1)]);
    // With another state directory it is the socket that is taken.
    let elsewhere = stage.home.root().join("elsewhere");
    let exit = Daemon::builder(&stage.home)
        .env("TELEMETRYD_STATE_DIR", &elsewhere)
        .run()
        .expect_code(1);
    assert!(
        exit.stderr.contains(&stage.daemon.pid().to_string()),
        "{}",
        exit.stderr
    );
    assert!(
        exit.stderr.contains(&stage.home.socket().display().to_string()),
        "{}",
        exit.stderr
    );
    stage.queue([event(2)]);
    stage.endpoint.wait_for_ids([id(2)]);
}

#[test]
fn of_ten_that_start_at_once_one_runs_and_nine_say_who() {
    let home = home();
    home.write_config(&destination("http://127.0.0.1:9/", TOLD));
    let mut started: Vec<_> = (0..10).map(|_| Daemon::builder(&home).spawn()).collect();
    let ended = telemetry_testkit::eventually("nine have ended", telemetry_testkit::DEADLINE, || {
        let ended: Vec<_> = started
            .iter_mut()
            .filter_map(telemetry_testkit::Running::exited)
            .collect();
        (ended.len() == 9).then_some(ended)
    });
    let running = started
        .iter_mut()
        .find_map(|one| one.exited().is_none().then_some(one.pid()));
    let pid = running.expect("one runs");
    for exit in ended {
        assert_eq!(exit.code, Some(1), "{}", exit.stderr);
        assert!(
            exit.stderr.contains(&pid.to_string()),
            "{} is not named: {}",
            pid,
            exit.stderr
        );
    }
}

#[test]
fn a_lock_that_somebody_keeps_is_told_all_the_same() {
    let home = home();
    let lock = fs::File::create(home.state_dir().join("queue.lock")).unwrap();
    lock.lock().unwrap();
    let exit = Daemon::builder(&home).run().expect_code(1);
    let said = [
        "queue.lock is locked by another process",
        "hint: 'telemetryctl status' shows",
    ];
    assert!(
        said.iter().all(|said| exit.stderr.contains(said)),
        "{}",
        exit.stderr
    );
}

#[test]
fn a_dead_daemons_socket_and_lock_are_replaced() {
    let mut stage = Stage::new(Script::new(), SOON);
    stage.endpoint.expect_duplicates();
    stage.queue([event(1)]);
    stage.daemon.kill9();
    assert!(stage.home.socket().exists(), "kill -9 leaves it");
    stage.daemon.restart();
    stage.queue([event(2)]);
    stage.endpoint.wait_for_ids([id(1), id(2)]);
    // One that nobody ever listened behind.
    stage.daemon.kill9();
    fs::remove_file(stage.home.socket()).unwrap();
    drop(UnixListener::bind(stage.home.socket()).unwrap());
    stage.daemon.restart();
    stage.queue([event(3)]);
    stage.endpoint.wait_for_ids([id(3)]);
}

#[test]
fn a_file_that_is_no_socket_is_not_removed() {
    let home = home();
    home.write(home.socket(), "somebody's notes");
    let exit = Daemon::builder(&home).run().expect_code(1);
    assert!(exit.stderr.contains("is not a socket"), "{}", exit.stderr);
    assert_eq!(fs::read_to_string(home.socket()).unwrap(), "somebody's notes");
}

#[test]
fn the_socket_and_the_state_are_the_users_alone() {
    let stage = Stage::new(Script::new(), SOON);
    stage.queue([event(1)]);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert!(fs::metadata(stage.home.socket()).unwrap().file_type().is_socket());
    assert_eq!(mode(&stage.home.socket()), 0o600);
    assert_eq!(mode(stage.home.socket().parent().unwrap()), 0o700);
    assert_eq!(mode(&stage.home.state_dir()), 0o700);
    for file in fs::read_dir(stage.home.state_dir()).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
    for entry in fs::read_dir(stage.home.socket().parent().unwrap()).unwrap() {
        assert_eq!(
            entry.unwrap().path(),
            stage.home.socket(),
            "nothing half made is left"
        );
    }
}

#[test]
fn a_daemon_whose_socket_was_replaced_goes_on_and_does_not_remove_anothers() {
    let mut stage = Stage::new(Script::new(), SOON);
    let mut tool = stage.daemon.connect();
    let beside = stage.home.socket().with_extension("beside");
    let _other = UnixListener::bind(&beside).unwrap();
    fs::rename(&beside, stage.home.socket()).unwrap();
    assert_eq!(tool.ask(&event(1))["status"], "queued");
    stage.endpoint.wait_for_ids([id(1)]);
    drop(tool);
    stage.daemon.term().expect_code(0);
    assert!(stage.home.socket().exists(), "it was somebody else's");
}

#[test]
fn a_socket_path_that_is_too_long_is_refused_with_that_reason() {
    let home = home();
    let long = home.root().join("x".repeat(120)).join("telemetryd.sock");
    let started = Daemon::builder(&home)
        .env("TELEMETRYD_SOCKET", &long)
        .run()
        .expect_code(78);
    assert!(
        started.stderr.contains("107") || started.stderr.contains("too long"),
        "{}",
        started.stderr
    );
    let checked = Daemon::builder(&home)
        .env("TELEMETRYD_SOCKET", &long)
        .arg("--check-config")
        .run()
        .expect_code(78);
    assert!(checked.stderr.contains("bytes"), "{}", checked.stderr);
}

#[test]
fn a_newer_queue_is_left_untouched_and_refused() {
    let home = home();
    home.write_config(&destination("http://127.0.0.1:9/", TOLD));
    let mut daemon = Daemon::builder(&home).start();
    queue(&daemon, [event(1)]);
    daemon.term().expect_code(0);
    let file = home.state_dir().join("queue.db");
    let mut bytes = fs::read(&file).unwrap();
    // `user_version`, at byte 60 of an SQLite file, big-endian.
    bytes[60..64].copy_from_slice(&9_999u32.to_be_bytes());
    fs::write(&file, &bytes).unwrap();
    let exit = Daemon::builder(&home).run().expect_code(78);
    assert!(exit.stderr.contains("newer"), "{}", exit.stderr);
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn a_corrupt_queue_is_set_aside_and_the_daemon_starts() {
    let endpoint = Collector::builder().expect_tool(TOOL).start();
    let home = home();
    let mut daemon = Daemon::start(&home, &destination(&endpoint.url(), TOLD));
    queue(&daemon, (0..50).map(event));
    daemon.ctl().ok(["pause"]);
    daemon.term().expect_code(0);
    let file = home.state_dir().join("queue.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes[..100].fill(0x5a);
    fs::write(&file, &bytes).unwrap();
    daemon.restart();
    assert!(daemon.log().contains("corrupt"), "{}", daemon.log());
    let shown = crate::stage::status(&daemon);
    let saved = waiting(&daemon).len() as u64;
    assert_eq!(crate::stage::booked(&shown, "queued"), saved);
    queue(&daemon, [event(100)]);
    let names: Vec<String> = fs::read_dir(home.state_dir())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        names.iter().any(|name| name.starts_with("queue.db.corrupt-")),
        "{names:?}"
    );
}

#[test]
fn a_state_directory_that_cannot_be_written_is_a_clear_error() {
    if rustix::process::geteuid().is_root() {
        // Root writes anywhere: a directory that is none says the same.
        let home = home();
        let blocked = home.root().join("file");
        fs::write(&blocked, "").unwrap();
        let exit = Daemon::builder(&home)
            .env("TELEMETRYD_STATE_DIR", blocked.join("state"))
            .run();
        assert!(
            matches!(exit.code, Some(1 | 77 | 78)),
            "{:?} {}",
            exit.code,
            exit.stderr
        );
        assert!(
            exit.stderr.contains("error:") && exit.stderr.contains("state"),
            "{}",
            exit.stderr
        );
        return;
    }
    let home = home();
    fs::set_permissions(home.state_dir(), fs::Permissions::from_mode(0o500)).unwrap();
    let exit = Daemon::builder(&home).run();
    fs::set_permissions(home.state_dir(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(exit.code, Some(77), "{}", exit.stderr);
    assert!(
        exit.stderr.contains(&home.state_dir().display().to_string()),
        "{}",
        exit.stderr
    );
}
