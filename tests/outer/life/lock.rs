//! The queue's lock while a job has it that needs no daemon: who starts meanwhile waits.

use std::fs;

use telemetry_testkit::sink::Script;
use telemetry_testkit::{DEADLINE, Daemon, Tool, eventually};

use crate::stage::{Stage, TOLD, event};

/// What is at the lock's place now.
fn in_the_lock(stage: &Stage) -> String {
    fs::read_to_string(stage.home.state_dir().join("queue.lock")).unwrap_or_default()
}

#[test]
fn a_daemon_that_starts_while_a_job_has_the_queue_waits_for_it() {
    let mut stage = Stage::new(Script::new(), TOLD);
    stage.queue((0..10).map(event));
    stage.daemon.kill9();
    // An export into a pipe goes on for as long as nobody reads it.
    let pipe = stage.home.root().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let mut job = Daemon::builder(&stage.home).arg("--export").arg(&pipe).spawn();
    eventually("the job has the lock", DEADLINE, || {
        in_the_lock(&stage)
            .starts_with(&job.pid().to_string())
            .then_some(())
    });
    let mut started = Daemon::builder(&stage.home).spawn();
    // It sleeps between two looks at the lock, again and again; a start that goes on does not.
    let status = format!("/proc/{}/status", started.pid());
    eventually("it looks at the lock again and again", DEADLINE, || {
        let status = fs::read_to_string(&status).ok()?;
        let sleeps = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        (sleeps.trim().parse::<u32>().ok()? > 25).then_some(())
    });
    if let Some(ended) = started.exited() {
        panic!("{ended:?}");
    }
    assert_eq!(fs::read_to_string(&pipe).unwrap().lines().count(), 10);
    job.wait(DEADLINE).expect_code(0);
    let answers = || Tool::try_connect(&stage.home.socket()).is_ok();
    eventually("the daemon is there", DEADLINE, || answers().then_some(()));
    assert!(started.exited().is_none());
    assert_eq!(in_the_lock(&stage).trim(), started.pid().to_string());
}
