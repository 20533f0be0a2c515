//! What happens to the process: it is killed, ended, doubled, or cut off from its clients.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use telemetry_sink::{Script, Step};

use super::super::trial::Trial;
use crate::clock;
use crate::endpoint::Endpoint;

/// A point that is not reached by then is not on the way.
const UNREACHED: Duration = Duration::from_secs(20);

/// Kills the daemon, and starts one that dies when it has passed a point so many times; then a whole one.
fn at(trial: &mut Trial<'_>, point: &str) -> Result<()> {
    let nth = trial.random.u32(1..=12);
    dies(trial, &format!("{point}:{nth}"))?;
    trial.mark();
    trial.start()
}

/// Starts a daemon that dies at a point, and sees it die.
fn dies(trial: &mut Trial<'_>, point: &str) -> Result<()> {
    trial.kill();
    let home = trial.home;
    let ended = trial.put(home.spawn(Some(point))?).ended(UNREACHED);
    let ended = ended.with_context(|| format!("{point} is not reached\n{}", home.log()))?;
    ensure!(!ended.success(), "it ended with {ended} before {point}");
    Ok(())
}

pub(in super::super) fn before_commit(trial: &mut Trial<'_>) -> Result<()> {
    at(trial, "before-commit")
}

pub(in super::super) fn after_commit(trial: &mut Trial<'_>) -> Result<()> {
    at(trial, "after-commit")
}

pub(in super::super) fn after_send(trial: &mut Trial<'_>) -> Result<()> {
    at(trial, "after-send")
}

/// No daemon has run yet: this one makes the files.
pub(in super::super) fn making(trial: &mut Trial<'_>) -> Result<()> {
    for point in ["migrate", "migrated"] {
        dies(trial, &format!("{point}:1"))?;
    }
    trial.mark();
    trial.start()
}

pub(in super::super) fn salvaging(trial: &mut Trial<'_>) -> Result<()> {
    trial.hold(500)?;
    trial.term()?;
    let mut file = OpenOptions::new().write(true).open(trial.home.queue_file())?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&[0; 16])?;
    drop(file);
    dies(trial, "salvage:1")?;
    trial.mark();
    trial.start()?;
    trial.release()
}

pub(in super::super) fn anytime(trial: &mut Trial<'_>) -> Result<()> {
    clock::pause(Duration::from_micros(trial.random.u64(0..50_000)));
    trial.kill();
    trial.mark();
    trial.start()
}

pub(in super::super) fn term(trial: &mut Trial<'_>) -> Result<()> {
    let slow = Step::slow(500).body("an answer of fifty bytes, which take a tenth of a s");
    trial.endpoint.play(Script::new().then(slow));
    clock::pause(Duration::from_micros(trial.random.u64(10_000..100_000)));
    trial.mark();
    trial.term()?;
    trial.endpoint.play(Endpoint::honest());
    trial.start()
}

pub(in super::super) fn second(trial: &mut Trial<'_>) -> Result<()> {
    let pid = trial.daemon()?.pid().to_string();
    trial.mark();
    let home = trial.home;
    let mut other = home.spawn(None)?;
    let ended = other
        .ended(UNREACHED)
        .context("a second daemon does not end by itself")?;
    ensure!(!ended.success(), "a second daemon ended with {ended}");
    ensure!(
        home.log().contains(&pid),
        "it does not name the first: {}",
        home.log()
    );
    Ok(())
}

pub(in super::super) fn no_socket(trial: &mut Trial<'_>) -> Result<()> {
    trial.mark();
    fs::remove_file(trial.home.socket())?;
    // What is answered on connections that are open is no sign of it; that a new one is answered is.
    trial.daemon()?.wait_until_ready()?;
    trial.served();
    Ok(())
}
