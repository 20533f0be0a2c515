//! One process owns a queue's directory: a lock held for life (I7).
//!
//! The kernel drops the lock with the process, however it ends, so that a dead owner is never an obstacle.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::types::{ErrorKind, QueueError};

/// The lock's file name within the directory.
const NAME: &str = "queue.lock";

/// A held lock; dropping it releases it. The file stays: removing it would let two owners lock two files.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Takes the lock of a directory and writes this process's id into it, and whether it does one `job`.
///
/// # Errors
///
/// `Busy` or `Passing` with the owner's pid where it wrote one; `Denied`, `Io`.
pub(crate) fn take(directory: &Path, job: bool) -> Result<Lock, QueueError> {
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
    let _ = write_owner(&mut file, std::process::id(), job);
    Ok(Lock { _file: file })
}

/// Stands behind the pid of an owner that does one job.
const JOB: &str = " job";

fn write_owner(file: &mut File, pid: u32, job: bool) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.set_len(0)?;
    writeln!(file, "{pid}{}", if job { JOB } else { "" })
}

/// Who has written into the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    pid: u32,
    job: bool,
}

impl Written {
    fn read(file: &mut File) -> Option<Self> {
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).ok()?;
        file.take(32).read_to_string(&mut text).ok()?;
        // Whole only with its newline.
        let line = text.strip_suffix('\n')?;
        let of_job = line.strip_suffix(JOB);
        let pid = of_job.unwrap_or(line).parse().ok()?;
        let job = of_job.is_some();
        Some(Self { pid, job })
    }

    /// Whether that process is there: who was killed has left its own behind for the next, until that writes.
    fn lives(self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(Errno::SRCH)))
    }
}

/// How often the owner's word is looked for, a millisecond apart: it writes it right after it has the lock, and a
/// machine that starts many at once takes its time over that.
const LOOKS: u32 = 200;

fn busy(file: &mut File, path: &Path) -> QueueError {
    let mut written = Written::read(file);
    for _ in 0..LOOKS {
        if written.is_some_and(Written::lives) {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(1));
        written = Written::read(file);
    }
    let pid = written.map(|written| written.pid);
    let attempt = match pid {
        Some(pid) => format!("{} is locked by process {pid}", path.display()),
        None => format!("{} is locked by another process", path.display()),
    };
    let stays = written.is_some_and(|written| !written.job && written.lives());
    QueueError {
        kind: if stays {
            ErrorKind::Busy { pid }
        } else {
            ErrorKind::Passing { pid }
        },
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
        let pid = Some(std::process::id());
        for (job, kind) in [
            (false, ErrorKind::Busy { pid }),
            (true, ErrorKind::Passing { pid }),
        ] {
            let first = take(directory.path(), job).unwrap();
            let refused = take(directory.path(), false).unwrap_err();
            assert_eq!(refused.kind, kind);
            drop(first);
        }
        take(directory.path(), false).unwrap();
    }

    #[test]
    fn what_a_dead_owner_left_in_the_lock_is_not_taken_for_the_word_of_the_next() {
        let directory = tempfile::tempdir().unwrap();
        // More than a system has.
        let dead = i32::MAX;
        let mut file = take(directory.path(), false).unwrap()._file;
        for left in [format!("{dead}\n"), String::new(), "12".to_owned()] {
            file.set_len(0).unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.write_all(left.as_bytes()).unwrap();
            let refused = take(directory.path(), false).unwrap_err();
            assert!(
                matches!(refused.kind, ErrorKind::Passing { .. }),
                "{refused:?} of {left:?}"
            );
        }
    }
}
