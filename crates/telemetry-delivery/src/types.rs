//! What callers hand to the delivery room. Nothing here shows a credential when it is printed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use telemetry_protocol::map::Mapping;
use uuid::Uuid;

/// One event as it is stored: a JSON object without `id` and `tool`
/// (`event`, `time`, `tool_version`, `properties`, `context`, … in PROTOCOL's words).
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its id.
    pub id: Uuid,
    /// Its tool.
    pub tool: &'a str,
    /// The stored object, never empty: begins with `{`, ends with `}`.
    pub payload: &'a [u8],
    /// How long ago it was received, by the clock that counts suspend where that is known.
    pub age_ms: u64,
    /// `[map]` of its tool's manifest.
    pub map: Option<&'a Mapping>,
}

/// What a batch reports as lost since the last delivered one (`json` only).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Evicted because the queue was full.
    pub evicted: u64,
    /// Older than `max_age`.
    pub expired: u64,
    /// Over a tool's quota.
    pub quota: u64,
}

/// A batch to send.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// Its id, the `Idempotency-Key`.
    pub id: Uuid,
    /// The wall clock now, milliseconds since the epoch.
    pub sent_at_ms: i64,
    /// What it reports as lost.
    pub losses: Losses,
    /// Its events, at least one.
    pub events: Vec<Event<'a>>,
}

/// The shape of the request's body: an encoding of the config, and its form where it has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// One object: `batch_id`, `sent_at`, `source`, `losses`, `events`.
    Json,
    /// One event a line.
    Ndjson,
    /// One event a line, properties and context as JSON text: for tables with a column of text for each.
    NdjsonText,
    /// Segment's batch form.
    Segment,
    /// Segment's track call, one event a request: what dlt's own trackers take.
    SegmentTrack,
    /// Heap's bulk form.
    Heap,
    /// Heap's track form, one event a request: what Kedro sends.
    HeapTrack,
    /// PostHog's batch form.
    Posthog,
    /// OTLP logs, protobuf.
    Otlp,
    /// OTLP logs, JSON.
    OtlpJson,
    /// What `[map]` builds, one event a request.
    Mapped,
}

impl Encoding {
    /// Its word in the config.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson | Self::NdjsonText => "ndjson",
            Self::Segment | Self::SegmentTrack => "segment",
            Self::Heap | Self::HeapTrack => "heap",
            Self::Posthog => "posthog",
            Self::Otlp | Self::OtlpJson => "otlp",
            Self::Mapped => "mapped",
        }
    }

    /// The word of its form, where its encoding has two.
    #[must_use]
    pub const fn form(self) -> Option<&'static str> {
        Some(match self {
            Self::Json | Self::Posthog | Self::Mapped => return None,
            Self::Ndjson => "objects",
            Self::NdjsonText => "text",
            Self::Segment => "batch",
            Self::Heap => "bulk",
            Self::SegmentTrack | Self::HeapTrack => "track",
            Self::Otlp => "protobuf",
            Self::OtlpJson => "json",
        })
    }
}

/// The content coding of the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
}

/// A secret, from where the config says. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// In the config itself.
    Inline(String),
    /// The first line of this file, read again for every burst.
    File(PathBuf),
    /// This environment variable of the daemon.
    Env(String),
}

/// How requests prove who sends them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// No credentials.
    None,
    /// `Authorization: Bearer …`
    Bearer(Secret),
    /// `Authorization: Basic …`, the secret being `user:password`.
    Basic(Secret),
    /// `Authorization: Basic …`, the secret being the user, with an empty password: Segment's write key.
    SegmentWriteKey(Secret),
    /// `app_id` in the body: Heap's.
    HeapAppId(Secret),
    /// `api_key` in the body: PostHog's.
    PosthogKey(Secret),
}

impl Auth {
    /// The secret, where there is one.
    #[must_use]
    pub const fn secret(&self) -> Option<&Secret> {
        match self {
            Self::None => None,
            Self::Bearer(secret)
            | Self::Basic(secret)
            | Self::SegmentWriteKey(secret)
            | Self::HeapAppId(secret)
            | Self::PosthogKey(secret) => Some(secret),
        }
    }

    /// Whether it goes in the body, not in `Authorization`.
    #[must_use]
    pub const fn in_body(&self) -> bool {
        matches!(self, Self::HeapAppId(_) | Self::PosthogKey(_))
    }
}

/// How success is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// By the status alone.
    Status,
    /// The body or a header must echo the batch's id.
    BatchId,
}

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The first wait's ceiling.
    pub initial: Duration,
    /// The largest ceiling.
    pub max: Duration,
    /// The first failure after a long healthy time waits 0..spread.
    pub spread: Duration,
}

/// How batches are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Events at most.
    pub max_events: u32,
    /// Encoded bytes at most, before compression.
    pub max_bytes: u64,
    /// The oldest waiting event's age that makes a batch go.
    pub max_wait: Duration,
}

/// Who is trusted to say that the server is the right one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// The system's certificate authorities.
    #[default]
    System,
    /// The system's, and those of this PEM file (`ca_file`).
    SystemAnd(PathBuf),
    /// Those of this PEM file alone (`ca_only_file`).
    Only(PathBuf),
}

/// What proves to the server who speaks (mutual TLS). Both files are PEM, read again for every burst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, the intermediate ones after it (`client_cert`).
    pub cert: PathBuf,
    /// Its private key, without a passphrase (`client_key`).
    pub key: PathBuf,
}

/// Trust, both ways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whom the server has to be vouched for by; a proxy that is reached by TLS, too.
    pub roots: Roots,
    /// What is shown to a server that asks.
    pub identity: Option<Identity>,
}

/// The way to the endpoint. Its `Debug` shows no credential.
#[derive(Clone, PartialEq, Eq)]
pub enum Proxy {
    /// Straight.
    None,
    /// As `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, by curl's rules; read when a client is made.
    FromEnvironment,
    /// Through this one, whatever the environment says: `http://user:password@host:port`, or `https://…`.
    Url(String),
}

/// One destination, as the config has it. Its `Debug` shows no credential: header values and the URL's
/// query are masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its name in the config.
    pub name: Arc<str>,
    /// The whole request URL: nothing is appended.
    pub url: String,
    /// The body's shape.
    pub encoding: Encoding,
    /// Extra request headers.
    pub headers: Vec<(String, String)>,
    /// Credentials.
    pub auth: Auth,
    /// Content coding.
    pub compression: Compression,
    /// The whole request, DNS included.
    pub timeout: Duration,
    /// How batches are cut.
    pub batch: BatchLimits,
    /// When to try again.
    pub retry: Retry,
    /// How success is told.
    pub confirm: Confirm,
    /// Certificate authorities, and a certificate of our own.
    pub tls: Tls,
    /// The way there.
    pub proxy: Proxy,
    /// Plain http to other hosts than loopback.
    pub allow_insecure: bool,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline(*****)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
        }
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::FromEnvironment => f.write_str("FromEnvironment"),
            Self::Url(url) => f.debug_tuple("Url").field(&crate::mask::proxy(url)).finish(),
        }
    }
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Destination")
            .field("name", &self.name)
            .field("url", &crate::mask::url(&self.url))
            .field("encoding", &self.encoding)
            .field("headers", &headers)
            .field("auth", &self.auth)
            .field("compression", &self.compression)
            .field("timeout", &self.timeout)
            .field("batch", &self.batch)
            .field("retry", &self.retry)
            .field("confirm", &self.confirm)
            .field("tls", &self.tls)
            .field("proxy", &self.proxy)
            .field("allow_insecure", &self.allow_insecure)
            .finish()
    }
}
