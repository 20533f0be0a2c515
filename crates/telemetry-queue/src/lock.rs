//! One process owns a queue's directory: a lock held for life (I7).
//!
//! The kernel drops the lock with the process, however it ends, so that a dead owner is never an obstacle.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use crate::types::{ErrorKind, QueueError};

/// The lock's file name within the directory.
const NAME: &str = "queue.lock";

/// A held lock; dropping it releases it. The file stays: removing it would let two owners lock two files.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Takes the lock of a directory and writes this process's id into it.
///
/// # Errors
///
/// `Busy` with the owner's pid where it wrote one; `Denied`, `Io`.
pub(crate) fn take(directory: &Path) -> Result<Lock, QueueError> {
    let path = directory.join(NAME);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default())
        .open(&path)
        .map_err(|error| QueueError::io(format!("cannot open {}", path.display()), error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(busy(&mut file, &path)),
        Err(TryLockError::Error(error)) => {
            return Err(QueueError::io(format!("cannot lock {}", path.display()), error));
        }
    }
    // The pid only serves messages: a full disk must not keep the queue from opening.
    let _ = write_pid(&mut file);
    Ok(Lock { _file: file })
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn written_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    // Whole only with its newline.
    text.strip_suffix('\n')?.parse().ok()
}

/// How often the owner's pid is looked for, a millisecond apart: it writes it right after it has the lock, and a
/// machine that starts many at once takes its time over that.
const LOOKS: u32 = 200;

fn busy(file: &mut File, path: &Path) -> QueueError {
    let mut pid = written_pid(file);
    for _ in 0..LOOKS {
        if pid.is_some() {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(1));
        pid = written_pid(file);
    }
    let attempt = match pid {
        Some(pid) => format!("{} is locked by process {pid}", path.display()),
        None => format!("{} is locked by another process", path.display()),
    };
    QueueError {
        kind: ErrorKind::Busy { pid },
        attempt,
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_the_first_ones_pid_and_gets_in_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let first = take(directory.path()).unwrap();
        let refused = take(directory.path()).unwrap_err();
        assert_eq!(
            refused.kind,
            ErrorKind::Busy {
                pid: Some(std::process::id())
            }
        );
        drop(first);
        take(directory.path()).unwrap();
    }
}
