//! Small files: read up to a bound, and replaced whole (written beside, fsynced, renamed). Whatever stands in a file's
//! place (a pipe, a device, a disk's worth of bytes) keeps nobody waiting (I6). One that others edit, too, is edited in turn.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

/// Bytes of a small file. The largest that the daemon writes is the table of a machine's quotas: 16384 tools of at most
/// 150 bytes.
pub(crate) const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// All that stands in the regular file at `path`, which is at most [`MAX_BYTES`] long.
///
/// # Errors
/// When the file system says no, it is no regular file, or it is longer.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(OpenOptions::new().read(true), path)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(io::Error::other(format!("is larger than {MAX_BYTES} bytes"))),
        false => Ok(bytes),
    }
}

/// The same, as text.
///
/// # Errors
/// As [`read`], and when it is not UTF-8.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is not UTF-8"))
}

/// A file to write at the end of, mode 0600 where it is new.
///
/// # Errors
/// When the file system says no, or it is no regular file.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    open(OpenOptions::new().create(true).append(true).mode(0o600), path)
}

/// Opens a regular file. Without `O_NONBLOCK`, opening a pipe waits for whoever may come to its other end.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = options.custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("is not a regular file")),
    }
}

/// How often another's turn is waited for, a millisecond apart: it reads, writes and fsyncs one small file, and there may be
/// several before this one on a slow disk.
const LOOKS: u32 = 5_000;

/// The turn to edit a file in `directory` (made with mode 0700), as `telemetryctl` and the clients take it, too: who reads a
/// file, changes a word and replaces it undoes what another one says meanwhile (I3). It is a lock on the directory itself,
/// which leaves nothing behind, and lasts until it is dropped. `None`: the file system has none, or somebody has stopped in
/// the middle of its own. No word waits for ever.
pub(crate) fn turn(directory: &Path) -> Option<File> {
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
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Replaces `path` by `bytes`, mode 0600, making its directory (0700) where there is none. A reader sees
/// the old file or the new one, a power cut leaves one of the two.
///
/// # Errors
/// When the file system says no; the old file is then as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    make(directory)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = directory.join(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_of_bounded_length_is_read_and_nothing_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        replace(&at("file"), b"text").unwrap();
        assert_eq!(text(&at("file")).unwrap(), "text");
        append(&at("file")).unwrap().write_all(b"more\xff").unwrap();
        assert_eq!(read(&at("file")).unwrap(), b"textmore\xff");
        assert!(text(&at("file")).is_err(), "not UTF-8");
        File::create(at("long")).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status()
            .unwrap();
        assert!(made.success());
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
        for name in ["long", "pipe", "endless", "absent", "."] {
            assert!(read(&at(name)).is_err(), "{name}");
        }
        for name in ["pipe", "endless", "."] {
            assert!(append(&at(name)).is_err(), "{name}");
        }
    }
}
