//! Carries what can still be read of a corrupt file into a fresh one; what cannot is booked as lost.
//!
//! The corrupt file is read page by page, without SQLite (`pages`), each row is told by its shape (`shape`) and
//! written through SQLite into the new file (`carry`); then the books are made to agree with what was found
//! (`reconcile`). Memory is bounded by the number of lanes, boots and batches, not by that of events.
//!
//! I2, I5: every event that the corrupt file's books knew of is in the new file, or booked as `lost`.
//! I8: a batch that was saved whole keeps its id; the members of one that was not wait again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use self::carry::Carrier;
use self::pages::Pages;

mod carry;
mod pages;
mod reconcile;
mod shape;

/// What one salvage carried over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Salvaged {
    /// Queued and parked events that are in the new file.
    pub(crate) rows: u64,
    /// Events that are not: those booked as lost, and those of lanes whose very name was lost (they are in
    /// no book).
    pub(crate) lost: u64,
}

/// The page size of our files, for one whose header cannot be read.
const PAGE_BYTES: usize = 16_384;

/// Reads `corrupt` (with `<corrupt>-wal` beside it, where there is one) into `into`, in one transaction that also
/// notes the corrupt file's name: killed at any moment and started again with the same file, it does the whole
/// work, or finds that it was done (`None`). `into` may hold rows already, if an earlier start had no room for
/// this; what is salvaged then comes behind them. Otherwise the boots of `into` are those of the corrupt file
/// afterwards: the caller looks up its own again.
///
/// # Errors
///
/// `into` cannot be written (a full disk, say): nothing was changed, and the next start tries again.
/// Whatever is wrong with `corrupt` is no error, but a number in `lost`.
pub(crate) fn salvage(
    into: &mut Connection,
    corrupt: &Path,
    probe: Option<fn(&'static str)>,
) -> rusqlite::Result<Option<Salvaged>> {
    // The caller notes beside the file that it was done: a power cut must not leave the note without the rows.
    into.pragma_update(None, "synchronous", "FULL")?;
    let salvaged = carry_over(into, corrupt, probe);
    into.pragma_update(None, "synchronous", "NORMAL")?;
    salvaged
}

fn carry_over(
    into: &mut Connection,
    corrupt: &Path,
    probe: Option<fn(&'static str)>,
) -> rusqlite::Result<Option<Salvaged>> {
    let name = corrupt
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let transaction = into.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = transaction
        .query_row("SELECT 1 FROM salvage WHERE file = ?1", [&name], |_| Ok(()))
        .optional()?;
    if done.is_some() {
        // Found in what a killed start has committed: that may be in memory only.
        transaction.execute("UPDATE meta SET touched = touched + 1", [])?;
        transaction.commit()?;
        return Ok(None);
    }
    let salvaged = match Pages::open(corrupt, Some(&wal_of(corrupt)), PAGE_BYTES) {
        Ok(pages) => Carrier::new(&transaction, &pages, probe)?.carry()?,
        Err(_) => Salvaged::default(),
    };
    transaction.execute(
        "INSERT OR REPLACE INTO salvage (file, rows, lost) VALUES (?1, ?2, ?3)",
        params![name, salvaged.rows.cast_signed(), salvaged.lost.cast_signed()],
    )?;
    transaction.commit()?;
    Ok(Some(salvaged))
}

fn wal_of(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push("-wal");
    name.into()
}
