//! What is done between commands, a slice at a time, until nothing is left to do (I11).

use crate::error::{Class, classify};

use super::Writer;
use crate::reserve::STEP;
use crate::store::Store;

/// Free pages moved to the end and cut off in one slice: 512 KiB.
const VACUUM_PAGES: i64 = 32;

/// Free pages that are left in the file for what comes next: 8 MiB, twice what the sent log lets go of and takes.
const SPARE_PAGES: i64 = 512;

/// A WAL of this size is brought into the file before the thread sleeps, so that the next start is quick. It costs
/// two fsyncs, which is dear in the middle of work and nothing at its end.
const SETTLED_WAL: u64 = 4 * 1024 * 1024;

impl Writer {
    /// One slice; `false` when there is nothing left to do.
    pub(super) fn work_between_commands(&mut self) -> bool {
        if self.broken || self.tired {
            return false;
        }
        match self.slice() {
            Ok(more) => {
                self.publish();
                self.checkpoint_when_due();
                more
            }
            Err(error) => {
                if classify(&error) == Class::Corrupt {
                    self.recover(&error.to_string());
                } else {
                    tracing::debug!(error = %error, "work between commands is put off");
                    self.tired = true;
                }
                self.publish();
                false
            }
        }
    }

    fn slice(&mut self) -> rusqlite::Result<bool> {
        let store = &mut self.store;
        // What a turn had to leave: no age is looked at here that was not looked at there.
        if store.is_over_age() {
            store.transaction(Store::age_out)?;
            return Ok(true);
        }
        if !self.checks {
            return Ok(false);
        }
        if store.scan_on()? {
            return Ok(true);
        }
        // Between two commands of a stream the channel is empty for a moment, too: that is no rest, and the fsyncs of
        // what follows would be paid by the stream.
        if !self.store.state.leases.is_empty() {
            return Ok(false);
        }
        if self.may_be_free {
            if self.vacuum()? {
                return Ok(true);
            }
            self.may_be_free = false;
        }
        // Rows that the books have and nobody finds may stand on a page that is torn and looks whole.
        if std::mem::take(&mut self.store.checked.doubt) || self.integrity.wants_another_try() {
            self.integrity.start(&self.place, self.to_self.clone());
            self.store.checked.integrity_pending = self.integrity.is_pending();
        }
        if self.view.borrow().events > 0 {
            return Ok(false);
        }
        if Self::wal_bytes() >= SETTLED_WAL {
            self.checkpoint("PASSIVE")?;
        }
        if Self::wal_bytes() < SETTLED_WAL {
            self.reserve.shrink(Self::wal_bytes() + STEP);
        }
        Ok(false)
    }

    /// Gives free pages back to the file system where they are many.
    fn vacuum(&mut self) -> rusqlite::Result<bool> {
        let number = |sql| {
            self.store
                .connection
                .prepare_cached(sql)?
                .query_row([], |row| row.get::<_, i64>(0))
        };
        let (free, pages) = (number("PRAGMA freelist_count")?, number("PRAGMA page_count")?);
        // Where events wait, more of them are likely to come, and to need the room.
        let share = if self.view.borrow().events > 0 { 2 } else { 4 };
        if free <= SPARE_PAGES || free * share <= pages {
            return Ok(false);
        }
        let take = VACUUM_PAGES.min(free - SPARE_PAGES);
        self.store
            .connection
            .execute_batch(&format!("PRAGMA incremental_vacuum({take})"))?;
        if (free - take) * share <= pages - take || free - take <= SPARE_PAGES {
            // The file is only cut when the WAL comes into it.
            self.checkpoint("TRUNCATE")?;
        }
        Ok(true)
    }
}
