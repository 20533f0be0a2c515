//! What happens to time: the wall clock jumps, the machine sleeps.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::super::trial::Trial;
use crate::clock;

const YEAR_MS: i64 = 365 * 24 * 60 * 60 * 1000;

const NIGHT_MS: u64 = 8 * 60 * 60 * 1000;

/// Moves the wall clock, keeps it through a restart, puts it right.
fn wrong_by(trial: &mut Trial<'_>, ms: i64) -> Result<()> {
    trial.home.move_clock(ms, 0)?;
    trial.mark();
    clock::pause(Duration::from_millis(200));
    trial.hold(200)?;
    trial.term()?;
    trial.start()?;
    trial.release()?;
    clock::pause(Duration::from_millis(200));
    trial.home.move_clock(0, 0)
}

pub(in super::super) fn back(trial: &mut Trial<'_>) -> Result<()> {
    wrong_by(trial, -YEAR_MS)
}

pub(in super::super) fn forward(trial: &mut Trial<'_>) -> Result<()> {
    wrong_by(trial, YEAR_MS)
}

pub(in super::super) fn suspend(trial: &mut Trial<'_>) -> Result<()> {
    trial.daemon()?.signal(Signal::STOP);
    clock::pause(Duration::from_millis(200));
    trial.home.move_clock(i64::try_from(NIGHT_MS)?, NIGHT_MS)?;
    trial.mark();
    trial.daemon()?.signal(Signal::CONT);
    Ok(())
}
