//! Room on the disk that is kept for when it is full.
//!
//! On a full disk new events are refused, and delivery goes on: but a claim and a settlement write, too, and what
//! the WAL holds already needs its place in the main file before the WAL can be begun anew. So before events are
//! taken, as much room as the WAL may need is set aside in a file of its own; when the disk is full that file is
//! given back, in small steps (others take at once what is free), and until it can be made again no event is taken.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags, fallocate, statvfs};
use rustix::io::Errno;

/// The file's name within the directory.
const NAME: &str = "queue.reserve";

/// It is at most this long when nothing is going on, and grows in quarters of it.
pub(crate) const STEP: u64 = 1024 * 1024;

/// After the disk was full, so much more has to be there than what is left, for it to count as having room: or it would
/// because some of the reserve was given back.
const MORE: u64 = STEP / 16;

/// The room that is kept.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    held: u64,
    /// After the disk was full: what has to be kept again before there is room.
    owed: u64,
    /// The file system cannot set room aside.
    unsupported: bool,
}

impl Reserve {
    /// What an earlier owner of the directory has kept.
    pub(crate) fn new(directory: &Path) -> Self {
        let path = directory.join(NAME);
        let held = match fs::symlink_metadata(&path) {
            Ok(file) if file.is_file() => file.len(),
            // What is no file keeps no room (and a pipe would be waited for).
            Ok(_) => {
                let _ = fs::remove_file(&path);
                0
            }
            Err(_) => 0,
        };
        Self {
            path,
            held,
            owed: 0,
            unsupported: false,
        }
    }

    /// Keeps at least this much.
    ///
    /// # Errors
    ///
    /// There is no such room; what was kept before still is.
    pub(crate) fn ensure(&mut self, bytes: u64) -> io::Result<()> {
        if self.unsupported || bytes.max(self.owed) <= self.held {
            return Ok(());
        }
        let bytes = bytes.next_multiple_of(STEP / 4).max(self.owed);
        let file = self.open()?;
        match fallocate(&file, FallocateFlags::empty(), self.held, bytes - self.held) {
            Ok(()) => {
                self.held = bytes;
                self.owed = 0;
                Ok(())
            }
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.unsupported = true;
                Ok(())
            }
            Err(error) => {
                // Blocks that it got before it failed.
                file.set_len(self.held)?;
                if self.owed > 0 {
                    self.owe(self.owed);
                }
                Err(error.into())
            }
        }
    }

    /// Whether there is no room now. SQLite tells a full disk (ENOSPC), but not a quota (EDQUOT), from other failures
    /// to write.
    pub(crate) fn finds_no_room(&mut self) -> bool {
        let held = self.held;
        match self.ensure(held + STEP) {
            Ok(()) => {
                if self.held > held && self.open().and_then(|file| file.set_len(held)).is_ok() {
                    self.held = held;
                }
                false
            }
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
        }
    }

    /// Gives back what is more than this, in whole steps.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.next_multiple_of(STEP);
        if self.held > bytes && self.open().and_then(|file| file.set_len(bytes)).is_ok() {
            self.held = bytes;
        }
    }

    /// Gives a step of it back; whether there was something.
    pub(crate) fn release(&mut self) -> bool {
        let held = self.held;
        self.owed = self.owed.max(held + MORE);
        let rest = held.saturating_sub(STEP / 4);
        if rest > 0 && self.open().and_then(|file| file.set_len(rest)).is_ok() {
            self.held = rest;
            return true;
        }
        self.held = 0;
        fs::remove_file(&self.path).is_ok() && held > 0
    }

    /// To be called when what had to go on went on, in the room that was given back: from now on more room than is
    /// left counts as room (but no more than there was: a quota may be what is full).
    pub(crate) fn owe_what_is_left(&mut self) {
        self.owe(self.owed);
    }

    /// To be called when nothing waits any more that the room would have to be kept for.
    pub(crate) fn forgive(&mut self) {
        self.owed = 0;
    }

    fn owe(&mut self, at_most: u64) {
        let free = self.path.parent().and_then(|directory| statvfs(directory).ok());
        let free = free.map_or(u64::MAX, |system| system.f_bavail.saturating_mul(system.f_frsize));
        self.owed = at_most.min(free.saturating_add(self.held + MORE));
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default())
            .open(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_in_steps_and_gives_back() {
        let directory = tempfile::tempdir().unwrap();
        let length = || {
            fs::metadata(directory.path().join(NAME))
                .map(|file| file.len())
                .unwrap_or(0)
        };
        let mut reserve = Reserve::new(directory.path());
        reserve.ensure(1).unwrap();
        assert_eq!(length(), STEP / 4);
        reserve.ensure(3 * STEP - 5).unwrap();
        assert_eq!(length(), 3 * STEP);
        let mut reserve = Reserve::new(directory.path());
        assert_eq!(reserve.held, 3 * STEP);
        reserve.shrink(1);
        assert_eq!(length(), STEP);
        for left in (0..4).rev() {
            assert!(reserve.release());
            assert_eq!(length(), left * STEP / 4);
        }
        assert!(!reserve.release());
    }
}
