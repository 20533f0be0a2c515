//! The vendors' forms: golden bodies, their limits, and what the real tools send, field for field.

#![expect(clippy::unwrap_used, reason = "tests may")]

mod any;
mod captures;
mod golden;
mod limits;
mod otlp;

use telemetry_delivery::{Batch, Encoding, Event, Losses};
use telemetry_protocol::map::{Mapping, Written};
use uuid::Uuid;

/// Every form that is not telemetryd's own.
const VENDORS: [Encoding; 8] = [
    Encoding::Segment,
    Encoding::SegmentTrack,
    Encoding::Heap,
    Encoding::HeapTrack,
    Encoding::Posthog,
    Encoding::Otlp,
    Encoding::OtlpJson,
    Encoding::Mapped,
];

/// A batch of events of these tools and payloads, sent at 2026-11-21T10:00:05.120Z.
fn batch<'a>(events: &[(&'a str, &'a str, Option<&'a Mapping>)]) -> Batch<'a> {
    let events = events
        .iter()
        .zip(1_u64..)
        .map(|((tool, payload, map), number)| Event {
            id: Uuid::from_u128(0x019a_a6c2_0000_7000_8000_0000_0000_0000 | u128::from(number)),
            tool,
            payload: payload.as_bytes(),
            age_ms: (number - 1) * 7119,
            map: *map,
        });
    Batch {
        id: Uuid::from_u128(0x019a_a6c2_1111_7000_8000_0000_0000_00ff),
        sent_at_ms: 1_795_255_205_120,
        losses: Losses::default(),
        events: events.collect(),
    }
}

fn mapping(pairs: &[(&'static str, &'static str)]) -> Mapping {
    Mapping::new(
        pairs
            .iter()
            .map(|(target, source)| (*target, Written::Path(source))),
    )
    .unwrap()
}
