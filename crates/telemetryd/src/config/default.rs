//! The table of keys: every key that this version has, what it takes, and its default.
//!
//! To add one: a line here, its reading in `check.rs`, its field in `checked.rs`, and a commented line with
//! one sentence in `config/telemetryd.toml` (a test compares that file with this table).

use std::time::Duration;

use super::units::DAY;
use super::value::Takes;

/// A key.
#[derive(Debug)]
pub(super) struct Key {
    /// Its dotted path; `*` stands for any name.
    pub(super) pattern: &'static str,
    /// What it takes.
    pub(super) takes: Takes,
    /// Its default, as TOML; `None`: it may be absent.
    pub(super) default: Option<&'static str>,
}

const fn key(pattern: &'static str, takes: Takes, default: &'static str) -> Key {
    Key {
        pattern,
        takes,
        default: Some(default),
    }
}

const fn optional(pattern: &'static str, takes: Takes) -> Key {
    Key {
        pattern,
        takes,
        default: None,
    }
}

const fn duration(least: Duration, most: Duration) -> Takes {
    Takes::Duration {
        least,
        most,
        or: None,
    }
}

const fn words(now: &'static [&'static str]) -> Takes {
    Takes::Word { now }
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

const HOUR: Duration = Duration::from_secs(60 * 60);
const YEARS: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Every key, in the order of CONFIG's reference. The bounds keep everything finite (I6): the lower ones
/// are what still works (and what tests need), the upper ones what a daemon beside other work may take.
pub(super) const KEYS: &[Key] = &[
    key(
        "daemon.idle_exit",
        Takes::Duration {
            least: millis(10),
            most: YEARS,
            or: Some("never"),
        },
        "\"never\"",
    ),
    key("daemon.shutdown_drain", duration(secs(0), secs(600)), "\"10s\""),
    key("daemon.log", Takes::Log, "\"info\""),
    // An event and its keys must fit; SQLite's own limit is far above the upper bound.
    key(
        "queue.max_bytes",
        Takes::Size {
            least: 16 * KIB,
            most: TIB,
        },
        "\"64MiB\"",
    ),
    key(
        "queue.max_bytes_per_tool",
        Takes::Size {
            least: 4 * KIB,
            most: TIB,
        },
        "\"16MiB\"",
    ),
    key("queue.max_age", duration(secs(1), YEARS), "\"30d\""),
    key("queue.parked_max_age", duration(secs(1), YEARS), "\"30d\""),
    key("queue.sent_log.max_age", duration(secs(1), YEARS), "\"7d\""),
    key(
        "queue.sent_log.max_bytes",
        Takes::Size {
            least: 4 * KIB,
            most: 16 * GIB,
        },
        "\"4MiB\"",
    ),
    key("queue.sent_log.bodies", Takes::Flag, "true"),
    // A line is held in memory once for each connection that sends one.
    key(
        "limits.max_event_bytes",
        Takes::Size {
            least: KIB,
            most: 16 * MIB,
        },
        "\"64KiB\"",
    ),
    key(
        "limits.max_connections",
        Takes::Count {
            least: 1,
            most: 65_536,
        },
        "1024",
    ),
    key(
        "limits.max_connections_per_user",
        Takes::Count {
            least: 1,
            most: 65_536,
        },
        "64",
    ),
    key("limits.idle_timeout", duration(millis(100), DAY), "\"5min\""),
    key(
        "limits.answer_timeout",
        duration(millis(100), secs(600)),
        "\"10s\"",
    ),
    key(
        "limits.max_unread",
        Takes::Size {
            least: 4 * KIB,
            most: 64 * MIB,
        },
        "\"1MiB\"",
    ),
    key(
        "limits.max_depth",
        Takes::Count {
            least: 2,
            most: telemetry_protocol::limits::MAX_DEPTH_CEILING as u64,
        },
        "32",
    ),
    // In system mode the default is SYSTEM_RATE.
    key("limits.rate", words(&["unlimited"]), "\"unlimited\""),
    optional(
        "limits.rate.per_second",
        Takes::Count {
            least: 1,
            most: 1_000_000,
        },
    ),
    optional(
        "limits.rate.burst",
        Takes::Count {
            least: 1,
            most: 10_000_000,
        },
    ),
    key("defaults.destination", Takes::Name, "\"default\""),
    key(
        "defaults.unregistered_tools",
        words(&["opt-in", "refuse"]),
        "\"opt-in\"",
    ),
    optional("destinations.*.url", Takes::Url),
    key(
        "destinations.*.encoding",
        words(&["json", "ndjson", "segment", "heap", "posthog", "otlp", "mapped"]),
        "\"json\"",
    ),
    // Which of them an encoding has, `encoding.rs` says.
    optional(
        "destinations.*.form",
        words(&["objects", "text", "batch", "bulk", "track", "protobuf", "json"]),
    ),
    optional("destinations.*.headers.*", Takes::Header),
    optional("destinations.*.auth.bearer", Takes::Secret { basic: false }),
    optional("destinations.*.auth.bearer_file", Takes::Path),
    optional("destinations.*.auth.bearer_env", Takes::Variable),
    optional("destinations.*.auth.basic", Takes::Secret { basic: true }),
    optional("destinations.*.auth.basic_file", Takes::Path),
    optional("destinations.*.auth.basic_env", Takes::Variable),
    optional(
        "destinations.*.auth.segment_write_key",
        Takes::Secret { basic: false },
    ),
    optional("destinations.*.auth.segment_write_key_file", Takes::Path),
    optional("destinations.*.auth.segment_write_key_env", Takes::Variable),
    optional("destinations.*.auth.heap_app_id", Takes::Secret { basic: false }),
    optional("destinations.*.auth.heap_app_id_file", Takes::Path),
    optional("destinations.*.auth.heap_app_id_env", Takes::Variable),
    optional("destinations.*.auth.posthog_key", Takes::Secret { basic: false }),
    optional("destinations.*.auth.posthog_key_file", Takes::Path),
    optional("destinations.*.auth.posthog_key_env", Takes::Variable),
    key(
        "destinations.*.compression",
        words(&["none", "gzip", "zstd"]),
        "\"gzip\"",
    ),
    key(
        "destinations.*.timeout",
        duration(millis(100), secs(600)),
        "\"30s\"",
    ),
    key(
        "destinations.*.batch.max_events",
        Takes::Count {
            least: 1,
            most: 100_000,
        },
        "500",
    ),
    key(
        "destinations.*.batch.max_bytes",
        Takes::Size {
            least: KIB,
            most: 64 * MIB,
        },
        "\"256KiB\"",
    ),
    key(
        "destinations.*.batch.max_wait",
        duration(millis(10), DAY),
        "\"60s\"",
    ),
    // A day is also what a server's Retry-After is clamped to.
    key(
        "destinations.*.retry.initial",
        duration(millis(10), DAY),
        "\"5s\"",
    ),
    key("destinations.*.retry.max", duration(millis(10), DAY), "\"30min\""),
    key("destinations.*.retry.spread", duration(secs(0), HOUR), "\"120s\""),
    key(
        "destinations.*.confirm",
        words(&["status", "batch_id"]),
        "\"status\"",
    ),
    key("destinations.*.allow_insecure", Takes::Flag, "false"),
    key("destinations.*.proxy", Takes::Proxy, "\"from-environment\""),
    optional("destinations.*.tls.ca_file", Takes::Path),
    optional("destinations.*.tls.ca_only_file", Takes::Path),
    optional("destinations.*.tls.client_cert", Takes::Path),
    optional("destinations.*.tls.client_key", Takes::Path),
    key("gateway.listen", Takes::Listen, "\"off\""),
    key("gateway.keys", Takes::Keys, "{}"),
    key("gateway.proxy_hosts", Takes::Hosts, "[]"),
    optional("tools.*.destination", Takes::Name),
    key("tools.*.enabled", Takes::Flag, "true"),
    // It only tightens: a manifest's opt-in cannot be turned into opt-out from here.
    optional("tools.*.consent", words(&["opt-in"])),
    // So do these.
    optional("tools.*.notice", words(&["required"])),
    optional("tools.*.sample", Takes::Share),
    optional(
        "tools.*.max_per_day",
        Takes::Count {
            least: 1,
            most: u32::MAX as u64,
        },
    ),
];

/// `limits.rate` in system mode: events a second and burst of one (uid, tool).
pub(super) const SYSTEM_RATE: (u64, u64) = (1000, 10_000);

/// The key at `path`.
pub(super) fn find<S: AsRef<str>>(path: &[S]) -> Option<&'static Key> {
    KEYS.iter().find(|key| matches(key.pattern, path))
}

/// Whether `pattern` is of this path.
pub(super) fn matches<S: AsRef<str>>(pattern: &str, path: &[S]) -> bool {
    let mut segments = pattern.split('.');
    path.iter().all(|name| {
        segments
            .next()
            .is_some_and(|segment| fits(segment, name.as_ref()))
    }) && segments.next().is_none()
}

fn fits(segment: &str, name: &str) -> bool {
    segment == "*" || segment == name
}

/// What may stand directly below the table at `path`: names, or `*` for any. Empty: it is no table.
pub(super) fn children(path: &[String]) -> Vec<&'static str> {
    let below = |pattern: &'static str| {
        let mut segments = pattern.split('.');
        let inside = path
            .iter()
            .all(|name| segments.next().is_some_and(|segment| fits(segment, name)));
        segments.next().filter(|_| inside)
    };
    let mut names: Vec<&'static str> = KEYS.iter().map(|key| key.pattern).filter_map(below).collect();
    names.sort_unstable();
    names.dedup();
    names
}
