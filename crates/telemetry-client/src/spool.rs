//! Where an event waits while no daemon answers (docs/spool.md): one file an event in its user's state directory, whole
//! by rename, bounded (I6), and only what redaction would not have to look at (I4).
//!
//! Everything here may fail (a read-only home, a full disk): then the event is lost, and nothing else happens (I10).

mod hand_over;
mod listed;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use telemetry_policy::gather::{Found, Look as _};
use telemetry_protocol::spool::{DIRECTORY, tool_of_event};
use uuid::Uuid;

use crate::clock;
use crate::files::RealFiles;

pub(crate) use self::listed::listed;

/// Events and bytes of one user (issue and docs/spool.md, "Limits").
const MAX_EVENTS: usize = 1_000;
const MAX_BYTES: u64 = 1024 * 1024;
/// How long an event waits.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A counting file stops growing here.
const MAX_COUNT: u64 = 1024 * 1024;
/// What was being written so long ago was left by a process that died.
const LEFT_BEHIND: Duration = Duration::from_secs(60 * 60);
/// After a daemon did not take an event in time, the spool is used for so long.
const WEDGED_FOR: Duration = Duration::from_secs(30);
/// That a daemon was wedged is told by this file's age.
const WEDGED: &str = "wedged";

/// The spool of one user.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    uid: u32,
}

/// Why an event was removed unsent; the end of the file that counts it.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Dropped,
    Expired,
}

impl Spool {
    /// That below the state directory. Nothing is made yet.
    pub(crate) fn of(state: &Path) -> Self {
        Self {
            directory: state.join(DIRECTORY),
            uid: rustix::process::geteuid().as_raw(),
        }
    }

    /// Keeps one event line (with its newline), whole or not at all; beside it the manifest that no daemon has yet.
    ///
    /// # Errors
    /// What the file system says; then nothing is kept.
    pub(crate) fn append(&self, tool: &str, id: Uuid, line: &[u8], manifest: Option<&str>) -> io::Result<()> {
        self.usable()?;
        self.make_room(line.len() as u64)?;
        if let Some(manifest) = manifest {
            let path = self.directory.join(format!("{tool}.toml"));
            if !matches!(RealFiles.look(&path), Found::File(known) if known == manifest) {
                self.write(clock::new_id(), manifest.as_bytes(), &path)?;
            }
        }
        self.write(id, line, &self.directory.join(format!("{id}.{tool}.ndjson")))
    }

    fn write(&self, id: Uuid, bytes: &[u8], path: &Path) -> io::Result<()> {
        let beside = self.directory.join(format!(".{id}.tmp"));
        let written = open(OpenOptions::new().write(true).create_new(true), &beside)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&beside, path));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }

    /// The directory is there and nobody else's; made if need be.
    fn usable(&self) -> io::Result<()> {
        let found = match fs::symlink_metadata(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&self.directory)?;
                fs::symlink_metadata(&self.directory)?
            }
            found => found?,
        };
        match found.is_dir() && found.uid() == self.uid && found.mode() & 0o022 == 0 {
            true => Ok(()),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// Removes what is too old, and the oldest that one more event has no room beside.
    fn make_room(&self, more: u64) -> io::Result<()> {
        let now = u64::try_from(clock::wall_ms()).unwrap_or_default();
        let oldest = now.saturating_sub(u64::try_from(MAX_AGE.as_millis()).unwrap_or(u64::MAX));
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            match (tool_of_event(&name), made_ms(&name)) {
                (Some(tool), Some(made)) if made < oldest => self.lose(&name, tool, Loss::Expired)?,
                (Some(_), Some(_)) => {
                    let size = entry.metadata().map_or(0, |found| found.len());
                    kept.push((name, size));
                }
                _ => self.tidy(&name, &entry),
            }
        }
        kept.sort_unstable();
        let mut events = kept.len();
        let mut bytes: u64 = kept.iter().map(|(_, size)| size).sum();
        for (name, size) in &kept {
            if events < MAX_EVENTS && bytes.saturating_add(more) <= MAX_BYTES {
                break;
            }
            self.lose(name, tool_of_event(name).unwrap_or_default(), Loss::Dropped)?;
            events -= 1;
            bytes -= size;
        }
        Ok(())
    }

    /// Removes what a process that died was writing.
    fn tidy(&self, name: &str, entry: &fs::DirEntry) {
        let id = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".tmp"));
        let ours = id.is_some_and(|id| Uuid::try_parse(id).is_ok());
        let old = entry
            .metadata()
            .is_ok_and(|found| clock::age(&found).is_some_and(|age| age > LEFT_BEHIND));
        if ours && old {
            let _ = fs::remove_file(entry.path());
        }
    }

    /// Removes an event's file, and counts it once: one byte more in the counting file.
    fn lose(&self, name: &str, tool: &str, loss: Loss) -> io::Result<()> {
        match fs::remove_file(self.directory.join(name)) {
            // Somebody else has removed and counted it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed?,
        }
        let end = match loss {
            Loss::Dropped => "dropped",
            Loss::Expired => "expired",
        };
        let path = self.directory.join(format!("{tool}.{end}"));
        let mut file = open(OpenOptions::new().append(true).create(true), &path)?;
        if file.metadata()?.len() < MAX_COUNT {
            file.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Whether a client met a daemon a moment ago that did not take its event in time.
    pub(crate) fn wedged(&self) -> bool {
        fs::symlink_metadata(self.directory.join(WEDGED))
            .ok()
            .and_then(|found| clock::age(&found))
            .is_some_and(|age| age < WEDGED_FOR)
    }

    /// Tells the clients of the next moment.
    pub(crate) fn note_wedged(&self) {
        if self.usable().is_ok() {
            let path = self.directory.join(WEDGED);
            // Writing nothing changes no time: it is made anew.
            let _ = fs::remove_file(&path);
            let _ = open(OpenOptions::new().write(true).create(true), &path);
        }
    }
}

/// Neither a link is followed nor a pipe waited for; what is made is the user's own.
fn open(how: &mut OpenOptions, path: &Path) -> io::Result<fs::File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    how.mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// When the event of this file happened, by its id: the first 48 bits of a UUIDv7 (RFC 9562 §5.7).
fn made_ms(name: &str) -> Option<u64> {
    let id = Uuid::try_parse(name.get(..36)?)
        .ok()
        .filter(|id| id.get_version_num() == 7)?;
    Some(u64::try_from(id.as_u128() >> 80).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_where_the_tools_manifest_should_be_is_not_waited_for_and_goes() {
        let home = tempfile::tempdir().unwrap();
        let spool = Spool::of(home.path());
        let append = || spool.append("t", clock::new_id(), b"{}\n", Some("name = \"t\"\n"));
        append().unwrap();
        let manifest = home.path().join(DIRECTORY).join("t.toml");
        fs::remove_file(&manifest).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(&manifest)
            .status()
            .unwrap();
        assert!(made.success());
        append().unwrap();
        assert_eq!(fs::read_to_string(&manifest).unwrap(), "name = \"t\"\n");
    }
}
