//! What the endpoint says that is not so.

use std::time::Duration;

use anyhow::Result;
use telemetry_sink::{Script, Step};

use super::super::trial::Trial;
use crate::clock;
use crate::endpoint::Endpoint;

/// How long it misbehaves.
const A_WHILE: Duration = Duration::from_millis(500);

/// Misbehaves for a while; the clock runs from its end.
fn misbehaves(trial: &mut Trial<'_>, script: Script) -> Result<()> {
    trial.endpoint.play(script);
    clock::pause(A_WHILE);
    trial.endpoint.play(Endpoint::honest());
    trial.mark();
    Ok(())
}

pub(in super::super) fn takes_and_fails(trial: &mut Trial<'_>) -> Result<()> {
    let script = Script::new().then(Step::status(500).store(true).every(3));
    misbehaves(trial, script)
}

pub(in super::super) fn fails(trial: &mut Trial<'_>) -> Result<()> {
    misbehaves(trial, Script::new().then(Step::status(500)))
}

pub(in super::super) fn captive(trial: &mut Trial<'_>) -> Result<()> {
    misbehaves(trial, Script::new().then(Step::captive()))
}

pub(in super::super) fn drops(trial: &mut Trial<'_>) -> Result<()> {
    let script = Script::new().then(Step::status(200).store(false));
    misbehaves(trial, script)
}
