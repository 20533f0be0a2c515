//! The test runner: the one on PATH when it is new enough, else one of our own under `target/tools`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::programs::{cargo, target};

/// The oldest one whose configuration language `.config/nextest.toml` may use; that file names the same number.
const OLDEST: (u32, u32, u32) = (0, 9, 100);

/// What is built when there is none.
const BUILT: &str = "0.9.143";

/// Finds a runner or builds one, and returns the command that begins with it.
///
/// # Errors
///
/// When cargo cannot be started or the runner cannot be built.
pub(crate) fn find_or_build() -> Result<PathBuf> {
    let own = target()?.join("tools");
    let candidates = [PathBuf::from("cargo-nextest"), own.join("bin/cargo-nextest")];
    if let Some(found) = candidates
        .into_iter()
        .find(|runner| version(runner).is_some_and(|v| v >= OLDEST))
    {
        return Ok(found);
    }
    eprintln!(
        "no cargo-nextest {}.{}.{} or newer on PATH: building {BUILT}",
        OLDEST.0, OLDEST.1, OLDEST.2
    );
    // Unoptimised and without debug information: it starts processes and waits for them, and half of the
    // quarter of an hour that `cargo ci` may take is not for its optimiser.
    let status = cargo()
        .args([
            "install",
            "--quiet",
            "--locked",
            "--debug",
            "cargo-nextest",
            "--version",
            BUILT,
            "--root",
        ])
        .arg(&own)
        .env("CARGO_TARGET_DIR", own.join("build"))
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .status()
        .context("cannot start cargo install")?;
    if !status.success() {
        bail!("cannot build cargo-nextest {BUILT}");
    }
    Ok(own.join("bin/cargo-nextest"))
}

/// The version of a runner, or `None` when it cannot be run.
fn version(runner: &PathBuf) -> Option<(u32, u32, u32)> {
    let output = Command::new(runner)
        .args(["nextest", "--version"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `cargo-nextest 0.9.143 (…)`.
fn parse(line: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = line.split_whitespace().nth(1)?.splitn(3, '.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_version_is_read_from_the_first_line_whatever_follows_it() {
        assert_eq!(
            parse("cargo-nextest 0.9.143 (60fa45f63 2026-08-04)\nrelease: 0.9.143"),
            Some((0, 9, 143))
        );
        assert_eq!(parse("cargo-nextest 0.10.0-rc.1"), Some((0, 10, 0)));
        assert_eq!(parse("error: no such command"), None);
    }
}
