//! A bare SQLite table: rows in, a transaction for each 1,000; rows out, 500 at a time.

use std::path::Path;

use anyhow::Result;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::clock;
use crate::lines::Rows;

/// Rows of one transaction.
const GROUP: u64 = 1000;

/// Rows that are selected and deleted at once: a batch's worth.
const TAKE: i64 = 500;

/// How the table's file is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// WAL, NORMAL, and everything else as SQLite has it, its 4 KiB pages too: what ratios are taken of.
    Plain,
    /// The same with 16 KiB pages: the best that is simple.
    LargePages,
    /// The pragmas of the queue: as `LargePages`, and `secure_delete`, `auto_vacuum=INCREMENTAL`, a cache of 3 MiB,
    /// a checkpoint for each 8 MiB of WAL.
    Queue,
}

impl Setup {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::LargePages, Self::Queue];

    /// For a table's line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "4 KiB pages",
            Self::LargePages => "16 KiB pages",
            Self::Queue => "the queue's pragmas",
        }
    }

    fn apply(self, connection: &Connection) -> rusqlite::Result<()> {
        let page = if self == Self::Plain { 4096 } else { 16_384 };
        connection.pragma_update(None, "page_size", page)?;
        if self == Self::Queue {
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        if self == Self::Queue {
            connection.query_row("PRAGMA secure_delete = ON", [], |_| Ok(()))?;
            connection.pragma_update(None, "cache_size", -3072)?;
            connection.query_row("PRAGMA wal_autocheckpoint = 512", [], |_| Ok(()))?;
        } else {
            connection.query_row("PRAGMA secure_delete = OFF", [], |_| Ok(()))?;
        }
        Ok(())
    }
}

/// A row: its sequence number (`NULL` for the next), id, lane, time in milliseconds, and payload.
pub(crate) const INSERT: &str =
    "INSERT INTO event (seq, id, lane, received, payload) VALUES (?1, ?2, ?3, ?4, ?5)";

/// Makes the file and its empty table.
///
/// # Errors
/// When the file cannot be made.
pub(crate) fn create(file: &Path, setup: Setup) -> Result<Connection> {
    let connection = Connection::open(file)?;
    setup.apply(&connection)?;
    connection.execute_batch(
        "CREATE TABLE event (
           seq INTEGER PRIMARY KEY, id BLOB NOT NULL, lane INTEGER NOT NULL,
           received INTEGER NOT NULL, payload BLOB NOT NULL
         ) STRICT",
    )?;
    Ok(connection)
}

/// A table in a directory of its own, which goes with it.
#[derive(Debug)]
pub(crate) struct Table {
    connection: Connection,
    _directory: TempDir,
}

impl Table {
    /// An empty one.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(crate) fn new(directory: &Path, setup: Setup) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("tmdb").tempdir_in(directory)?;
        Ok(Self {
            connection: create(&directory.path().join("bare.db"), setup)?,
            _directory: directory,
        })
    }

    /// Inserts so many rows like the one that is stored; rows a second.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn insert(&mut self, stored: &str, rows: u64) -> Result<f64> {
        let mut made = Rows::like(stored);
        let begun = clock::now();
        let mut left = rows;
        while left > 0 {
            let transaction = self.connection.transaction()?;
            {
                let mut insert = transaction.prepare_cached(INSERT)?;
                for _ in 0..left.min(GROUP) {
                    let (id, payload) = made.next();
                    // The file gives the sequence number.
                    let seq = None::<i64>;
                    insert.execute((seq, &id.as_bytes()[..], 1_i64, 1_800_000_000_000_i64, payload))?;
                }
            }
            transaction.commit()?;
            left -= left.min(GROUP);
        }
        Ok(rows as f64 / begun.elapsed().as_secs_f64())
    }

    /// Selects and deletes everything, oldest first; rows a second.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn take_all(&mut self) -> Result<f64> {
        let begun = clock::now();
        let (mut rows, mut bytes) = (0_u64, 0_usize);
        loop {
            let transaction = self.connection.transaction()?;
            let mut last = None;
            {
                let mut select = transaction.prepare_cached(
                    "SELECT seq, id, lane, received, payload FROM event ORDER BY seq LIMIT ?1",
                )?;
                let mut found = select.query([TAKE])?;
                while let Some(row) = found.next()? {
                    last = Some(row.get::<_, i64>(0)?);
                    bytes += row.get_ref(1)?.as_blob()?.len() + row.get_ref(4)?.as_blob()?.len();
                    bytes += usize::from(row.get::<_, i64>(2)? + row.get::<_, i64>(3)? == 0);
                    rows += 1;
                }
            }
            let Some(last) = last else { break };
            transaction
                .prepare_cached("DELETE FROM event WHERE seq <= ?1")?
                .execute([last])?;
            transaction.commit()?;
        }
        std::hint::black_box(bytes);
        Ok(rows as f64 / begun.elapsed().as_secs_f64())
    }
}

/// Inserts rows like the one that is stored into a new table; rows a second.
///
/// # Errors
/// SQLite's.
pub(crate) fn insert(directory: &Path, setup: Setup, stored: &str, rows: u64) -> Result<f64> {
    Table::new(directory, setup)?.insert(stored, rows)
}

/// Fills a new table, and takes everything out again; rows a second of the taking.
///
/// # Errors
/// SQLite's.
pub(crate) fn take(directory: &Path, setup: Setup, stored: &str, rows: u64) -> Result<f64> {
    let mut table = Table::new(directory, setup)?;
    table.insert(stored, rows)?;
    table.take_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_comes_out_under_every_setup() {
        let home = tempfile::tempdir().unwrap();
        for setup in Setup::ALL {
            let mut table = Table::new(home.path(), setup).unwrap();
            table
                .insert(r#"{"run":"0ffffffffffffffff","note":"..."}"#, 2500)
                .unwrap();
            let count = |table: &Table| {
                table
                    .connection
                    .query_row("SELECT count(*) FROM event", [], |row| row.get::<_, i64>(0))
                    .unwrap()
            };
            assert_eq!(count(&table), 2500);
            table.take_all().unwrap();
            assert_eq!(count(&table), 0);
        }
    }
}
