//! One test for each fault that a disk, a clock, an administrator or another process can make.
//! QUEUE.md, promises 4 to 6: starting always succeeds, full is a policy, nothing is kept for ever.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::support::scratch;

mod before;
mod clock;
mod corrupt;
mod disk;
mod erased;
mod owner;
mod random;
mod salvage;
mod wal;

pub(crate) use owner::unshare;

/// The queue's file in a directory.
fn file(directory: &Path) -> PathBuf {
    directory.join("queue.db")
}

/// Overwrites a part of a file, as a disk might.
fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

/// The corrupt files that were set aside.
fn set_aside(directory: &Path) -> Vec<PathBuf> {
    let aside = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.strip_prefix("queue.db.corrupt-")
            .is_some_and(|time| time.parse::<i64>().is_ok())
    };
    let entries = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries.filter(aside).collect()
}

/// Whatever belongs to them.
fn leavings(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.to_string_lossy().contains("corrupt"))
        .collect()
}

/// A directory with copies of the queue's files, as a crash at this moment would leave them.
fn copy_of(directory: &Path) -> tempfile::TempDir {
    let copy = scratch();
    for name in ["queue.db", "queue.db-wal"] {
        if directory.join(name).exists() {
            std::fs::copy(directory.join(name), copy.path().join(name)).unwrap();
        }
    }
    copy
}
