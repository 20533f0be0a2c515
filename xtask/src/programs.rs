//! Where cargo, the workspace and the built programs are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// A `cargo` command that runs at the top of the workspace, with the toolchain that started us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The top of the workspace.
pub(crate) fn root() -> PathBuf {
    // `cargo run` sets the variable for the process too, so that a moved tree is still found.
    let here =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_path_buf)
}

/// Where cargo puts what it builds: we stand in it ourselves, at `<target>/debug/xtask`.
///
/// # Errors
///
/// When the program was copied out of its target directory.
pub(crate) fn target() -> Result<PathBuf> {
    let exe = env::current_exe().context("cannot find out where xtask itself is")?;
    exe.ancestors()
        .nth(2)
        .map(Path::to_path_buf)
        .with_context(|| format!("{} is not inside a target directory", exe.display()))
}
