//! Reads the rows of a damaged database file, page by page, without SQLite.
//!
//! SQLite refuses a file whose header, root or interior pages are broken, although the leaves behind
//! them are whole. Here a leaf is found by what it is, not by the way to it. With `secure_delete` on,
//! a cell that was deleted or moved is overwritten with zeros, so that what a leaf still lists is a row.
//!
//! Formats: <https://www.sqlite.org/fileformat2.html>, sections 1.3 (header), 1.6 (b-tree pages),
//! 2.1 (records) and 4 (the WAL). Nothing read here is trusted: every length is checked before use,
//! and no allocation is larger than the bytes that are there (I6).

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Pages of one file, each in the newest version that was committed.
pub(super) struct Pages {
    main: File,
    wal: Option<File>,
    /// Where in the WAL the newest committed version of a page begins.
    newer: HashMap<u32, u64>,
    page_bytes: usize,
    usable: usize,
    count: u32,
}

/// A value as the file has it; the queue stores no floating point numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// One row: of a rowid table, or (without a rowid) of an index or a table `WITHOUT ROWID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) rowid: Option<i64>,
    pub(super) values: Vec<Value>,
}

/// First byte of a page that holds rows of a rowid table.
const TABLE_LEAF: u8 = 0x0d;
/// First byte of a page that holds rows of an index.
const INDEX_LEAF: u8 = 0x0a;
/// First byte of a page that holds rows of an index and, before each, the number of a page below.
const INDEX_INTERIOR: u8 = 0x02;
/// Bytes of the WAL's header, and of the header before each of its pages.
const WAL_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

impl Pages {
    /// Opens the pages of `main`, as the WAL beside it (where there is one) says they are.
    ///
    /// `page_bytes` is what this crate makes its files with; it is used where the header is unreadable.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or its length cannot be read.
    pub(super) fn open(main: &Path, wal: Option<&Path>, page_bytes: usize) -> io::Result<Self> {
        let main = File::open(main)?;
        let length = main.metadata()?.len();
        let page_bytes = page_size_of(&main).unwrap_or(page_bytes);
        let mut pages = Self {
            main,
            wal: None,
            newer: HashMap::new(),
            page_bytes,
            usable: page_bytes,
            count: u32::try_from(length.div_ceil(page_bytes as u64)).unwrap_or(u32::MAX),
        };
        if let Some(wal) = wal.and_then(|path| File::open(path).ok()) {
            pages.read_wal(&wal)?;
            pages.wal = Some(wal);
        }
        Ok(pages)
    }

    /// Pages are numbered from 1 to this.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Reads page `number` into `page`; false where the file has no such page or cannot be read there.
    pub(super) fn read(&self, number: u32, page: &mut Vec<u8>) -> bool {
        page.clear();
        page.resize(self.page_bytes, 0);
        if number == 0 || number > self.count {
            return false;
        }
        if let (Some(wal), Some(&at)) = (&self.wal, self.newer.get(&number)) {
            return wal.read_exact_at(page, at).is_ok();
        }
        // The last page of a truncated file is read as far as it goes; the rest stays zero.
        let mut filled = 0;
        let start = u64::from(number - 1) * self.page_bytes as u64;
        while filled < page.len() {
            match self.main.read_at(&mut page[filled..], start + filled as u64) {
                Ok(0) | Err(_) => break,
                Ok(read) => filled += read,
            }
        }
        filled > 0
    }

    /// Hands each readable row of page `number` to `row`, when the page is one that holds rows.
    ///
    /// # Errors
    ///
    /// What `row` says; a cell that cannot be read is no error, it is left out.
    pub(super) fn rows<E>(
        &self,
        number: u32,
        page: &[u8],
        mut row: impl FnMut(Cell) -> Result<(), E>,
    ) -> Result<(), E> {
        let base = if number == 1 { 100 } else { 0 };
        let (table, pointers) = match page.get(base) {
            Some(&TABLE_LEAF) => (true, base + 8),
            Some(&INDEX_LEAF) => (false, base + 8),
            Some(&INDEX_INTERIOR) => (false, base + 12),
            _ => return Ok(()),
        };
        let below = if pointers == base + 12 { 4 } else { 0 };
        let listed = big16(page, base + 3).unwrap_or(0);
        for index in 0..listed {
            let cell = big16(page, pointers + 2 * index).and_then(|at| self.cell(page, at + below, table));
            if let Some(cell) = cell {
                row(cell)?;
            }
        }
        Ok(())
    }

    /// One cell: payload length, rowid (tables only), payload with its overflow pages (section 1.6).
    fn cell(&self, page: &[u8], at: usize, table: bool) -> Option<Cell> {
        let (length, at) = varint(page, at)?;
        let (rowid, at) = if table {
            varint(page, at).map(|(rowid, at)| (Some(rowid), at))?
        } else {
            (None, at)
        };
        let rowid = rowid.map(u64::cast_signed);
        let length = usize::try_from(length).ok()?;
        if length as u64 > u64::from(self.count) * self.page_bytes as u64 {
            return None;
        }
        let most = if table {
            self.usable - 35
        } else {
            (self.usable - 12) * 64 / 255 - 23
        };
        if length <= most {
            return record(page.get(at..at.checked_add(length)?)?, rowid);
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let wanted = least + (length - least) % (self.usable - 4);
        let local = if wanted <= most { wanted } else { least };
        let mut payload = page.get(at..at + local)?.to_vec();
        let mut next = big32(page, at + local)?;
        let mut overflow = Vec::new();
        while payload.len() < length {
            if !self.read(next, &mut overflow) {
                return None;
            }
            next = big32(&overflow, 0)?;
            let take = (length - payload.len()).min(self.usable - 4);
            payload.extend_from_slice(overflow.get(4..4 + take)?);
        }
        record(&payload, rowid)
    }

    /// Finds the committed versions of pages in the WAL: those up to the last commit whose chain of
    /// checksums holds (section 4.2 of the format).
    fn read_wal(&mut self, wal: &File) -> io::Result<()> {
        let mut header = [0; WAL_HEADER];
        if wal.read_exact_at(&mut header, 0).is_err() {
            return Ok(());
        }
        let magic = big32(&header, 0).unwrap_or(0);
        if magic & !1 != 0x377f_0682 {
            return Ok(());
        }
        let big_endian = magic & 1 == 1;
        let mut sum = checksum(&header[..24], (0, 0), big_endian);
        let size = big32(&header, 8).unwrap_or(0) as usize;
        if (big32(&header, 24), big32(&header, 28)) != (Some(sum.0), Some(sum.1)) || !plausible(size) {
            return Ok(());
        }
        if size != self.page_bytes {
            // The WAL's header has a checksum, the main file's has none: believe the WAL.
            self.page_bytes = size;
            self.usable = size;
            self.count = u32::try_from(self.main.metadata()?.len().div_ceil(size as u64)).unwrap_or(u32::MAX);
        }
        let mut frame = vec![0; FRAME_HEADER + size];
        let mut uncommitted: Vec<(u32, u64)> = Vec::new();
        let mut at = WAL_HEADER as u64;
        while wal.read_exact_at(&mut frame, at).is_ok() {
            sum = checksum(&frame[..8], sum, big_endian);
            sum = checksum(&frame[FRAME_HEADER..], sum, big_endian);
            let chained = (big32(&frame, 16), big32(&frame, 20)) == (Some(sum.0), Some(sum.1));
            if !chained || frame[8..16] != header[16..24] {
                break;
            }
            uncommitted.push((big32(&frame, 0).unwrap_or(0), at + FRAME_HEADER as u64));
            let pages_after = big32(&frame, 4).unwrap_or(0);
            if pages_after != 0 {
                self.newer.extend(uncommitted.drain(..));
                self.count = pages_after;
            }
            at += frame.len() as u64;
        }
        Ok(())
    }
}

/// The page size that the header names, where the header is one.
fn page_size_of(main: &File) -> Option<usize> {
    let mut header = [0; 100];
    main.read_exact_at(&mut header, 0).ok()?;
    if !header.starts_with(b"SQLite format 3\0") {
        return None;
    }
    let size = match big16(&header, 16)? {
        1 => 65_536,
        size => size,
    };
    plausible(size).then_some(size)
}

fn plausible(size: usize) -> bool {
    size.is_power_of_two() && (512..=65_536).contains(&size)
}

/// A record: a header of serial types, then the values (section 2.1). `None` where it is none, or holds
/// what the queue never writes (floating point, text that is not UTF-8).
fn record(payload: &[u8], rowid: Option<i64>) -> Option<Cell> {
    let (header, mut at) = varint(payload, 0)?;
    let header = usize::try_from(header)
        .ok()
        .filter(|&header| header <= payload.len())?;
    let mut values = Vec::new();
    let mut body = header;
    while at < header {
        let (kind, next) = varint(payload, at)?;
        at = next;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => usize::try_from(kind).ok()?,
            5 => 6,
            6 => 8,
            7 | 10 | 11 => return None,
            _ => usize::try_from((kind - 12) / 2).ok()?,
        };
        let end = body.checked_add(length)?;
        let raw = payload.get(body..end)?;
        body = end;
        values.push(match kind {
            0 => Value::Null,
            8 | 9 => Value::Integer(i64::from(kind == 9)),
            1..=6 => {
                let sign = if raw.first()? & 0x80 == 0 { 0 } else { -1 };
                Value::Integer(
                    raw.iter()
                        .fold(sign, |value: i64, &byte| value << 8 | i64::from(byte)),
                )
            }
            _ if kind % 2 == 0 => Value::Blob(raw.to_vec()),
            _ => Value::Text(String::from_utf8(raw.to_vec()).ok()?),
        });
    }
    Some(Cell { rowid, values })
}

/// A variable-length integer of 1 to 9 bytes, and where the next begins.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for index in 0..8 {
        let byte = *bytes.get(at + index)?;
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, at + index + 1));
        }
    }
    Some((value << 8 | u64::from(*bytes.get(at + 8)?), at + 9))
}

fn big16(bytes: &[u8], at: usize) -> Option<usize> {
    let raw = bytes.get(at..at.checked_add(2)?)?;
    Some(usize::from(u16::from_be_bytes(raw.try_into().ok()?)))
}

fn big32(bytes: &[u8], at: usize) -> Option<u32> {
    let raw = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(raw.try_into().ok()?))
}

/// The WAL's running checksum (section 4.2).
fn checksum(bytes: &[u8], (mut first, mut second): (u32, u32), big_endian: bool) -> (u32, u32) {
    let word = |raw: &[u8]| {
        let raw = raw.try_into().unwrap_or([0; 4]);
        if big_endian {
            u32::from_be_bytes(raw)
        } else {
            u32::from_le_bytes(raw)
        }
    };
    for pair in bytes.chunks_exact(8) {
        first = first.wrapping_add(word(&pair[..4])).wrapping_add(second);
        second = second.wrapping_add(word(&pair[4..])).wrapping_add(first);
    }
    (first, second)
}
