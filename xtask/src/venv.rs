//! Python for the tests: a virtual environment a list of pinned requirements, under `target/venvs`, made once
//! and made again when its list changes. Nothing is ever installed outside of it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::programs::{root, target};

/// Names the interpreter that environments are made with; without it, `python3`.
const PYTHON: &str = "PYTHON";

/// The interpreter of the environment `name`, which has what `requirements` lists (a path from the top of the
/// workspace). Made or made again if need be, by pip from its index.
///
/// # Errors
///
/// When there is no Python with `venv`, or when pip cannot install what the list asks for.
pub(crate) fn interpreter(name: &str, requirements: &Path) -> Result<PathBuf> {
    let list = root().join(requirements);
    let wanted = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let place = target()?.join("venvs").join(name);
    let python = place.join("bin/python");
    // Written last: an environment without it was not finished.
    let stamp = place.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == wanted) && answers(&python) {
        return Ok(python);
    }
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    let base = std::env::var_os(PYTHON).unwrap_or_else(|| "python3".into());
    eprintln!("making {} from {}", place.display(), requirements.display());
    run(Command::new(base).args(["-m", "venv"]).arg(&place))?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "--requirement",
        ])
        .arg(&list))?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(python)
}

/// `cargo xtask venv NAME REQUIREMENTS`: makes it and prints its interpreter.
///
/// # Errors
///
/// When the arguments are not those two, or the environment cannot be made.
#[expect(clippy::print_stdout, reason = "the path is what a script asks for")]
pub(crate) fn verb(args: &[OsString]) -> Result<ExitCode> {
    let [name, requirements] = args else {
        bail!("usage: cargo xtask venv NAME REQUIREMENTS");
    };
    let python = interpreter(&name.to_string_lossy(), Path::new(requirements))?;
    println!("{}", python.display());
    Ok(ExitCode::SUCCESS)
}

/// An environment whose base interpreter has gone does not start any more.
fn answers(python: &Path) -> bool {
    let mut command = Command::new(python);
    command
        .args(["-c", ""])
        .status()
        .is_ok_and(|status| status.success())
}

fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command
        .status()
        .with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown} failed: {status}");
    }
    Ok(())
}
