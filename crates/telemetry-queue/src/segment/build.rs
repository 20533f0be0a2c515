//! Writing a segment: events go in one after another, then the body is closed under its row's key.

use std::ops::Range;

use super::{
    Frame, Frames, HAS_PROJECT, HEADER, SHARES, STRIPPED, Stamp, TARGET, UNPACKED, VERSION, checksum, payload,
};
use crate::types::Id;

/// Builds one segment.
#[derive(Debug)]
pub(crate) struct Builder {
    base: u64,
    count: u16,
    stamp: Stamp,
    body: Vec<u8>,
    /// Where the first payload that is not empty lies in the body.
    first: Range<usize>,
    /// Bytes of all payloads.
    unpacked: usize,
    /// A payload in one piece, while it is looked at.
    whole: Vec<u8>,
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
            first: 0..0,
            unpacked: 0,
            whole: Vec::new(),
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

    /// Bytes of the body so far.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Whether this event is better put into the next segment.
    pub(crate) fn is_full_for(&self, payload: &[u8], project: bool) -> bool {
        if self.count == 0 {
            return false;
        }
        let most = 1 + 3 + 16 + 16 * usize::from(project) + 3 * 3 + payload.len();
        let left = TARGET.saturating_sub(self.body.len());
        let fits = most <= left || {
            let (head, tail) = payload::common(&self.body[self.first.clone()], payload);
            most - head - tail <= left
        };
        !fits || self.unpacked + payload.len() > UNPACKED || self.count == u16::MAX
    }

    /// Adds an event. Sequence numbers must ascend.
    pub(crate) fn push(&mut self, frame: &Frame<'_>) {
        let mut scratch = std::mem::take(&mut self.whole);
        let payload = frame.payload.as_whole().unwrap_or_else(|| {
            scratch.clear();
            frame.payload.append_to(&mut scratch);
            &scratch
        });
        let (head, tail) = payload::common(&self.body[self.first.clone()], payload);
        let own = &payload[head..payload.len() - tail];
        let flag = |flag, set| if set { flag } else { 0 };
        self.body.push(
            flag(HAS_PROJECT, frame.project.is_some())
                | flag(STRIPPED, frame.stripped)
                | flag(SHARES, head + tail > 0),
        );
        push_varint(&mut self.body, frame.seq.saturating_sub(self.base));
        self.body.extend_from_slice(frame.id);
        if let Some(project) = frame.project {
            self.body.extend_from_slice(project);
        }
        if head + tail > 0 {
            push_varint(&mut self.body, head as u64);
            push_varint(&mut self.body, tail as u64);
        }
        push_varint(&mut self.body, own.len() as u64);
        if self.first.is_empty() {
            self.first = self.body.len()..self.body.len() + own.len();
        }
        self.body.extend_from_slice(own);
        self.count += 1;
        self.unpacked += payload.len();
        self.whole = scratch;
    }

    /// The id at a sequence number.
    pub(crate) fn id_at(&self, seq: u64) -> Option<Id> {
        Frames::new(self.base, self.count, &self.body[HEADER..])
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

fn push_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push((value as u8) | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}
