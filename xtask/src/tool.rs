//! The plugins of cargo that steps call: the one on PATH when it is new enough, else one of our own under
//! `target/tools`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::programs::{cargo, target};

/// A version, as far as one is compared.
type Version = (u32, u32, u32);

/// A plugin of cargo: `cargo-nextest` is what `cargo nextest` starts.
pub(crate) struct Tool {
    /// Its crate, and its program.
    name: &'static str,
    /// The word after `cargo`.
    verb: &'static str,
    /// The oldest one that reads the file which this tree has for it.
    oldest: Version,
    /// What is built when there is none.
    built: &'static str,
}

/// Runs the tests. `.config/nextest.toml` names the same oldest version.
pub(crate) const NEXTEST: Tool = Tool {
    name: "cargo-nextest",
    verb: "nextest",
    oldest: (0, 9, 100),
    built: "0.9.143",
};

/// Holds `deny.toml` against the crates that come in. Older ones were not tried with that file.
pub(crate) const DENY: Tool = Tool {
    name: "cargo-deny",
    verb: "deny",
    oldest: (0, 20, 0),
    built: "0.20.2",
};

impl Tool {
    /// The program, if there is one that is new enough.
    ///
    /// # Errors
    ///
    /// When we do not stand in a target directory.
    pub(crate) fn find(&self) -> Result<Option<PathBuf>> {
        let candidates = [PathBuf::from(self.name), self.own()?];
        Ok(candidates
            .into_iter()
            .find(|program| self.version(program).is_some_and(|v| v >= self.oldest)))
    }

    /// Finds the program or builds one.
    ///
    /// # Errors
    ///
    /// When cargo cannot be started or the program cannot be built.
    pub(crate) fn find_or_build(&self) -> Result<PathBuf> {
        if let Some(found) = self.find()? {
            return Ok(found);
        }
        let Self { name, built, .. } = self;
        let (major, minor, patch) = self.oldest;
        eprintln!("no {name} {major}.{minor}.{patch} or newer on PATH: building {built}");
        let tools = target()?.join("tools");
        let build = tools.join("build");
        // Unoptimised and without debug information: it runs for seconds, or waits for what it started, and its
        // optimiser would run for minutes. (cargo-deny: 65 s of one core and 365 MB while it is built.)
        let status = cargo()
            .args([
                "install",
                "--quiet",
                "--locked",
                "--debug",
                name,
                "--version",
                built,
                "--root",
            ])
            .arg(&tools)
            .env("CARGO_TARGET_DIR", &build)
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .status()
            .context("cannot start cargo install")?;
        if !status.success() {
            bail!("cannot build {name} {built}");
        }
        fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))?;
        self.own()
    }

    /// Where the one of our own is, or would be.
    fn own(&self) -> Result<PathBuf> {
        Ok(target()?.join("tools/bin").join(self.name))
    }

    /// The version of a program, or `None` when it cannot be run.
    fn version(&self, program: &Path) -> Option<Version> {
        let output = Command::new(program)
            .args([self.verb, "--version"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        parse(&String::from_utf8_lossy(&output.stdout))
    }
}

/// Reads `cargo-nextest 0.9.143 (…)`.
fn parse(line: &str) -> Option<Version> {
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
        assert_eq!(parse("cargo-deny 0.20.2"), Some((0, 20, 2)));
        assert_eq!(parse("cargo-nextest 0.10.0-rc.1"), Some((0, 10, 0)));
        assert_eq!(parse("error: no such command"), None);
    }
}
