//! `ndjson`: one event a line, the same object as in `json`'s `events`. For ClickHouse (`INSERT … FORMAT
//! JSONEachRow`), Vector, Fluent Bit. There is no envelope: `losses` are not told.
//!
//! In the form `text` the values of `properties` and `context` are JSON text: a table takes each into a column of text,
//! also where its database (an older ClickHouse, a warehouse) reads no object into one.

use super::{Bound, EVENT_OVERHEAD, event_tree, write_event};
use crate::types::Batch;

/// A line has its newline.
pub(super) const BOUND: Bound = Bound {
    per_batch: 0,
    per_event: EVENT_OVERHEAD + 1,
};

/// With some quotes escaped. Many of them make it longer: then the batch is cut again.
pub(super) const TEXT_BOUND: Bound = Bound {
    per_batch: 0,
    per_event: BOUND.per_event + 128,
};

pub(super) fn write(out: &mut Vec<u8>, batch: &Batch<'_>) {
    for event in &batch.events {
        let line = out.len();
        write_event(out, batch, event);
        end_line(out, line);
    }
}

/// With properties and context as text.
pub(super) fn write_text(out: &mut Vec<u8>, batch: &Batch<'_>) {
    for event in &batch.events {
        let line = out.len();
        let mut form = event_tree(batch, event);
        for name in ["properties", "context"] {
            form.make_text(name);
        }
        form.write(out);
        end_line(out, line);
    }
}

/// Ends the line that begins there.
fn end_line(out: &mut Vec<u8>, line: usize) {
    // A line break inside JSON can only be white space between tokens (RFC 8259, section 7), so a space
    // says the same. Events come to the daemon as lines: this is for payloads from elsewhere.
    let mut from = line;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', &out[from..]) {
        out[from + at] = b' ';
        from += at + 1;
    }
    out.push(b'\n');
}
