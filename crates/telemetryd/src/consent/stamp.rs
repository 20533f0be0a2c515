//! Whether a path has changed since it was read: one `lstat`, no open.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::manifests;
use crate::config::Places;

/// What tells one state of a path from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// Nothing is there, or nothing that may be seen: told apart by the reason.
    Nothing(ErrorKind),
    /// Device, inode, size, and the times of the last changes. Bit patterns to compare; nobody counts with them.
    There([i64; 6]),
}

impl Stamp {
    /// Follows links, so that an edited target counts; a dangling link has the stamp of the link.
    pub(super) fn of(path: &Path) -> Self {
        let found = std::fs::symlink_metadata(path).map(|link| match link.is_symlink() {
            true => std::fs::metadata(path).unwrap_or(link),
            false => link,
        });
        match found {
            Err(error) => Self::Nothing(error.kind()),
            Ok(m) => Self::There([
                m.dev().cast_signed(),
                m.ino().cast_signed(),
                m.size().cast_signed(),
                m.mtime(),
                m.mtime_nsec(),
                m.ctime_nsec(),
            ]),
        }
    }
}

/// What the machine's layer is read from.
pub(super) fn machine_paths(places: &Places) -> impl Iterator<Item = PathBuf> {
    places.machine.iter().flat_map(|directory| {
        ["opt-out", "opt-out.d", "policy.d"]
            .into_iter()
            .map(|name| directory.join(name))
    })
}

/// Where manifests are: a file that came or went shows in its directory.
pub(super) fn manifest_paths(places: &Places) -> impl Iterator<Item = PathBuf> {
    let own = manifests::registered_dir(places);
    places.manifests.iter().cloned().chain(own)
}

/// The machine's layer as it is now.
pub(super) fn stamps(places: &Places) -> Vec<Stamp> {
    machine_paths(places).map(|path| Stamp::of(&path)).collect()
}

/// The directories of manifests as they are now.
pub(super) fn manifest_stamps(places: &Places) -> Vec<Stamp> {
    manifest_paths(places).map(|path| Stamp::of(&path)).collect()
}
