//! What is set on each opening, each with its reason.

use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _};

/// Bytes of a page. Measured with 350-byte events in groups of 1,000 and batches of 500: 1.3 to 1.5 µs of the writer's
/// CPU for an event appended and delivered with 16 KiB, 2.1 to 2.8 with 8 KiB, 2.6 with 4 KiB. (Each page is two writes
/// to the WAL.)
pub(crate) const PAGE: u32 = 16_384;

/// Sets everything but `synchronous`, which depends on what is being done.
pub(super) fn configure(connection: &Connection, is_new: bool) -> rusqlite::Result<()> {
    // Nobody else writes; a person with the sqlite3 shell may hold a lock for a moment.
    connection.busy_timeout(Duration::from_secs(1))?;
    connection.set_prepared_statement_cache_capacity(96);
    if is_new {
        // These two only count for a new file, and must come before anything is written. (The second is written to one
        // that has it already, too, with a sync.)
        connection.pragma_update(None, "page_size", PAGE)?;
        // So that the file can shrink after a drain, a few pages at a time.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    // Readers (the background check) never block the writer, and a commit is one append to one file.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // Erased means erased: deleted content is overwritten. FAST would leave it readable in free pages (CONSENT.md).
    connection.query_row("PRAGMA secure_delete = ON", [], |_| Ok(()))?;
    // The writer brings the WAL into the file itself, after it has answered.
    connection.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(()))?;
    fit_cache(connection, 0)?;
    // Pages are read into the cache: mapped ones would count as resident memory, and a torn file would be a signal.
    connection
        .query_row("PRAGMA mmap_size = 0", [], |_| Ok(()))
        .optional()?;
    // No temporary files beside ours.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Damage inside a page is noticed where it is read.
    connection.pragma_update(None, "cell_size_check", true)?;
    // A file that someone else has prepared makes us run nothing.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // macOS: fsync alone leaves data in the drive's cache.
    #[cfg(target_os = "macos")]
    {
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    }
    Ok(())
}

/// Bounds SQLite's cache by how much there is to be kept in it (I6): what a group of appends writes and the small tables,
/// and for each lane its two ends. 0.8 MiB for the first lane, 3 MiB at most; with more, nothing was read less often.
pub(crate) fn fit_cache(connection: &Connection, lanes: usize) -> rusqlite::Result<()> {
    let pages = (48 + 2 * lanes).min(192);
    connection.pragma_update(None, "cache_size", i64::try_from(pages).unwrap_or(i64::MAX))
}

/// Brings the WAL into the file; `false`: a reader kept some of it.
pub(crate) fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    let (busy, log, done): (i64, i64, i64) =
        connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    Ok(busy == 0 && log == done)
}
