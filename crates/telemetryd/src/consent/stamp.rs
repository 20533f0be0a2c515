//! Whether a path has changed since it was read: one `lstat`, no open.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
