//! `json`: one object with `batch_id`, `sent_at`, `source`, `losses` and `events` (TOOLS.md, last section).

use super::{Bound, EVENT_OVERHEAD, write_event, write_number, write_string, write_uuid};
use crate::types::Batch;
use telemetry_protocol::limits::MAX_VERSION;
use telemetry_protocol::time::Rfc3339;

/// The fixed text, the batch's id, a time, a quoted version, and three counts of up to twenty digits. An
/// event has a comma after it.
pub(super) const BOUND: Bound = Bound {
    per_batch: (FIXED + 36 + 24 + MAX_VERSION + 2 + 3 * 20) as u32,
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
    out.extend_from_slice(&Rfc3339(batch.sent_at_ms).bytes());
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
        write_event(out, batch, event);
    }
    out.extend_from_slice(b"]}");
}
