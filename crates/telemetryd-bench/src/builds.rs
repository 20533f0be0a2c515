//! The daemons that are measured. Where cargo runs this program (`cargo run -p telemetryd-bench`), it has them built as it was
//! built itself: the daemon that is shipped, and for the faults one with kill points, in a target directory of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The variables by which cargo says that it runs this program, and who it is.
const CARGO: &str = "CARGO";
const PACKAGE: &str = "CARGO_PKG_NAME";

/// Paths of the daemons.
#[derive(Debug)]
pub(crate) struct Builds {
    /// The one that is shipped.
    pub(crate) plain: PathBuf,
    /// One with kill points, where there is one; else the same.
    pub(crate) pointed: PathBuf,
}

impl Builds {
    /// The one that was named, by the flag or by TELEMETRYD_BIN; else those that cargo makes, of which the second only for
    /// `faults`; else the one beside this program.
    ///
    /// # Errors
    /// When there is none, or it cannot be built.
    pub(crate) fn find(named: Option<PathBuf>, faults: bool) -> Result<Self> {
        let named = named.or_else(|| std::env::var_os("TELEMETRYD_BIN").map(PathBuf::from));
        if let Some(named) = named {
            return Self::one(&named);
        }
        let program = std::env::current_exe()?;
        let directory = program.parent().context("this program is in no directory")?;
        let cargo = std::env::var_os(CARGO);
        let ours = std::env::var_os(PACKAGE).is_some_and(|name| name == env!("CARGO_PKG_NAME"));
        let (Some(cargo), true) = (cargo, ours) else {
            return Self::one(&directory.join("telemetryd"));
        };
        let cargo = Cargo {
            program: PathBuf::from(cargo),
            profile: directory.file_name().context("a profile's directory")?.into(),
        };
        let target = directory.parent().context("a target directory")?;
        let plain = cargo.build(target, &[])?;
        let pointed = match faults {
            true => cargo.build(&target.join("kill-points"), &["--features", "kill-points"])?,
            false => plain.clone(),
        };
        Ok(Self { plain, pointed })
    }

    fn one(daemon: &Path) -> Result<Self> {
        ensure!(
            daemon.is_file(),
            "there is no {}: build it with 'cargo build --release -p telemetryd', or name it with --daemon",
            daemon.display()
        );
        let daemon = std::path::absolute(daemon)?;
        Ok(Self {
            pointed: daemon.clone(),
            plain: daemon,
        })
    }
}

/// The cargo that runs this program.
struct Cargo {
    program: PathBuf,
    /// The directory of its profile.
    profile: PathBuf,
}

impl Cargo {
    /// The daemon, as this program was built, beneath this target directory.
    fn build(&self, target: &Path, more: &[&str]) -> Result<PathBuf> {
        // The directory of the profile `dev` has another name.
        let profile = if self.profile.as_os_str() == "debug" {
            Path::new("dev")
        } else {
            &self.profile
        };
        let status = Command::new(&self.program)
            .args(["build", "-p", "telemetryd", "--bin", "telemetryd", "--profile"])
            .arg(profile)
            .arg("--target-dir")
            .arg(target)
            .args(more)
            // The workspace, wherever this was called.
            .current_dir(std::env::var_os("CARGO_MANIFEST_DIR").context("cargo says where the package is")?)
            .status()
            .context("cannot run cargo")?;
        ensure!(status.success(), "cannot build the daemon");
        Ok(target.join(&self.profile).join("telemetryd"))
    }
}
