//! What a request was, once it has been read and decoded, and what became of it.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use serde_json::Value;

use crate::decode::Undecodable;

/// The shape of a request's body (DELIVERY.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// One object with `batch_id`, `sent_at`, `source`, `losses` and `events`.
    Json,
    /// One event a line.
    Ndjson,
    /// Segment's: a batch, or one track call.
    Segment,
    /// Heap's: bulk, or one track call.
    Heap,
    /// PostHog's batch.
    Posthog,
    /// OTLP logs, protobuf or JSON.
    Otlp,
    /// One event in anybody's form.
    Mapped,
}

impl Encoding {
    /// All of them, in the order of DELIVERY.md.
    pub const ALL: [Self; 7] = [
        Self::Json,
        Self::Ndjson,
        Self::Segment,
        Self::Heap,
        Self::Posthog,
        Self::Otlp,
        Self::Mapped,
    ];

    /// Its name in a config and in a script.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Segment => "segment",
            Self::Heap => "heap",
            Self::Posthog => "posthog",
            Self::Otlp => "otlp",
            Self::Mapped => "mapped",
        }
    }

    /// The encoding of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.name() == name)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a batch says was lost since the one before it (`json` only).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Evicted because the queue was full.
    pub evicted: u64,
    /// Older than `max_age`.
    pub expired: u64,
    /// Over a tool's quota.
    pub quota: u64,
}

impl Losses {
    /// Whether nothing was lost.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// A decoded body.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// The shape that it came in.
    pub encoding: Encoding,
    /// The batch's id, where the encoding carries one.
    pub batch_id: Option<String>,
    /// When it was sent by the sender's clock, RFC 3339, where the encoding carries it.
    pub sent_at: Option<String>,
    /// Who sent it (`source`), where the encoding carries it.
    pub source: Option<Value>,
    /// What it reports as lost, where the encoding carries it.
    pub losses: Option<Losses>,
    /// Its events, in the order of the body. Each is an object with `id`, `tool` and `event`; of a vendor's form those
    /// that it has, under these names.
    /// Empty in the counting modes, which do not parse.
    pub events: Vec<Value>,
    /// The number of events, also in the counting modes.
    pub count: usize,
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status that was or would be written; `None` where no answer is written at all.
    pub status: Option<u16>,
    /// The name of the action of the script, or `accept` where none applied.
    pub action: &'static str,
    /// Whether the events count as arrived. A server may store and then fail to say so.
    pub stored: bool,
    /// Whether the script's `deduplicate = "batch"` recognised the request's `Idempotency-Key`.
    pub repeated: bool,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Received {
    /// 1 for the first request of this sink, over restarts of its listener.
    pub number: u64,
    /// When its head was read.
    pub at: SystemTime,
    /// `POST`, as a rule.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Names in lower case, values as they came (lossy UTF-8), in order.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body as they came.
    pub wire_bytes: u64,
    /// The body with its content coding undone; empty where that failed, and in the counting modes.
    pub body: Bytes,
    /// Bytes of the body with its content coding undone.
    pub body_bytes: u64,
    /// What was in it, or why that cannot be said.
    pub content: Result<Content, Undecodable>,
    /// What became of it.
    pub answer: Answer,
}

impl Received {
    /// The first header of that name, in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// The `Idempotency-Key`, which is the batch's id.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.header("idempotency-key")
    }

    /// The batch's id: the body's, or where the encoding has none, the `Idempotency-Key`.
    #[must_use]
    pub fn batch_id(&self) -> Option<&str> {
        let own = self
            .content
            .as_ref()
            .ok()
            .and_then(|content| content.batch_id.as_deref());
        own.or_else(|| self.idempotency_key())
    }

    /// Its events, none where the body could not be decoded.
    #[must_use]
    pub fn events(&self) -> &[Value] {
        self.content.as_ref().map_or(&[], |content| &content.events)
    }

    /// The ids of its events.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.events().iter().filter_map(|event| event.get("id")?.as_str())
    }

    /// What it reports as lost.
    #[must_use]
    pub fn losses(&self) -> Option<Losses> {
        self.content.as_ref().ok()?.losses
    }
}
