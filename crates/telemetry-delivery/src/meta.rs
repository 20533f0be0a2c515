//! What the sent log keeps of a delivered batch beside its events: enough to show the body as it went, and
//! nothing that is secret. The queue keeps it as an opaque string.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use telemetry_protocol::map::Mapping;
use uuid::Uuid;

use crate::encode::{VERSION, encode_as};
use crate::mask::{self, MASK};
use crate::types::{Batch, Destination, Encoding, Event, Losses};

/// How a batch was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The body's shape.
    pub encoding: Encoding,
    /// The wall clock that the batch said, milliseconds since the epoch.
    pub sent_at_ms: i64,
    /// Where to, without query and user part.
    pub url: String,
    /// The version of telemetryd that sent it.
    pub version: String,
    /// The events' ages that the batch said, in milliseconds, in the events' order.
    #[serde(default)]
    pub ages_ms: Vec<u64>,
    /// `[map]` of each tool of the batch that has one, as it was.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub maps: BTreeMap<String, Mapping>,
}

impl Meta {
    /// What is to be kept of `batch`, sent to `destination` by this version.
    #[must_use]
    pub fn new(destination: &Destination, batch: &Batch<'_>) -> Self {
        Self {
            encoding: destination.encoding,
            sent_at_ms: batch.sent_at_ms,
            url: mask::url_without_query(&destination.url),
            version: VERSION.to_owned(),
            ages_ms: batch.events.iter().map(|event| event.age_ms).collect(),
            maps: batch
                .events
                .iter()
                .filter_map(|event| Some((event.tool, event.map?)))
                .collect::<BTreeMap<_, _>>()
                .into_iter()
                .map(|(tool, map)| (tool.to_owned(), map.clone()))
                .collect(),
        }
    }

    /// As the string that the queue keeps.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are valid JSON")
    }

    /// From that string; `None` if it is not one (of a newer version, or damaged).
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The body as it was sent, byte for byte, before compression; a key in it masked, and protobuf as the JSON that says
    /// the same. The events are those of the batch in their order; the ages they carry are used only where none were
    /// kept, and the mappings only those that were.
    #[must_use]
    pub fn body(&self, batch: Uuid, losses: Losses, events: &[Event<'_>]) -> Vec<u8> {
        let mut events: Vec<Event<'_>> = events
            .iter()
            .map(|event| Event {
                map: self.maps.get(event.tool),
                ..*event
            })
            .collect();
        if events.len() == self.ages_ms.len() {
            for (event, age_ms) in events.iter_mut().zip(&self.ages_ms) {
                event.age_ms = *age_ms;
            }
        }
        let batch = Batch {
            id: batch,
            sent_at_ms: self.sent_at_ms,
            losses,
            events,
        };
        encode_as(self.encoding.shown(), &batch, MASK, &self.version).body
    }
}
