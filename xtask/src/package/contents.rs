//! What a package holds and where it goes: the one list, for every shape.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{run_program, said};
use crate::programs::root;

/// One file of a package.
pub(super) struct Item {
    /// Where it goes, without the leading slash.
    pub(super) to: String,
    /// What is in it.
    from: From,
    mode: u32,
    /// The admin's to change: a package manager asks before it replaces it.
    pub(super) config: bool,
}

enum From {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// Files of the project that go somewhere as they are.
const AS_THEY_ARE: [(&str, &str); 10] = [
    (
        "systemd/system/telemetryd.service",
        "usr/lib/systemd/system/telemetryd.service",
    ),
    (
        "systemd/system/telemetryd.socket",
        "usr/lib/systemd/system/telemetryd.socket",
    ),
    (
        "systemd/user/telemetryd.service",
        "usr/lib/systemd/user/telemetryd.service",
    ),
    (
        "systemd/user/telemetryd.socket",
        "usr/lib/systemd/user/telemetryd.socket",
    ),
    (
        "systemd/sysusers.d/telemetryd.conf",
        "usr/lib/sysusers.d/telemetryd.conf",
    ),
    (
        "systemd/tmpfiles.d/telemetryd.conf",
        "usr/lib/tmpfiles.d/telemetryd.conf",
    ),
    ("packaging/copyright", "usr/share/doc/telemetryd/copyright"),
    ("docs/admin.md", "usr/share/doc/telemetryd/admin.md"),
    (
        "docs/configuration.md",
        "usr/share/doc/telemetryd/configuration.md",
    ),
    ("CHANGELOG.md", "usr/share/doc/telemetryd/CHANGELOG.md"),
];

/// zsh's own place is a distribution's to say: Debian's, and everybody else's.
const ZSH: &str = "usr/share/zsh/vendor-completions/_telemetryctl";
const ZSH_ELSEWHERE: (&str, &str) = ("/zsh/vendor-completions/", "/zsh/site-functions/");

/// Shells, and where each looks for completions.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/telemetryctl"),
    ("zsh", ZSH),
    ("fish", "usr/share/fish/vendor_completions.d/telemetryctl.fish"),
];

/// Everything, with the programs from this directory, for this kind of package.
pub(super) fn all(programs: &Path, shape: &str) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for program in ["telemetryd", "telemetryctl"] {
        items.push(Item {
            to: format!("usr/bin/{program}"),
            from: From::File(programs.join(program)),
            mode: 0o755,
            config: false,
        });
    }
    for (from, to) in AS_THEY_ARE {
        items.push(file(root().join(from), to));
    }
    items.push(Item {
        config: true,
        ..file(
            root().join("config/telemetryd.toml"),
            "etc/telemetryd/config.toml",
        )
    });
    for manifest in below(&root().join("config/tools.d"), "toml")? {
        let to = format!("usr/share/telemetryd/tools.d/{}", name(&manifest));
        items.push(file(manifest, &to));
    }
    let ctl = programs.join("telemetryctl");
    for (shell, to) in SHELLS {
        let script = said(Command::new(&ctl).args(["completions", shell]))?;
        items.push(made(format!("{script}\n").into_bytes(), to));
    }
    items.extend(manual(&ctl)?);
    if shape == "rpm" {
        for item in &mut items {
            item.to = item.to.replace(ZSH_ELSEWHERE.0, ZSH_ELSEWHERE.1);
        }
    }
    Ok(items)
}

/// The pages, packed as a distribution has them.
fn manual(ctl: &Path) -> Result<Vec<Item>> {
    let pages = tempdir()?;
    run_program(Command::new(ctl).args(["man", "--dir"]).arg(&pages))?;
    fs::copy(root().join("packaging/telemetryd.8"), pages.join("telemetryd.8"))?;
    let mut items = Vec::new();
    for section in ["1", "8"] {
        for page in below(&pages, section)? {
            let packed = Command::new("gzip")
                .args(["-9nc"])
                .arg(&page)
                .output()
                .context("cannot start gzip")?;
            items.push(made(
                packed.stdout,
                &format!("usr/share/man/man{section}/{}.gz", name(&page)),
            ));
        }
    }
    fs::remove_dir_all(pages)?;
    Ok(items)
}

/// An empty directory under the target directory.
fn tempdir() -> Result<PathBuf> {
    let directory = crate::programs::target()?.join(format!("package-pages-{}", std::process::id()));
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

fn file(from: PathBuf, to: &str) -> Item {
    Item {
        to: to.to_owned(),
        from: From::File(from),
        mode: 0o644,
        config: false,
    }
}

fn made(bytes: Vec<u8>, to: &str) -> Item {
    Item {
        to: to.to_owned(),
        from: From::Bytes(bytes),
        mode: 0o644,
        config: false,
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The files of a directory with that ending, in order; none where there is no such directory.
fn below(directory: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|own| own == ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Makes the tree anew.
pub(super) fn lay_out(items: &[Item], root: &Path) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("cannot empty {}", root.display()))?;
    }
    for item in items {
        let path = root.join(&item.to);
        let directory = path.parent().unwrap_or(root);
        fs::create_dir_all(directory)?;
        match &item.from {
            From::File(from) => {
                fs::copy(from, &path).with_context(|| format!("cannot copy {}", from.display()))?;
            }
            From::Bytes(bytes) => fs::write(&path, bytes)?,
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(item.mode))?;
    }
    // What `--profile dist` leaves away already; the tests' programs are ten times as large with it.
    run_program(
        Command::new("strip")
            .args(["telemetryd", "telemetryctl"])
            .current_dir(root.join("usr/bin")),
    )?;
    // Whatever the umask was.
    plain_directories(root)
}

fn plain_directories(directory: &Path) -> Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            plain_directories(&entry.path())?;
        }
    }
    Ok(())
}
