//! Segments: consecutive events of one lane, packed into one row, so that SQLite's cost of a row is paid once
//! for dozens of events.
//!
//! A segment's body, integers little-endian:
//!
//! | bytes | |
//! |---|---|
//! | 1 | version, 1 |
//! | 4 | CRC-32 of the row's key (8 bytes) and of everything after this field |
//! | 2 | number of events |
//! | 4 | number of the boot in which they were received |
//! | 8 | when, by the wall clock (ms) |
//! | 8 | when, by the boot clock (ms) |
//! | 8 | consent epoch |
//!
//! and for each event: flags (1), its sequence number less the key's (varint, ascending), id (16), its project's
//! keyed hash (16, where flag 1 is set), the bytes that its payload has in common with the beginning and with the end
//! of the segment's first payload (two varints, where flag 4 is set), the length of what is its own (varint), that.
//!
//! Small ones may lie elsewhere than in their own row: see `store/heap.rs`.
//!
//! I5 rests on the checksum: a torn page is noticed where it is read, and never counted as events.

mod build;
mod payload;
mod read;
#[cfg(test)]
mod tests;

pub(crate) use self::build::Builder;
pub(crate) use self::payload::Payload;
pub(crate) use self::read::{Frames, Segment};
use crate::types::{Id, Moment};

/// The version that is written.
const VERSION: u8 = 1;

/// Bytes before the first event.
pub(crate) const HEADER: usize = 35;

/// Flag: a project's hash follows the id.
const HAS_PROJECT: u8 = 1;

/// Flag: the payload was erased, the id is kept (`sent_bodies = false`).
const STRIPPED: u8 = 2;

/// Flag: a part of the payload stands in the segment's first one.
const SHARES: u8 = 4;

/// Payloads of one segment, as they are read, are at most so much: bounds what it grows to when the payload that the
/// others share is erased, and what one decision about it has in memory.
const UNPACKED: usize = 16 * TARGET;

/// Bodies grow to at most this, unless one event alone is larger: one such row and SQLite's own bytes (8 for the
/// page's header, 22 for the cell) fill a page of 16 KiB, so that no page is left half empty and none overflows.
pub(crate) const TARGET: usize = 16_384 - 8 - 22;

/// What the events of one segment have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// When they were received.
    pub(crate) received: Moment,
    /// In which boot.
    pub(crate) boot: u32,
    /// Under which consent epoch.
    pub(crate) epoch: u64,
}

/// Events of one transaction that were received within so many milliseconds share a stamp, the first's: what several
/// connections bring at once is then one segment of each tool, not one for each of them.
const NEAR_MS: u64 = 10;

impl Stamp {
    /// Whether an event with the other stamp may stand under this one.
    pub(crate) fn is_near(&self, other: &Self) -> bool {
        let (one, two) = (self.received, other.received);
        (self.boot, self.epoch) == (other.boot, other.epoch)
            && one.boot_ms.abs_diff(two.boot_ms) <= NEAR_MS
            && one.wall_ms.abs_diff(two.wall_ms) <= NEAR_MS
    }
}

/// One event of a segment; the payload is borrowed from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// Its sequence number within the lane.
    pub(crate) seq: u64,
    /// Its id.
    pub(crate) id: &'a Id,
    /// Keyed hash of its project.
    pub(crate) project: Option<&'a Id>,
    /// Whether the payload was erased.
    pub(crate) stripped: bool,
    /// The payload.
    pub(crate) payload: Payload<'a>,
}

/// Bytes that an event of this payload length counts for against the limits: payload, id and its share of frame,
/// segment header and SQLite's row, rounded up, so that the limit on rows bounds the file.
pub(crate) fn cost(payload: usize) -> u64 {
    payload as u64 + 64
}

/// The checksum of a body under a key.
fn checksum(key: i64, rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&key.to_le_bytes());
    hasher.update(rest);
    hasher.finalize()
}
