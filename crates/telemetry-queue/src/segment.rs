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
//! keyed hash (16, where flag 1 is set), the payload's length (varint), the payload.
//!
//! I5 rests on the checksum: a torn page is noticed where it is read, and never counted as events.

use crate::types::{Id, Moment};

/// The version that is written.
const VERSION: u8 = 1;

/// Bytes before the first event.
pub(crate) const HEADER: usize = 35;

/// Flag: a project's hash follows the id.
const HAS_PROJECT: u8 = 1;

/// Flag: the payload was erased, the id is kept (`sent_bodies = false`).
const STRIPPED: u8 = 2;

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

/// One event of a segment; the payload is borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub(crate) payload: &'a [u8],
}

/// Bytes that an event of this payload length counts for against the limits: payload, id and its share of frame,
/// segment header and SQLite's row, rounded up, so that the limit on rows bounds the file.
pub(crate) fn cost(payload: usize) -> u64 {
    payload as u64 + 64
}

/// Builds one segment.
#[derive(Debug)]
pub(crate) struct Builder {
    base: u64,
    count: u16,
    stamp: Stamp,
    body: Vec<u8>,
}

impl Builder {
    /// An empty segment whose events have sequence numbers of `base` and more.
    pub(crate) fn new(base: u64, stamp: Stamp) -> Self {
        Self::with_buffer(base, stamp, Vec::new())
    }

    /// The same in a buffer that was used before.
    pub(crate) fn with_buffer(base: u64, stamp: Stamp, mut body: Vec<u8>) -> Self {
        body.clear();
        body.resize(HEADER, 0);
        Self {
            base,
            count: 0,
            stamp,
            body,
        }
    }

    /// The sequence number that the row's key carries.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// What its events have in common.
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Events so far.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether an event of this payload length is better put into the next segment.
    pub(crate) fn is_full_for(&self, payload: usize, project: bool) -> bool {
        let frame = 1 + 3 + 16 + 16 * usize::from(project) + 3 + payload;
        self.count > 0 && (self.body.len() + frame > TARGET || self.count == u16::MAX)
    }

    /// Adds an event. Sequence numbers must ascend.
    pub(crate) fn push(&mut self, frame: &Frame<'_>) {
        let flags =
            if frame.project.is_some() { HAS_PROJECT } else { 0 } | if frame.stripped { STRIPPED } else { 0 };
        self.body.push(flags);
        push_varint(&mut self.body, frame.seq.saturating_sub(self.base));
        self.body.extend_from_slice(frame.id);
        if let Some(project) = frame.project {
            self.body.extend_from_slice(project);
        }
        push_varint(&mut self.body, frame.payload.len() as u64);
        self.body.extend_from_slice(frame.payload);
        self.count += 1;
    }

    /// The id at a sequence number.
    pub(crate) fn id_at(&self, seq: u64) -> Option<Id> {
        let frames = Frames {
            base: self.base,
            left: self.count,
            rest: &self.body[HEADER..],
        };
        frames
            .into_iter()
            .find(|frame| frame.seq == seq)
            .map(|frame| *frame.id)
    }

    /// The finished body for a row of this key.
    pub(crate) fn finish(mut self, key: i64) -> Vec<u8> {
        let (head, _) = self.body.split_at_mut(HEADER);
        head[0] = VERSION;
        head[5..7].copy_from_slice(&self.count.to_le_bytes());
        head[7..11].copy_from_slice(&self.stamp.boot.to_le_bytes());
        head[11..19].copy_from_slice(&self.stamp.received.wall_ms.to_le_bytes());
        head[19..27].copy_from_slice(&self.stamp.received.boot_ms.to_le_bytes());
        head[27..35].copy_from_slice(&self.stamp.epoch.to_le_bytes());
        let sum = checksum(key, &self.body[5..]);
        self.body[1..5].copy_from_slice(&sum.to_le_bytes());
        self.body
    }
}

/// The checksum of a body under a key.
fn checksum(key: i64, rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&key.to_le_bytes());
    hasher.update(rest);
    hasher.finalize()
}

fn push_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push((value as u8) | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a, const N: usize>(from: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(head)
}

/// A segment that was read; its checksum held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    base: u64,
    count: u16,
    stamp: Stamp,
    frames: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads the body of the row with this key; `None` where version or checksum are wrong.
    pub(crate) fn read(key: i64, body: &'a [u8]) -> Option<Self> {
        let segment = Self::peek(key, body)?;
        let mut sum = &body[1..5];
        (checksum(key, &body[5..]) == u32::from_le_bytes(*take::<4>(&mut sum)?)).then_some(segment)
    }

    /// The same without looking at the checksum: for the header alone.
    pub(crate) fn peek(key: i64, body: &'a [u8]) -> Option<Self> {
        let mut rest = body;
        let [version] = take::<1>(&mut rest)?;
        take::<4>(&mut rest)?;
        let count = u16::from_le_bytes(*take(&mut rest)?);
        let boot = u32::from_le_bytes(*take(&mut rest)?);
        let wall_ms = i64::from_le_bytes(*take(&mut rest)?);
        let boot_ms = u64::from_le_bytes(*take(&mut rest)?);
        let epoch = u64::from_le_bytes(*take(&mut rest)?);
        let stamp = Stamp {
            received: Moment { wall_ms, boot_ms },
            boot,
            epoch,
        };
        (*version == VERSION).then_some(Self {
            base: crate::schema::seq_of(key),
            count,
            stamp,
            frames: rest,
        })
    }

    /// What its events have in common.
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Its events, in order.
    pub(crate) fn frames(&self) -> Frames<'a> {
        Frames {
            base: self.base,
            left: self.count,
            rest: self.frames,
        }
    }
}

/// The events of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Frames<'a> {
    base: u64,
    left: u16,
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    fn parse(&mut self) -> Option<Frame<'a>> {
        let [flags] = take::<1>(&mut self.rest)?;
        let seq = self.base.checked_add(take_varint(&mut self.rest)?)?;
        let id = take::<16>(&mut self.rest)?;
        let project = if flags & HAS_PROJECT == 0 {
            None
        } else {
            Some(take::<16>(&mut self.rest)?)
        };
        let length = usize::try_from(take_varint(&mut self.rest)?).ok()?;
        let (payload, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Frame {
            seq,
            id,
            project,
            stripped: flags & STRIPPED != 0,
            payload,
        })
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        // A body whose checksum holds was written by `Builder`: only a fault in this file ends it early.
        self.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema;

    type Given = (u64, Id, Option<Id>, bool, Vec<u8>);

    fn given() -> impl Strategy<Value = (u64, Vec<Given>)> {
        let id = proptest::array::uniform16(any::<u8>());
        let event = (
            1..1_000_000_u64,
            id,
            proptest::option::of(id),
            any::<bool>(),
            proptest::collection::vec(any::<u8>(), 0..300),
        );
        (1..1_u64 << 39, proptest::collection::vec(event, 1..50))
    }

    fn stamp() -> Stamp {
        let received = Moment {
            wall_ms: -7,
            boot_ms: 1 << 60,
        };
        Stamp {
            received,
            boot: 77,
            epoch: u64::MAX,
        }
    }

    fn packed(lane: u32, base: u64, events: &[Given]) -> (i64, Vec<u8>, Vec<u64>) {
        let mut builder = Builder::new(base, stamp());
        let mut seq = base;
        let mut seqs = Vec::new();
        for (step, id, project, stripped, payload) in events {
            seqs.push(seq);
            builder.push(&Frame {
                seq,
                id,
                project: project.as_ref(),
                stripped: *stripped,
                payload,
            });
            seq += step;
        }
        let key = schema::key(lane, base);
        (key, builder.finish(key), seqs)
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_again((base, events) in given()) {
            let (key, body, seqs) = packed(3, base, &events);
            let segment = Segment::read(key, &body).ok_or_else(|| TestCaseError::fail("it is damaged"))?;
            prop_assert_eq!(segment.stamp(), stamp());
            let frames: Vec<Frame<'_>> = segment.frames().collect();
            prop_assert_eq!(frames.len(), events.len());
            for ((frame, (_, id, project, stripped, payload)), seq) in frames.iter().zip(&events).zip(seqs) {
                let expected = Frame { seq, id, project: project.as_ref(), stripped: *stripped, payload };
                prop_assert_eq!(frame, &expected);
            }
        }

        #[test]
        fn damage_anywhere_is_noticed(
            (base, events) in given(), at in any::<prop::sample::Index>(), change in 1..=u8::MAX, cut in any::<bool>(),
        ) {
            let (key, mut body, _) = packed(3, base, &events);
            let at = at.index(body.len());
            if cut {
                body.truncate(at);
            } else {
                body[at] ^= change;
            }
            prop_assert!(Segment::read(key, &body).is_none());
        }

        #[test]
        fn a_body_under_another_key_is_noticed((base, events) in given()) {
            let (_, body, _) = packed(3, base, &events);
            prop_assert!(Segment::read(schema::key(4, base), &body).is_none());
            prop_assert!(Segment::read(schema::key(3, base + 1), &body).is_none());
        }

        #[test]
        fn garbage_is_no_segment_and_no_panic(body in proptest::collection::vec(any::<u8>(), 0..200), key in any::<i64>()) {
            prop_assert!(Segment::read(key, &body).is_none());
            if let Some(segment) = Segment::peek(key, &body) {
                prop_assert!(segment.frames().count() <= body.len());
            }
        }
    }

    #[test]
    fn a_full_segment_leaves_no_page_overflowing() {
        for payload in [0, 1, 350, 2_000, 8_000, 16_000] {
            let mut builder = Builder::new(1, stamp());
            let body = vec![1; payload];
            let mut seq = 1;
            while !builder.is_full_for(payload, true) && builder.len() < 2_000 {
                builder.push(&Frame {
                    seq,
                    id: &[1; 16],
                    project: Some(&[2; 16]),
                    stripped: false,
                    payload: &body,
                });
                seq += 1;
            }
            let length = builder.finish(schema::key(1, 1)).len();
            assert!(
                length <= TARGET || seq == 2,
                "{length} bytes of events of {payload}"
            );
        }
    }
}
