//! The daemon's program: what has to be done without a running daemon is done by it, once, and not here
//! (the database and the configuration are its own).

use std::path::PathBuf;
use std::process::Command;

use crate::exit::Exit;
use crate::failure::Failure;

/// Names the daemon's program; then nothing else is tried.
pub(crate) const VARIABLE: &str = "TELEMETRYD_BIN";

/// `telemetryd`: what [`VARIABLE`] names, else the one beside this program, else the one in `PATH`.
pub(crate) fn telemetryd() -> PathBuf {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return path.into();
    }
    let beside = std::env::current_exe()
        .and_then(|own| own.canonicalize())
        .ok()
        .map(|own| own.with_file_name("telemetryd"))
        .filter(|path| path.is_file());
    beside.unwrap_or_else(|| PathBuf::from("telemetryd"))
}

/// Runs `telemetryd` with these flags to its end; what it prints is printed. Its exit codes are ours.
pub(crate) fn run(flags: &[&str]) -> Result<Exit, Failure> {
    let program = telemetryd();
    let status = Command::new(&program)
        .args(flags)
        .status()
        .map_err(|error| cannot_start(&program, &error))?;
    match status.code() {
        Some(0) => Ok(Exit::Done),
        // It has said why.
        Some(2) => Err(Failure::said(Exit::Usage)),
        Some(77) => Err(Failure::said(Exit::NotPermitted)),
        Some(78) => Err(Failure::said(Exit::BadConfig)),
        Some(_) => Err(Failure::said(Exit::Failed)),
        None => Err(Failure::failed(format!(
            "{} was ended by a signal",
            program.display()
        ))),
    }
}

/// The error of a program that is not there.
pub(crate) fn cannot_start(program: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot start {}", program.display()))
        .caused_by_io(error)
        .hint(format!(
            "install telemetryd beside telemetryctl, or name it in {VARIABLE}"
        ))
}
