//! `telemetryctl` as a person and a script run it, against the real daemon (CLI.md).

mod demo;
mod doctor;
mod scripts;
mod service;
mod shapes;

use telemetry_testkit::{Ctl, Exit};

/// Runs it with a line of arguments.
#[track_caller]
fn run(ctl: &Ctl, line: &str) -> Exit {
    ctl.run(line.split_whitespace())
}
