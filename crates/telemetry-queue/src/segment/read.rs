//! Reading a segment: its checksum, then its events one after another.

use super::{Frame, HAS_PROJECT, Payload, SHARES, STRIPPED, Stamp, VERSION, checksum};
use crate::types::Moment;

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
        Frames::new(self.base, self.count, self.frames)
    }
}

/// The events of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Frames<'a> {
    base: u64,
    left: u16,
    rest: &'a [u8],
    /// The first payload that is not empty, once it was read.
    first: &'a [u8],
}

impl<'a> Frames<'a> {
    /// The frames of a body, from behind its header.
    pub(super) fn new(base: u64, count: u16, frames: &'a [u8]) -> Self {
        Self {
            base,
            left: count,
            rest: frames,
            first: &[],
        }
    }

    fn parse(&mut self) -> Option<Frame<'a>> {
        let [flags] = take::<1>(&mut self.rest)?;
        let seq = self.base.checked_add(take_varint(&mut self.rest)?)?;
        let id = take::<16>(&mut self.rest)?;
        let project = if flags & HAS_PROJECT == 0 {
            None
        } else {
            Some(take::<16>(&mut self.rest)?)
        };
        let mut length = || usize::try_from(take_varint(&mut self.rest)?).ok();
        let (head, tail) = if flags & SHARES == 0 {
            (0, 0)
        } else {
            (length()?, length()?)
        };
        let length = length()?;
        let (own, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        let payload = Payload::of(self.first, head, own, tail)?;
        if self.first.is_empty() {
            self.first = own;
        }
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
