//! What SQLite leaves of rows that it has moved.
//!
//! I3. `secure_delete=ON` overwrites a row where it stands when it is erased, and a page that becomes free. But where
//! pages are balanced and one is laid out anew (`rebuildPage` in SQLite's `btree.c`), what stood between its list of
//! cells and the first of them stays as it was: a copy of a row that has moved since, which no later erasure meets. So
//! after a purge the pages are looked through, and that part of each is overwritten.
//!
//! From the last page to the first: pages that are moved meanwhile come from the end, where everything was seen.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _};

use super::Store;

/// Pages that one transaction looks at: 1 MiB, a millisecond.
const SLICE: u32 = 64;

/// Where the header of a B-tree page stands on the first page of a file (SQLite's file format, 1.3).
const FIRST_PAGE_HEADER: usize = 100;

/// Leaves, of indices and of tables (1.6): all other pages hold no event.
const LEAVES: [u8; 2] = [0x0a, 0x0d];

/// Bytes of a leaf's header, which the list of its cells follows.
const LEAF_HEADER: usize = 8;

impl Store {
    /// Whether the SQLite that we were built with shows its pages (`.cargo/config.toml` asks for it).
    pub(crate) fn can_sweep(&self) -> bool {
        self.connection
            .prepare_cached("SELECT 1 FROM pragma_module_list WHERE name = 'sqlite_dbpage'")
            .and_then(|mut select| select.query_row([], |_| Ok(())).optional())
            .is_ok_and(|found| found.is_some())
    }

    /// The last page of the file.
    pub(crate) fn last_page(&self) -> rusqlite::Result<u32> {
        let mut pages = self.connection.prepare_cached("PRAGMA page_count")?;
        pages.query_row([], |row| row.get(0))
    }

    /// Sweeps a slice of the pages up to this one, and says which is the next; none: 0.
    pub(crate) fn sweep(&mut self, page: u32) -> rusqlite::Result<u32> {
        let rest = page.saturating_sub(SLICE);
        let mut stale = Vec::new();
        {
            let mut select = self
                .connection
                .prepare_cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")?;
            for number in rest + 1..=page {
                let found = select
                    .query_row([number], |row| {
                        let data = row.get_ref(0)?.as_blob()?;
                        Ok(unused(data).map(|unused| (unused, data.to_owned())))
                    })
                    .optional()?;
                if let Some((unused, mut data)) = found.flatten() {
                    data[unused].fill(0);
                    stale.push((number, data));
                }
            }
        }
        if !stale.is_empty() {
            // Writing a page is what `defensive` forbids to everybody.
            self.connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
            let written = self.transaction(|store| write(&store.connection, &stale));
            self.connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            written?;
        }
        Ok(rest)
    }
}

fn write(connection: &Connection, pages: &[(u32, Vec<u8>)]) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached("UPDATE sqlite_dbpage SET data = ?2 WHERE pgno = ?1")?;
    for (number, data) in pages {
        update.execute((number, data))?;
    }
    Ok(())
}

/// What no cell of a leaf uses and is not empty: from the end of its list of cells to the first of them. `None` where
/// that is all zeros, and of a page that is no leaf or makes no sense.
fn unused(page: &[u8]) -> Option<std::ops::Range<usize>> {
    let begins = if page.starts_with(b"SQLite format 3\0") {
        FIRST_PAGE_HEADER
    } else {
        0
    };
    let header = page.get(begins..begins + LEAF_HEADER)?;
    if !LEAVES.contains(&header[0]) {
        return None;
    }
    let number = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let from = begins + LEAF_HEADER + 2 * number(3);
    // 0 stands for 65,536, the largest page.
    let to = match number(5) {
        0 => 65_536,
        to => to,
    };
    let unused = page.get(from..to)?;
    unused.iter().any(|byte| *byte != 0).then_some(from..to)
}

#[cfg(test)]
mod tests {
    use super::unused;

    /// A leaf of 64 bytes with two cells, the first of which begins at 40.
    fn leaf() -> Vec<u8> {
        let mut page = vec![0; 64];
        page[..8].copy_from_slice(&[0x0d, 0, 0, 0, 2, 0, 40, 0]);
        page[8..12].copy_from_slice(&[0, 52, 0, 40]);
        page[40..].fill(b'c');
        page
    }

    #[test]
    fn what_lies_between_the_list_of_cells_and_the_cells_is_unused() {
        assert_eq!(unused(&leaf()), None, "it is empty");
        for at in [12, 20, 39] {
            let mut page = leaf();
            page[at] = b's';
            assert_eq!(unused(&page), Some(12..40), "{at}");
        }
        let mut first = b"SQLite format 3\0".to_vec();
        first.resize(100, 0);
        first.extend(leaf());
        first[105..107].copy_from_slice(&[0, 140]);
        first[130] = b's';
        assert_eq!(unused(&first), Some(112..140));
    }

    #[test]
    fn a_page_that_is_no_leaf_or_makes_no_sense_is_left_alone() {
        let with = |at: usize, bytes: &[u8]| {
            let mut page = leaf();
            page[20] = b's';
            page[at..at + bytes.len()].copy_from_slice(bytes);
            page
        };
        for (page, why) in [
            (with(0, &[0x05]), "an inner page"),
            (with(0, &[0]), "a page of an overflow"),
            (with(3, &[0xff, 0xff]), "more cells than fit"),
            (with(5, &[0, 11]), "cells inside of their own list"),
            (with(5, &[0, 65]), "cells behind the page"),
            (with(5, &[0, 0]), "cells behind a smaller page than the largest"),
            (vec![0x0d, 0, 0], "half a header"),
            (Vec::new(), "nothing"),
        ] {
            assert_eq!(unused(&page), None, "{why}");
        }
    }
}
