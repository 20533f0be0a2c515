//! The .deb: `dpkg-deb` around the tree, with the scripts of `packaging/deb/`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::contents::Item;
use super::{Asked, run_program, said};
use crate::programs::root;

pub(super) fn pack(asked: &Asked, items: &[Item], tree: &Path) -> Result<PathBuf> {
    let sums = said(
        Command::new("sh")
            .args(["-c", "find * -type f -exec md5sum {} +"])
            .current_dir(tree),
    )?;
    let debian = tree.join("DEBIAN");
    fs::create_dir_all(&debian)?;
    fs::set_permissions(&debian, fs::Permissions::from_mode(0o755))?;
    let architecture = said(Command::new("dpkg").arg("--print-architecture"))?;
    let control =
        fs::read_to_string(root().join("packaging/deb/control")).context("packaging/deb/control")?;
    let control = control
        .replace("@VERSION@", &asked.version)
        .replace("@ARCHITECTURE@", &architecture)
        .replace("@DEPENDS@", &libraries()?);
    fs::write(debian.join("control"), control)?;
    fs::write(debian.join("md5sums"), format!("{sums}\n"))?;
    let config: String = items
        .iter()
        .filter(|item| item.config)
        .map(|item| format!("/{}\n", item.to))
        .collect();
    fs::write(debian.join("conffiles"), config)?;
    for script in ["postinst", "prerm", "postrm"] {
        let to = debian.join(script);
        fs::copy(root().join("packaging/deb").join(script), &to)
            .with_context(|| format!("cannot copy {script}"))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
    }
    let file = asked
        .out
        .join(format!("telemetryd_{}_{architecture}.deb", asked.version));
    let packing = if asked.plain { "-Znone" } else { "-Zxz" };
    run_program(
        Command::new("dpkg-deb")
            .args([packing, "--root-owner-group", "--build"])
            .arg(tree)
            .arg(&file),
    )?;
    Ok(file)
}

/// The C library, at least as new as the one that was linked against: the only thing that is linked dynamically.
fn libraries() -> Result<String> {
    let version = said(Command::new("dpkg-query").args(["--show", "--showformat=${Version}", "libc6"]))?;
    let upstream = version.split('-').next().unwrap_or(&version);
    Ok(format!("libc6 (>= {upstream}), libgcc-s1"))
}
