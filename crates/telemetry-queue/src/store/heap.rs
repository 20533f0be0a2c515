//! Where the small segments of a group of many lanes lie: side by side, in the order in which they came.
//!
//! A segment's row stands at its lane's place in the table, so that a group of sixty tools' events would have sixty pages
//! of 16 KiB written to the WAL for a few events each. Such a group puts its segments at the end of the table instead,
//! one behind the other (rows of the lane [`HEAP`], which has no events), and at each lane's place a row of nine bytes
//! that says where; hundreds of these share a page. (`growth` with 60 tools: 37 pages for 620 events, where it was 136.)
//!
//! A row of the heap begins with the key of its segment (8 bytes, little-endian): whoever finds it alone knows whose it
//! is. It comes and goes with the row that names it, in one transaction (I5).

use super::Store;
use super::state::LaneAt;
use crate::error::damaged;
use crate::schema::{MAX_SEQ, SEQ_BITS, key, seq_of};
use crate::segment::{Segment, TARGET};

/// The number that stands for the heap where a lane's does in a key: the last, so that new rows are the table's last.
pub(crate) const HEAP: u32 = (1 << 23) - 1;

/// Parts of the heap. What goes to one destination leaves together, and what waits for another one would stay on half empty
/// pages, which SQLite does not join.
const PARTS: u64 = 8;

/// Numbers of a part: they are given out over all parts, so none comes twice.
const NUMBERS: u64 = (MAX_SEQ + 1) / PARTS;

/// A group that leaves fewer small segments puts each at its lane's place.
const MANY: usize = 4;

/// Bytes up to which a segment is small: two rows with what SQLite adds to them fit into a page.
const SMALL: usize = TARGET / 2 - 32;

/// The first byte of a row that says where its segment is; a segment's own is its version.
const ELSEWHERE: u8 = 0xff;

/// Bytes of such a row; no segment is as short.
const POINTER: usize = 9;

/// Where the segment of this row is, if it is not the row itself.
fn elsewhere(body: &[u8]) -> Option<i64> {
    match body {
        [ELSEWHERE, at @ ..] => at.try_into().ok().map(i64::from_le_bytes),
        _ => None,
    }
}

/// A segment of the heap: its own key, and its body.
pub(crate) fn unwrapped(at: i64, row: &[u8]) -> Option<(i64, &[u8])> {
    let (key, body) = row.split_first_chunk()?;
    (at >> SEQ_BITS == i64::from(HEAP)).then_some((i64::from_le_bytes(*key), body))
}

fn wrapped(key: i64, body: &[u8]) -> Vec<u8> {
    [&key.to_le_bytes(), body].concat()
}

impl Store {
    /// Writes every segment that is being filled.
    pub(crate) fn flush_segments(&mut self) -> rusqlite::Result<()> {
        let mut filling = std::mem::take(&mut self.filling);
        let small = |store: &Self, lane: LaneAt| {
            let open = store.state.lanes[lane].open.as_ref();
            open.is_some_and(|open| open.len() > 0 && open.bytes() <= SMALL)
        };
        let many = filling.iter().filter(|&&lane| small(self, lane)).count();
        let many = many >= MANY && self.state.next_in_heap + (many as u64) < NUMBERS;
        // Neighbours here are neighbours in a batch, and leave together.
        filling.sort_unstable_by_key(|&lane| (self.state.lanes[lane].destination, lane));
        for lane in filling {
            if many && small(self, lane) {
                self.flush_to_heap(lane)?;
            } else {
                self.flush_segment(lane)?;
            }
        }
        Ok(())
    }

    fn flush_to_heap(&mut self, lane: LaneAt) -> rusqlite::Result<()> {
        let state = &mut self.state.lanes[lane];
        let Some(open) = state.open.take() else {
            return Ok(());
        };
        let of = key(state.number, open.base());
        let body = open.finish(of);
        let part = state.destination as u64 % PARTS;
        let at = key(HEAP, part * NUMBERS + self.state.next_in_heap);
        self.state.next_in_heap += 1;
        let mut pointer = [ELSEWHERE; POINTER];
        pointer[1..].copy_from_slice(&at.to_le_bytes());
        self.insert_segment(at, &wrapped(of, &body))?;
        self.insert_segment(of, &pointer)?;
        self.keep_buffer(body);
        Ok(())
    }

    /// The number that the next row of the heap has.
    pub(crate) fn next_in_heap(&self) -> rusqlite::Result<u64> {
        let mut select = self
            .connection
            .prepare_cached("SELECT max(key) FROM segment WHERE key BETWEEN ?1 AND ?2")?;
        let mut next = 1;
        for first in (0..PARTS).map(|part| part * NUMBERS) {
            let part = [key(HEAP, first), key(HEAP, first + NUMBERS - 1)];
            let last: Option<i64> = select.query_row(part, |row| row.get(0))?;
            next = last.map_or(next, |last| next.max(seq_of(last) - first + 1));
        }
        Ok(next)
    }

    /// Reads the segment of a row with this key.
    pub(crate) fn read_segment<T>(
        &self,
        key: i64,
        body: &[u8],
        read: impl FnOnce(&Segment<'_>) -> T,
    ) -> rusqlite::Result<T> {
        let Some(at) = elsewhere(body) else {
            return Ok(read(&Segment::read(key, body).ok_or_else(damaged)?));
        };
        let mut select = self
            .connection
            .prepare_cached("SELECT body FROM segment AS heap WHERE key = ?1")?;
        let mut rows = select.query([at])?;
        let row = rows.next()?.ok_or_else(damaged)?;
        let found = unwrapped(at, row.get_ref(0)?.as_blob()?);
        let (_, body) = found.filter(|(of, _)| *of == key).ok_or_else(damaged)?;
        Ok(read(&Segment::read(key, body).ok_or_else(damaged)?))
    }

    /// Erases the segments with keys of `from` and more, below `end`; what of them is in the heap, at the commit.
    pub(crate) fn erase_segments(&mut self, from: i64, end: i64) -> rusqlite::Result<()> {
        let in_heap = self.in_heap(from, end)?;
        self.erased_in_heap.extend(in_heap);
        self.execute("DELETE FROM segment WHERE key >= ?1 AND key < ?2", [from, end])?;
        Ok(())
    }

    /// Erases the rows of the heap that no lane names any more. Those of several lanes stand side by side: in their order
    /// no page is touched twice.
    pub(crate) fn erase_in_heap(&mut self) -> rusqlite::Result<()> {
        let mut erased = std::mem::take(&mut self.erased_in_heap);
        erased.sort_unstable();
        for run in erased.chunk_by(|one, next| one + 1 == *next) {
            if let [first, ..] = *run {
                let last = first + run.len() as i64 - 1;
                self.execute("DELETE FROM segment WHERE key BETWEEN ?1 AND ?2", [first, last])?;
            }
        }
        Ok(())
    }

    /// Gives the segment with this key another body.
    pub(crate) fn replace_segment(&self, key: i64, body: &[u8]) -> rusqlite::Result<()> {
        const UPDATE: &str = "UPDATE segment SET body = ?2 WHERE key = ?1";
        match self.in_heap(key, key + 1)?.first() {
            Some(&at) => self.execute(UPDATE, (at, wrapped(key, body)))?,
            None => self.execute(UPDATE, (key, body))?,
        };
        Ok(())
    }

    /// Where those of the segments with keys of `from` and more, below `end`, are that lie in the heap.
    fn in_heap(&self, from: i64, end: i64) -> rusqlite::Result<Vec<i64>> {
        let mut select = self
            .connection
            .prepare_cached("SELECT body FROM segment WHERE key >= ?1 AND key < ?2 AND length(body) = 9")?;
        let mut rows = select.query([from, end])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(elsewhere(row.get_ref(0)?.as_blob()?).ok_or_else(damaged)?);
        }
        Ok(found)
    }
}
