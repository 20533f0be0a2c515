//! Corrupt files: set aside, salvaged, and erased after a week.
//!
//! I5: what a corrupt file held is in the new one, or booked as lost. A start that is killed in the middle goes on at
//! the next.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rusqlite::Connection;

use super::Place;
use crate::salvage::salvage;
use crate::types::{Moment, OpenReport, QueueError};

/// What corrupt files are called, followed by the seconds since the epoch when they were set aside.
const CORRUPT: &str = "queue.db.corrupt-";

/// Corrupt files are erased after this time (QUEUE.md, promise 4).
const CORRUPT_SECONDS: i64 = 7 * 86_400;

impl Place {
    /// Moves the file out of the way.
    pub(crate) fn set_aside(&self, at: Moment, why: &str) -> Result<PathBuf, QueueError> {
        let mut seconds = at.wall_ms / 1000;
        let aside = loop {
            let path = self.directory.join(format!("{CORRUPT}{seconds}"));
            if !path.exists() && !self.done_mark(seconds).exists() {
                break path;
            }
            seconds += 1;
        };
        tracing::error!(file = %self.file.display(), aside = %aside.display(), why, "the queue's file is corrupt: it is set aside and salvaged");
        let failed = |error| QueueError::io(format!("cannot set {} aside", self.file.display()), error);
        // The file first: a start that finds the WAL without it knows whose it is (`adopt_wal`). The other way round
        // the file might look whole without its newest transactions.
        fs::rename(&self.file, &aside).map_err(failed)?;
        self.adopt_wal();
        let _ = fs::remove_file(self.beside("-shm"));
        Ok(aside)
    }

    /// A WAL without its file belongs to the file that was set aside last (by the time of its renaming: the clock
    /// in the names may have been set back), unless that has one; otherwise it is what is left of a removed file.
    pub(super) fn adopt_wal(&self) {
        let renamed = |path: &PathBuf| {
            fs::metadata(path)
                .map(|file| (file.ctime(), file.ctime_nsec()))
                .ok()
        };
        let last = self
            .corrupt_files()
            .into_iter()
            .max_by_key(|(_, path)| renamed(path));
        let wal = self.beside("-wal");
        if let Some((seconds, _)) = last {
            let place = self.directory.join(format!("{CORRUPT}{seconds}-wal"));
            if !place.exists() && fs::rename(&wal, place).is_ok() {
                return;
            }
        }
        let _ = fs::remove_file(wal);
    }

    /// Salvages every corrupt file that was not yet: a start that was killed goes on here.
    ///
    /// That it was done is noted twice: in the new file, with the rows themselves, and beside the old one. For when
    /// the new file becomes corrupt in its turn, what is noted in it cannot be asked before it is salvaged.
    pub(super) fn salvage_all(&self, connection: &mut Connection, report: &mut OpenReport) {
        for (seconds, path) in self.corrupt_files() {
            if self.done_mark(seconds).exists() {
                continue;
            }
            match salvage(connection, &path, self.probe) {
                Ok(done) => {
                    let mark = self.done_mark(seconds);
                    let made = OpenOptions::new()
                        .write(true)
                        .create(true)
                        .truncate(false)
                        .mode(0o600)
                        .open(&mark);
                    if let Err(error) = made {
                        tracing::warn!(file = %mark.display(), error = %error, "cannot note that a corrupt file was salvaged");
                    }
                    let Some(salvaged) = done else { continue };
                    tracing::error!(file = %path.display(), rows = salvaged.rows, lost = salvaged.lost, "salvaged a corrupt file");
                    report.set_aside.get_or_insert(path);
                    report.salvaged += salvaged.rows;
                    report.lost += salvaged.lost;
                }
                Err(error) => {
                    tracing::error!(file = %path.display(), error = %error, "cannot salvage a corrupt file now: the next start tries again");
                }
            }
        }
    }

    /// The file that says that a corrupt file was salvaged.
    fn done_mark(&self, seconds: i64) -> PathBuf {
        self.directory.join(format!("{CORRUPT}{seconds}-salvaged"))
    }

    /// The corrupt files that were set aside, oldest first, with the seconds since the epoch when they were.
    fn corrupt_files(&self) -> Vec<(i64, PathBuf)> {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        let mut files: Vec<_> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let name = entry.file_name();
                let seconds = name.to_str()?.strip_prefix(CORRUPT)?.parse().ok()?;
                Some((seconds, entry.path()))
            })
            .collect();
        files.sort();
        files
    }

    /// Erases corrupt files: those of more than a week ago that were salvaged, or all.
    pub(crate) fn erase_corrupt(&self, at: Option<Moment>) {
        for (seconds, path) in self.corrupt_files() {
            let mark = self.done_mark(seconds);
            if at.is_some_and(|at| at.wall_ms / 1000 - seconds < CORRUPT_SECONDS || !mark.exists()) {
                continue;
            }
            let wal = path.with_file_name(format!("{CORRUPT}{seconds}-wal"));
            let _ = fs::remove_file(wal);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(file = %path.display(), error = %error, "cannot erase a corrupt file that was set aside");
                continue;
            }
            let _ = fs::remove_file(mark);
        }
    }
}
