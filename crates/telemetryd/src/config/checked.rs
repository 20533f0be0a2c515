//! What the program may use: settings that were checked, with the types of the rooms they go to.
//!
//! The other of the two types is `File`, what was found (`file.rs`). Only `check.rs` makes one of these.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use telemetry_delivery::Destination;
use telemetry_policy::manifest::terms::Sample;

/// The checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// `[daemon]`.
    pub daemon: Daemon,
    /// `[queue]`.
    pub queue: telemetry_queue::Limits,
    /// `[limits]`.
    pub limits: Limits,
    /// `[defaults]`.
    pub defaults: Defaults,
    /// `[destinations.NAME]`. None at all is fine: events then wait as `no_destination`.
    /// That a token file or variable can be read is not checked here: delivery reads it for each burst.
    pub destinations: BTreeMap<Arc<str>, Destination>,
    /// `[gateway]`.
    pub gateway: Arc<telemetry_gateway::Settings>,
    /// `[tools.NAME]`: what goes over a tool's manifest.
    pub tools: BTreeMap<String, ToolOverride>,
}

/// `[daemon]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Leaves when the queue has been empty and nobody connected for so long; `None`: never.
    pub idle_exit: Option<Duration>,
    /// How long TERM and INT may go on sending; zero: not at all.
    pub shutdown_drain: Duration,
    /// Levels, in the words of `tracing_subscriber::filter::Targets`: `info,telemetryd=debug`.
    pub log: String,
}

/// `[limits]`: what one client, and all together, may take (I6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a line, without its newline.
    pub max_event_bytes: usize,
    /// Open connections of all users.
    pub max_connections: usize,
    /// Open connections of one uid; counts in system mode only.
    pub max_connections_per_user: usize,
    /// A connection without a byte for so long is closed.
    pub idle_timeout: Duration,
    /// A client that does not read its answers for so long is cut off.
    pub answer_timeout: Duration,
    /// A client with so many bytes of unread answers is cut off.
    pub max_unread: usize,
    /// Levels of JSON, the event's own object included.
    pub max_depth: usize,
    /// Events of one (uid, tool); `None`: unlimited.
    pub rate: Option<Rate>,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens added a second, at least 1.
    pub per_second: u32,
    /// Tokens that the bucket holds, at least 1.
    pub burst: u32,
}

/// `[defaults]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Where the events of tools go whose manifest names no destination. It may be missing from
    /// [`Checked::destinations`] only while it was not set to something else than `default`.
    pub destination: Arc<str>,
    /// What happens to tools without a manifest.
    pub unregistered_tools: Unregistered,
}

/// What happens to tools without a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unregistered {
    /// Off until the user allows them.
    OptIn,
    /// Answered with `unknown_tool`.
    Refuse,
}

/// `[tools.NAME]`: what goes over a tool's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolOverride {
    /// Replaces the manifest's destination; it exists in [`Checked::destinations`].
    pub destination: Option<Arc<str>>,
    /// `false` declines every event of the tool.
    pub enabled: bool,
    /// The tool is off until the user allows it, whatever its manifest says. It can only tighten.
    pub opt_in: bool,
    /// The tool's notice has to be shown first, whatever its manifest says.
    pub notice: bool,
    /// Keeps no more than this share of the tool's events.
    pub sample: Option<Sample>,
    /// Takes no more of the tool's events, of one user and one day.
    pub max_per_day: Option<u64>,
}
