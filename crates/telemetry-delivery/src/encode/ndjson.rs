//! `ndjson`: one event a line, the same object as in `json`'s `events`. For ClickHouse (`INSERT … FORMAT
//! JSONEachRow`), Vector, Fluent Bit. There is no envelope: `losses` are not told.

use super::{Bound, EVENT_OVERHEAD, write_event};
use crate::types::Batch;

/// A line has its newline.
pub(super) const BOUND: Bound = Bound {
    per_batch: 0,
    per_event: EVENT_OVERHEAD + 1,
};

pub(super) fn write(out: &mut Vec<u8>, batch: &Batch<'_>) {
    for event in &batch.events {
        let line = out.len();
        write_event(out, batch, event);
        // A line break inside JSON can only be white space between tokens (RFC 8259, section 7), so a space
        // says the same. Events come to the daemon as lines: this is for payloads from elsewhere.
        let mut from = line;
        while let Some(at) = memchr::memchr2(b'\n', b'\r', &out[from..]) {
            out[from + at] = b' ';
            from += at + 1;
        }
        out.push(b'\n');
    }
}
