//! The WAL's size, what is done when the disk is full, and when a sync has failed (I1).

use std::cell::Cell;

use rusqlite::ffi;

use super::Writer;
use crate::error::{Class, classify};
use crate::file::{PAGE, checkpoint};
use crate::store::evict::{wal_limit, wal_size};

/// While the disk is full, the WAL is brought into the file at this size (16 pages): it takes no more of the room that is
/// left, which the file may have to grow by.
const WAL_ON_A_FULL_DISK: u64 = 16 * PAGE as u64;

thread_local! {
    /// Pages in the WAL after this thread's last commit.
    static WAL_PAGES: Cell<u64> = const { Cell::new(0) };
}

impl Writer {
    /// Learns the WAL's size from now on, and bounds it.
    pub(super) fn watch_wal(&self) {
        self.bound_wal();
        WAL_PAGES.set(0);
        self.store.connection.wal_hook(Some(|_, pages| {
            WAL_PAGES.set(u64::from(pages.unsigned_abs()));
            Ok(())
        }));
    }

    /// A WAL that a large transaction has grown is cut back when it is begun anew.
    pub(super) fn bound_wal(&self) {
        let size = wal_size(self.store.limits.max_bytes);
        let bounded = self.store.connection.pragma_update_and_check(
            None,
            "journal_size_limit",
            size.cast_signed(),
            |_| Ok(()),
        );
        if let Err(error) = bounded {
            tracing::warn!(error = %error, "cannot bound the size of the WAL");
        }
    }

    /// What the WAL holds that is not in the file yet.
    pub(super) fn wal_bytes() -> u64 {
        WAL_PAGES.get() * u64::from(PAGE)
    }

    /// Brings the WAL into the file; `false`: a reader kept some of it.
    pub(super) fn checkpoint(&mut self, mode: &str) -> rusqlite::Result<bool> {
        let result = checkpoint(&self.store.connection, mode);
        self.mind_syncs(result.as_ref().err());
        let complete = result?;
        if complete {
            WAL_PAGES.set(0);
        }
        Ok(complete)
    }

    /// Takes note of a sync that failed.
    pub(super) fn mind_syncs(&mut self, error: Option<&rusqlite::Error>) {
        let code = error.and_then(rusqlite::Error::sqlite_error);
        let failed = code.is_some_and(|code| {
            matches!(
                code.extended_code,
                ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC
            )
        });
        if failed && !self.sync_failed {
            tracing::warn!("a sync failed: nothing is said to be synced until all has been written anew");
        }
        self.sync_failed |= failed;
    }

    /// After a sync that failed, what it should have brought to the disk may be lost, and no later sync brings it: the
    /// kernel tells of such an error once and then takes the pages for written
    /// (<https://wiki.postgresql.org/wiki/Fsync_Errors>). They are still what reads find, so bringing the WAL into the
    /// file writes them all anew; once that was synced, a commit may be called synced again (I1).
    pub(super) fn write_anew(&mut self) -> rusqlite::Result<()> {
        if !self.sync_failed {
            return Ok(());
        }
        if !self.checkpoint("TRUNCATE")? {
            self.integrity.stop();
            return Err(rusqlite::Error::SqliteFailure(
                ffi::Error::new(ffi::SQLITE_IOERR_FSYNC),
                Some("a sync failed, and the WAL is read".to_owned()),
            ));
        }
        self.sync_failed = false;
        Ok(())
    }

    /// Brings the WAL into the file when it has grown; after the answers, so that none waits for it.
    pub(super) fn checkpoint_when_due(&mut self) {
        let limit = match self.disk_full {
            true => WAL_ON_A_FULL_DISK,
            false => wal_limit(self.store.limits.max_bytes),
        };
        if Self::wal_bytes() < limit || self.broken {
            return;
        }
        let result = self.checkpoint("PASSIVE");
        let stuck = result.is_err();
        match result {
            Ok(true) if self.disk_full => self.look_for_room(),
            Ok(true) => {}
            // The integrity check reads: it is put off rather than let the WAL grow.
            Ok(false) if Self::wal_bytes() > 2 * limit => self.integrity.stop(),
            Ok(false) => {}
            Err(error) if !self.wal_is_stuck => {
                tracing::warn!(error = %error, "cannot bring the WAL into the file")
            }
            Err(_) => {}
        }
        self.wal_is_stuck = stuck;
    }

    /// Tries again where the disk was full, as long as room can be made.
    pub(super) fn with_relief<T>(
        &mut self,
        mut result: rusqlite::Result<T>,
        mut again: impl FnMut(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        loop {
            let error = match result {
                Err(error) => self.unmask(error),
                done => return done,
            };
            if classify(&error) != Class::Full {
                return Err(error);
            }
            let given = self.relieve();
            result = again(self);
            if !given {
                return result.map_err(|error| self.unmask(error));
            }
        }
    }

    /// Makes room on a full disk for what must go on: gives back of the reserve what it takes to bring the WAL into the
    /// file, so that it can be begun anew. Whether there was something to give.
    pub(super) fn relieve(&mut self) -> bool {
        // While it reads, the WAL cannot be begun anew.
        self.integrity.stop();
        let given = self.reserve.release();
        while !self.bring_wal_in() && self.reserve.release() {}
        self.reserve.owe_what_is_left();
        given
    }

    /// Brings the WAL into the file as far as it can be; `false`: for want of room, not all of it.
    pub(super) fn bring_wal_in(&mut self) -> bool {
        let Err(error) = self.checkpoint("PASSIVE") else {
            return true;
        };
        let error = self.unmask(error);
        tracing::debug!(error = %error, "cannot bring the WAL into the file");
        classify(&error) != Class::Full
    }
}
