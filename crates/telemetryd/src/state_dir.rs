//! Where state really goes: SQLite's locks and WAL cannot be trusted on a network file system, so there
//! the queue moves to a local directory by itself (QUEUE.md, promise 7).

mod gone;

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

pub use self::gone::gone;
use crate::failure::Failure;

/// The directory to use, and why it is not the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    /// Use this.
    pub path: PathBuf,
    /// Set where it was moved: a sentence for the log and `status`.
    pub moved: Option<String>,
}

/// Chooses between `wanted` and a local directory, which [`take`] makes when it is needed.
#[must_use]
pub fn choose(wanted: &Path, uid: u32) -> StateDir {
    let existing = wanted.ancestors().find(|path| path.exists()).unwrap_or(wanted);
    let Some(kind) = network_file_system(existing) else {
        return StateDir {
            path: wanted.to_owned(),
            moved: None,
        };
    };
    let local = PathBuf::from(format!("/var/tmp/telemetryd-{uid}"));
    let moved = format!(
        "{} is on {kind}; state is kept in {} instead",
        wanted.display(),
        local.display()
    );
    StateDir {
        path: local,
        moved: Some(moved),
    }
}

/// Makes `local` with mode 0700, or takes it if it is ours: a directory, no link, our uid, nobody else's.
///
/// # Errors
/// When what is there is not ours.
pub fn take(local: &Path, uid: u32) -> Result<(), Failure> {
    let failed = |what: String| Failure::Denied(what);
    match std::fs::DirBuilder::new().mode(0o700).create(local) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(failed(format!("cannot make {}: {e}", local.display()))),
    }
    let found = std::fs::symlink_metadata(local)
        .map_err(|e| failed(format!("cannot look at {}: {e}", local.display())))?;
    if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
        return Err(failed(format!(
            "{} is not a private directory of uid {uid}",
            local.display()
        )));
    }
    Ok(())
}

/// The name of the network file system that `path` is on.
#[cfg(target_os = "linux")]
fn network_file_system(path: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    // `f_type` is signed on some architectures.
    telemetry_protocol::place::network_file_system(u32::try_from(kind & 0xFFFF_FFFF).ok()?)
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(path: &Path) -> Option<&'static str> {
    /// `MNT_LOCAL`, statfs(2) of macOS.
    const LOCAL: u32 = 0x1000;
    let flags = rustix::fs::statfs(path).ok()?.f_flags;
    (flags & LOCAL == 0).then_some("a network file system")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_directory_is_used_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let wanted = home.path().join("not/yet/there");
        assert_eq!(
            choose(&wanted, 0),
            StateDir {
                path: wanted,
                moved: None
            }
        );
    }

    #[test]
    fn the_fallback_is_ours_or_it_is_not_used() {
        let home = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let ours = home.path().join("ours");
        take(&ours, uid).unwrap();
        take(&ours, uid).unwrap();
        assert!(take(&ours, uid + 1).is_err(), "another owner");
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&ours, &link).unwrap();
        assert!(take(&link, uid).is_err(), "no link is followed");
    }
}
