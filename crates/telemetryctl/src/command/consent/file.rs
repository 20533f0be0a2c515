//! The user's `consent.toml`, changed in place: comments stay, and a crash leaves the old file or the new
//! one, never half of one. Whoever changes it does so in turn: a word that is said meanwhile is kept (I3).

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use telemetry_client::RealFiles;
use telemetry_policy::consent_file::edited;
use telemetry_policy::gather::{Found, Look};

use crate::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Writes the user's word. Answers the file's path, and whether it had to be changed.
pub(super) fn write(
    context: &Context,
    tool: Option<&str>,
    word: Option<bool>,
) -> Result<(PathBuf, bool), Failure> {
    let Some(dirs) = &context.surroundings.user else {
        return Err(Failure::failed("cannot tell where consent.toml belongs")
            .hint("set HOME or TELEMETRYD_CONFIG_DIR"));
    };
    let path = dirs.config.join("consent.toml");
    let failed = || Failure::failed(format!("cannot change {}", path.display()));
    let _turn = turn(&dirs.config);
    let before = match RealFiles.look(&path) {
        Found::Absent => String::new(),
        Found::File(text) => text,
        Found::Directory(_) => return Err(failed().caused_by("it is a directory")),
        Found::Unreadable(reason) => return Err(failed().caused_by(reason)),
    };
    let after = edited(&before, tool, word).map_err(|why| {
        failed()
            .caused_by(why)
            .hint("correct it by hand; as long as it cannot be read, it denies everything")
    })?;
    if after == before {
        return Ok((path, false));
    }
    replace(&path, after.as_bytes()).map_err(|error| {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::NotPermitted,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("cannot change {}", path.display())).caused_by_io(&error)
    })?;
    Ok((path, true))
}

/// How often another's turn is waited for, a millisecond apart: it reads, writes and fsyncs one small file.
const LOOKS: u32 = 5_000;

/// The turn to edit a file in `directory`, as the daemon and the clients take it, too: a lock on the directory itself, which
/// leaves nothing behind, and lasts until it is dropped. `None`: the file system has none, or somebody has stopped in the
/// middle of its own. No word waits for ever.
pub(super) fn turn(directory: &Path) -> Option<File> {
    make(directory).ok()?;
    let turn = File::open(directory).ok()?;
    for _ in 0..LOOKS {
        match turn.try_lock() {
            Ok(()) => return Some(turn),
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(Duration::from_millis(1)),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

fn make(directory: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Temporary file beside it, fsync, rename, fsync of the directory. A link is followed, so that a file that
/// is kept elsewhere (with dotfiles, say) is changed there and stays a link here.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let directory = real.parent().unwrap_or_else(|| Path::new("/"));
    make(directory)?;
    let mut file = tempfile::Builder::new()
        .prefix(".consent-")
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(&real).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_private_and_a_link_stays_a_link() {
        let home = tempfile::tempdir().unwrap();
        let (real, link) = (home.path().join("dotfiles"), home.path().join("c/consent.toml"));
        replace(&link, b"first").unwrap();
        assert_eq!(std::fs::read(&link).unwrap(), b"first");
        assert_eq!(
            std::fs::metadata(&link).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::rename(&link, &real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        replace(&link, b"second").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&real).unwrap(), b"second");
        assert_eq!(
            std::fs::read_dir(home.path()).unwrap().count(),
            2,
            "nothing is left beside it"
        );
    }
}
