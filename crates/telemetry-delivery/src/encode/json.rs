//! `json`: one object with `batch_id`, `sent_at`, `source`, `losses` and `events` (TOOLS.md, last section).

use super::{Bound, EVENT_OVERHEAD, write_event, write_number, write_string, write_time, write_uuid};
use crate::types::Batch;

/// The fixed text, the batch's id, the longest time (a year of six characters), a version of up to 64 bytes
/// and three counts of up to twenty digits. An event has a comma after it.
pub(super) const BOUND: Bound = Bound {
    per_batch: (FIXED + 36 + 27 + 66 + 3 * 20) as u32,
    per_event: EVENT_OVERHEAD + 1,
};

const FIXED: usize = concat!(
    r#"{"batch_id":"","sent_at":"","source":{"name":"telemetryd","version":},"#,
    r#""losses":{"evicted":,"expired":,"quota":},"events":[]}"#,
)
.len();

pub(super) fn write(out: &mut Vec<u8>, batch: &Batch<'_>, version: &str) {
    out.extend_from_slice(br#"{"batch_id":""#);
    write_uuid(out, batch.id);
    out.extend_from_slice(br#"","sent_at":""#);
    write_time(out, batch.sent_at_ms);
    out.extend_from_slice(br#"","source":{"name":"telemetryd","version":"#);
    write_string(out, version);
    out.extend_from_slice(br#"},"losses":{"evicted":"#);
    write_number(out, batch.losses.evicted);
    out.extend_from_slice(br#","expired":"#);
    write_number(out, batch.losses.expired);
    out.extend_from_slice(br#","quota":"#);
    write_number(out, batch.losses.quota);
    out.extend_from_slice(br#"},"events":["#);
    for (index, event) in batch.events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_event(out, event);
    }
    out.extend_from_slice(b"]}");
}
