//! `cargo demo`: builds both programs and hands over to `telemetryctl demo`.
//!
//! The dev profile is the default: on a fresh clone it is there in half the time of a release build, and the demo
//! shows what happens to events, not how fast. `--release` builds what users get.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::programs::{cargo, target};

/// Builds, then runs; the exit code is the demo's.
///
/// # Errors
///
/// When cargo or the built program cannot be started, or the build fails.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let release = args.iter().any(|arg| arg == "--release");
    let passed = args.iter().filter(|arg| *arg != "--release");

    let mut build = cargo();
    build.args(["build", "--package", "telemetryd", "--package", "telemetryctl"]);
    if release {
        build.arg("--release");
    }
    if !std::io::stderr().is_terminal() {
        // A log has no use for two hundred "Compiling" lines.
        build.arg("--quiet");
    }
    eprintln!("building telemetryd and telemetryctl (minutes the first time, seconds after)");
    if !build.status().context("cannot start cargo")?.success() {
        bail!("the build failed");
    }

    let programs = target()?.join(if release { "release" } else { "debug" });
    let program = programs.join("telemetryctl");
    let status = Command::new(&program)
        .arg("demo")
        .args(passed)
        // telemetryctl looks beside itself first; the variable says it for good.
        .env("TELEMETRYD_BIN", programs.join("telemetryd"))
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    Ok(match status.code() {
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        None => ExitCode::FAILURE,
    })
}
