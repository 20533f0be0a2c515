//! `cargo xtask wheel`: the wheel `telemetryd-bin` with both programs, and the Python client's own.
//!
//! maturin packs the programs of one crate, as other projects' wheels of programs are made; the other program is built
//! first and handed to it as data. It runs inside of the tree, where `.cargo/config.toml` holds for its cargo too.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::programs::{cargo, root, target};
use crate::venv;

/// Where the tools that make wheels are listed.
pub(crate) const REQUIREMENTS: &str = "clients/python/requirements-test.txt";

/// Builds both wheels (`--profile dist` unless told otherwise) and says where they are.
///
/// # Errors
///
/// When something cannot be built or copied.
#[expect(clippy::print_stdout, reason = "the paths are what a script asks for")]
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let (mut profile, mut out) = ("dist".to_owned(), target()?.join("wheels"));
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let value = words
            .next()
            .with_context(|| format!("{} needs a value", word.to_string_lossy()))?;
        match word.to_str() {
            Some("--profile") => profile = value.to_string_lossy().into_owned(),
            Some("--out") => out = std::path::absolute(value).context("--out")?,
            _ => bail!("no such option: {}", word.to_string_lossy()),
        }
    }
    let python = venv::interpreter("clients-python", Path::new(REQUIREMENTS))?;
    println!("{}", programs(&python, &profile, &out)?.display());
    println!("{}", client(&python, &out)?.display());
    Ok(ExitCode::SUCCESS)
}

/// The wheel that carries the programs.
fn programs(python: &Path, profile: &str, out: &Path) -> Result<PathBuf> {
    finish(cargo().args(["build", "--locked", "--profile", profile, "-p", "telemetryctl"]))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    let home = root().join("clients/python-bin");
    let data = home.join("data");
    let scripts = data.join("scripts");
    fs::create_dir_all(&scripts).with_context(|| format!("cannot make {}", scripts.display()))?;
    let built = target()?.join(folder).join("telemetryctl");
    fs::copy(&built, scripts.join("telemetryctl"))
        .with_context(|| format!("cannot copy {}", built.display()))?;
    let made = finish(
        Command::new(python)
            .args(["-m", "maturin", "build", "--quiet", "--profile", profile, "--out"])
            .arg(out)
            .env("CARGO_TARGET_DIR", target()?)
            .current_dir(&home),
    );
    fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
    made?;
    newest(out, "telemetryd_bin-")
}

/// The wheel of the Python client.
fn client(python: &Path, out: &Path) -> Result<PathBuf> {
    finish(
        Command::new(python)
            .args(["-m", "build", "--wheel", "--no-isolation", "--outdir"])
            .arg(out)
            .arg(root().join("clients/python"))
            .stdout(std::process::Stdio::null()),
    )?;
    newest(out, "telemetryd-")
}

fn newest(out: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(out).with_context(|| format!("cannot list {}", out.display()))?;
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .max_by_key(|entry| entry.metadata().and_then(|found| found.modified()).ok())
        .map(|entry| entry.path())
        .with_context(|| format!("no {prefix}*.whl in {}", out.display()))
}

fn finish(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command
        .status()
        .with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown} failed: {status}");
    }
    Ok(())
}
