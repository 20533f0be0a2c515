//! `cargo ci`: what `.ci/run` runs, and what a person runs before a push.
//!
//! The steps share what they build. Clippy checks the dependencies once, `build` compiles them once with the
//! features that the tests need (`--all-targets`: the union with the dev-dependencies), and everything behind it
//! finds that done. Another choice of packages or `RUSTFLAGS` in one step would compile two hundred crates again.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::programs::{cargo, target};
use crate::tool::{DENY, NEXTEST};
use crate::{venv, wheel};

/// One step: what it is called in the table, and what it runs.
struct Step {
    name: &'static str,
    command: fn() -> Result<Command>,
}

const STEPS: [Step; 13] = [
    Step {
        name: "format",
        command: format,
    },
    Step {
        name: "deny",
        command: deny,
    },
    Step {
        name: "clippy",
        command: clippy,
    },
    Step {
        name: "build",
        command: build,
    },
    Step {
        name: "tests",
        command: tests,
    },
    Step {
        name: "crash matrix",
        command: crash_matrix,
    },
    Step {
        name: "soak",
        command: crate::soak::command,
    },
    Step {
        name: "python",
        command: python,
    },
    Step {
        name: "vendors",
        command: vendors,
    },
    Step {
        name: "segment",
        command: segment,
    },
    Step {
        name: "real tools",
        command: real_tools,
    },
    Step {
        name: "doc tests",
        command: doc_tests,
    },
    Step {
        name: "documentation",
        command: documentation,
    },
];

/// Machines that the simulation lives through on CI: some three minutes of two cores, where a person waits for one.
const SEEDS: &str = "3000";

fn format() -> Result<Command> {
    Ok(with(cargo(), &["fmt", "--all", "--check"]))
}

/// What may come in (`deny.toml`), asked of the lock file. No advisories: nothing is fetched but crates.
fn deny() -> Result<Command> {
    let mut command = with(
        Command::new(DENY.find_or_build()?),
        &[
            "--locked", "check", "-D", "warnings", "bans", "licenses", "sources",
        ],
    );
    command.current_dir(crate::programs::root());
    Ok(command)
}

fn clippy() -> Result<Command> {
    Ok(with(
        cargo(),
        &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    ))
}

/// Both programs, which the outer tests start, and all tests with them.
fn build() -> Result<Command> {
    Ok(with(cargo(), &["build", "--workspace", "--all-targets"]))
}

fn tests() -> Result<Command> {
    let mut command = with(
        Command::new(NEXTEST.find_or_build()?),
        &["nextest", "run", "--workspace"],
    );
    command.current_dir(crate::programs::root());
    let profile = if on_ci() { "ci" } else { "default" };
    let programs = target()?.join("debug");
    command
        .args(["--profile", profile, "--no-fail-fast"])
        .env("TELEMETRYD_BIN", programs.join("telemetryd"))
        .env("TELEMETRYCTL_BIN", programs.join("telemetryctl"))
        .env("XTASK_BIN", programs.join("xtask"));
    if let Some(deny) = DENY.find()? {
        command.env("CARGO_DENY_BIN", deny);
    }
    if on_ci() && env::var_os("TELEMETRYD_SIM_SEEDS").is_none() {
        command.env("TELEMETRYD_SIM_SEEDS", SEEDS);
    }
    Ok(command)
}

/// Each fault of docs/guarantees.md once, against a daemon with kill points. Of the same packages as `build`, so that
/// only the daemon is compiled again, and once with and once without them: the steps that follow want what is shipped.
fn crash_matrix() -> Result<Command> {
    let programs = target()?.join("debug");
    let pointed = programs.join("telemetryd-kill-points");
    let points: &[&str] = &["--features", "telemetryd/kill-points"];
    for more in [points, &[]] {
        let mut build = with(cargo(), &["build", "--workspace", "--all-targets"]);
        if !build.args(more).status()?.success() {
            bail!("cannot build the daemon with kill points");
        }
        if !more.is_empty() {
            fs::copy(programs.join("telemetryd"), &pointed)
                .context("cannot keep the daemon with kill points")?;
        }
    }
    let mut command = Command::new(programs.join("telemetryd-bench"));
    command
        .args(["crash", "--quick", "--in-memory", "--daemon"])
        .arg(pointed);
    Ok(command)
}

/// The Python client, against the programs that `build` made.
fn python() -> Result<Command> {
    let requirements = Path::new(wheel::REQUIREMENTS);
    let mut command = Command::new(venv::interpreter("clients-python", requirements)?);
    let programs = target()?.join("debug");
    command
        .args(["-m", "pytest", "--quiet", "clients/python"])
        .current_dir(crate::programs::root())
        // Nothing is written into the tree.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TELEMETRYD_BIN", programs.join("telemetryd"))
        .env("TELEMETRYCTL_BIN", programs.join("telemetryctl"))
        .env("XTASK_BIN", programs.join("xtask"));
    Ok(command)
}

/// The vendors' own packages read what leaves in their forms.
fn vendors() -> Result<Command> {
    let requirements = Path::new("tests/real_tools/requirements-encodings.txt");
    let mut command = Command::new(venv::interpreter("real-tools-encodings", requirements)?);
    command
        .arg("tests/real_tools/encodings.py")
        .current_dir(crate::programs::root())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// Segment's own client sends to the gateway.
fn segment() -> Result<Command> {
    let requirements = Path::new("tests/real_tools/requirements-encodings.txt");
    let mut command = Command::new(venv::interpreter("real-tools-encodings", requirements)?);
    let programs = target()?.join("debug");
    command
        .arg("tests/real_tools/segment_client.py")
        .current_dir(crate::programs::root())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TELEMETRYD_BIN", programs.join("telemetryd"))
        .env("TELEMETRYCTL_BIN", programs.join("telemetryctl"));
    Ok(command)
}

/// Kedro, dlt and Evidently as they are on PyPI: what they send is still what the captures say, and goes through the
/// daemon into their vendors' forms.
fn real_tools() -> Result<Command> {
    let requirements = Path::new("tests/real_tools/requirements.txt");
    let mut command = Command::new(venv::interpreter("real-tools", requirements)?);
    let programs = target()?.join("debug");
    command
        .args(["-m", "unittest", "direct", "through", "switches"])
        .current_dir(crate::programs::root().join("tests/real_tools"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TELEMETRYD_BIN", programs.join("telemetryd"))
        .env("TELEMETRYCTL_BIN", programs.join("telemetryctl"));
    Ok(command)
}

fn doc_tests() -> Result<Command> {
    Ok(with(cargo(), &["test", "--workspace", "--doc", "--quiet"]))
}

/// Private items too: this is a workspace of programs, and its pages are for whoever changes them.
fn documentation() -> Result<Command> {
    let mut command = with(
        cargo(),
        &[
            "doc",
            "--workspace",
            "--no-deps",
            "--document-private-items",
            "--quiet",
        ],
    );
    command.env("RUSTDOCFLAGS", "-D warnings");
    Ok(command)
}

fn with(mut command: Command, args: &[&str]) -> Command {
    command.args(args);
    command
}

/// `CI=true`, as the tests read it: a missing Debian package is then a failure, not a skipped test.
fn on_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

/// Runs every step, the later ones too when one fails, and ends with the table.
///
/// # Errors
///
/// When a name given on the command line is no step.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let chosen = choose(args)?;
    let mut rows: Vec<(&str, bool, Duration)> = Vec::with_capacity(chosen.len());
    for (number, step) in chosen.iter().enumerate() {
        eprintln!("\n=== {} of {}: {} ===", number + 1, chosen.len(), step.name);
        let begun = now();
        let passed = run_step(step).unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            false
        });
        rows.push((step.name, passed, begun.elapsed()));
        if !passed {
            eprintln!("=== {} failed ===", step.name);
            if step.name == "build" {
                break; // what follows would only say the same again
            }
        }
    }
    eprintln!("\n{}", table(&rows));
    Ok(match rows.iter().find(|(_, passed, _)| !passed) {
        Some((name, ..)) => {
            eprintln!("\nfailed first: {name}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    })
}

/// All steps, or those named (`cargo ci clippy tests`).
fn choose(args: &[OsString]) -> Result<Vec<&'static Step>> {
    if args.is_empty() {
        return Ok(STEPS.iter().collect());
    }
    args.iter()
        .map(|arg| match STEPS.iter().find(|step| arg == step.name) {
            Some(step) => Ok(step),
            None => bail!(
                "no such step: {} (there are: {})",
                arg.to_string_lossy(),
                STEPS.map(|step| step.name).join(", ")
            ),
        })
        .collect()
}

fn run_step(step: &Step) -> Result<bool> {
    let mut command = (step.command)()?;
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    Ok(status.success())
}

#[expect(
    clippy::disallowed_methods,
    reason = "xtask measures its own steps; it is not the daemon (I9)"
)]
fn now() -> Instant {
    Instant::now()
}

/// A line a step, its seconds, and their sum.
fn table(rows: &[(&str, bool, Duration)]) -> String {
    let mut text = String::new();
    for (name, passed, took) in rows {
        let word = if *passed { "ok" } else { "FAILED" };
        text.push_str(&format!("{name:<14} {word:<6} {:>7.1} s\n", took.as_secs_f64()));
    }
    let sum: Duration = rows.iter().map(|(_, _, took)| *took).sum();
    text.push_str(&format!(
        "{:<14} {:<6} {:>7.1} s",
        "together",
        "",
        sum.as_secs_f64()
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_step_its_fate_and_its_seconds() {
        let rows = [
            ("format", true, Duration::from_millis(1_500)),
            ("clippy", false, Duration::from_secs(61)),
        ];
        let shown = table(&rows);
        assert_eq!(
            shown,
            "format         ok         1.5 s\nclippy         FAILED    61.0 s\ntogether                 62.5 s"
        );
    }

    #[test]
    fn a_step_that_does_not_exist_is_named_with_those_that_do() {
        let error = choose(&["tset".into()]).err().expect("an error").to_string();
        assert!(
            error.starts_with("no such step: tset (there are: format, "),
            "{error}"
        );
    }
}
