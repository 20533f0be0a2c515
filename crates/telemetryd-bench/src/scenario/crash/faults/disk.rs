//! What happens to the disk: no power, no room, errors, nothing but reading.

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::super::mount::Mount;
use super::super::strace::Failing;
use super::super::trial::Trial;
use crate::clock;

/// A fault that nobody is told of lasts so long.
const A_WHILE: Duration = Duration::from_millis(500);

fn mount<'t>(trial: &Trial<'t>) -> Result<&'t Mount> {
    trial.mount.context("the row has no file system of its own")
}

pub(in super::super) fn power_cut(trial: &mut Trial<'_>) -> Result<()> {
    clock::pause(Duration::from_micros(trial.random.u64(0..100_000)));
    // Everything stops at once: what the daemon has written then is on the device, or never will be.
    trial.daemon()?.signal(Signal::STOP);
    mount(trial)?.cut_power()?;
    trial.kill();
    mount(trial)?.again()?;
    trial.mark();
    trial.start()
}

pub(in super::super) fn full(trial: &mut Trial<'_>) -> Result<()> {
    let filler = trial.home.at("state/filler");
    let mut file = File::create(&filler)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    trial.until_refused()?;
    fs::remove_file(filler)?;
    trial.mark();
    Ok(())
}

pub(in super::super) fn writes_fail(trial: &mut Trial<'_>) -> Result<()> {
    let failing = Failing::calls(trial, "pwrite64,pwritev,ftruncate,fallocate", "EIO")?;
    trial.until_refused()?;
    drop(failing);
    trial.mark();
    Ok(())
}

pub(in super::super) fn syncs_fail(trial: &mut Trial<'_>) -> Result<()> {
    let failing = Failing::calls(trial, "fsync,fdatasync", "EIO")?;
    if trial.ack == crate::lines::Ack::Synced {
        trial.until_refused()?;
    } else {
        clock::pause(A_WHILE);
    }
    drop(failing);
    trial.mark();
    Ok(())
}

pub(in super::super) fn reads_fail(trial: &mut Trial<'_>) -> Result<()> {
    let failing = Failing::calls(trial, "pread64", "EIO")?;
    clock::pause(A_WHILE);
    drop(failing);
    trial.mark();
    Ok(())
}

pub(in super::super) fn reads_fail_at_start(trial: &mut Trial<'_>) -> Result<()> {
    trial.hold(500)?;
    trial.kill();
    for nth in 1..=trial.random.u32(2..=6) {
        let inject = format!("inject=pread64:error=EIO:when={nth}+");
        let under = [
            "strace",
            "-D",
            "-f",
            "-o",
            "/dev/null",
            "-e",
            "trace=pread64",
            "-e",
            &inject,
        ];
        let home = trial.home;
        let daemon = trial.put(home.spawn_under(&under)?);
        // It refuses to start, or starts in spite of it.
        let ended = daemon.ended(A_WHILE);
        ensure!(
            ended.is_none_or(|ended| !ended.success()),
            "it ended as if nothing were wrong"
        );
        trial.kill();
    }
    trial.mark();
    trial.start()?;
    trial.release()
}

pub(in super::super) fn read_only(trial: &mut Trial<'_>) -> Result<()> {
    mount(trial)?.find_error()?;
    trial.until_refused()?;
    trial.kill();
    mount(trial)?.again()?;
    trial.mark();
    trial.start()
}
