//! Whether a path has changed since it was read: one `lstat`, no open.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use telemetry_policy::gather::{self, Found, Look};

use super::{Eyes, manifests};
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
    /// Something is there.
    const fn is_there(&self) -> bool {
        matches!(self, Self::There(_))
    }

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

/// Where manifests are: a file that came or went shows in its directory.
pub(super) fn manifest_paths(places: &Places) -> impl Iterator<Item = PathBuf> {
    let own = manifests::registered_dir(places);
    places.manifests.iter().cloned().chain(own)
}

/// All files of consent that everybody shares, and the tools' own user-wide ones, as they are now.
pub(super) fn stamps(places: &Places, user_files: &[PathBuf]) -> Vec<Stamp> {
    let mut stamps = Vec::new();
    for directory in &places.machine {
        let policies = directory.join("policy.d");
        stamps.extend(["opt-out", "opt-out.d"].map(|name| Stamp::of(&directory.join(name))));
        let stamp = Stamp::of(&policies);
        // A policy that is edited in place shows in its own file alone.
        if stamp.is_there()
            && let Found::Directory(names) = Eyes.look(&policies)
        {
            let files = gather::policy_files(&policies, &names);
            stamps.extend(files.iter().map(|path| Stamp::of(path)));
        }
        stamps.push(stamp);
    }
    stamps.extend(user_files.iter().map(|path| Stamp::of(path)));
    stamps
}

/// The manifests that there were at a look.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) files: Vec<manifests::File>,
    stamps: Vec<Stamp>,
}

impl Shelf {
    /// As it is now. First the stamps and then the reading: what changes between them shows at the next look.
    pub(super) fn look(places: &Places) -> Self {
        // First the directories and then what is in them, for the same reason.
        let mut stamps: Vec<Stamp> = directories(places).collect();
        let files = manifests::files(places);
        stamps.extend(files.iter().map(|file| Stamp::of(&file.path)));
        Self { files, stamps }
    }

    /// Whether nothing came, went or was edited since. What is edited in its place shows in its own file alone.
    pub(super) fn is_current(&self, places: &Places) -> bool {
        let files = self.files.iter().map(|file| Stamp::of(&file.path));
        directories(places).chain(files).eq(self.stamps.iter().copied())
    }
}

fn directories(places: &Places) -> impl Iterator<Item = Stamp> {
    manifest_paths(places).map(|path| Stamp::of(&path))
}
