//! The .rpm: `rpmbuild` around the tree, with `packaging/rpm/telemetryd.spec`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::contents::Item;
use super::{Asked, run_program, said};
use crate::programs::root;

pub(super) fn pack(asked: &Asked, items: &[Item], tree: &Path) -> Result<PathBuf> {
    let files: String = items
        .iter()
        .map(|item| match item.config {
            true => format!("%config(noreplace) /{}\n", item.to),
            false if item.to.contains("/doc/") => format!("%doc /{}\n", item.to),
            false => format!("/{}\n", item.to),
        })
        .collect();
    let spec = fs::read_to_string(root().join("packaging/rpm/telemetryd.spec")).context("packaging/rpm")?;
    // A dash separates version and release; a version before a release is told by a tilde.
    let version = asked.version.replace('-', "~");
    let spec = spec.replace("@VERSION@", &version).replace("@FILES@", &files);
    let work = asked.out.join("rpm-work");
    fs::create_dir_all(&work)?;
    let spec_file = work.join("telemetryd.spec");
    fs::write(&spec_file, spec)?;
    let define = |name: &str, value: &str| format!("{name} {value}");
    let packing = if asked.plain { "w0.gzdio" } else { "w19.zstdio" };
    // rpmbuild empties its build root before it installs: the tree is copied in as the install step.
    run_program(
        Command::new("rpmbuild")
            .arg("-bb")
            .args(["--define", &define("_topdir", &work.display().to_string())])
            .args(["--define", &define("_rpmdir", &asked.out.display().to_string())])
            .args(["--define", &define("_binary_payload", packing)])
            .args(["--define", &define("tree", &tree.display().to_string())])
            .arg(&spec_file),
    )?;
    let architecture = said(Command::new("rpm").args(["--eval", "%{_arch}"]))?;
    Ok(asked
        .out
        .join(&architecture)
        .join(format!("telemetryd-{version}-1.{architecture}.rpm")))
}
