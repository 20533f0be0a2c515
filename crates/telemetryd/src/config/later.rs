//! Keys that the contract has and this version has not, in one place: a later version that fills
//! the room takes the line away and writes one in `default.rs`.
//!
//! Setting one to what it does anyway is accepted; anything else is said to be missing, never ignored.

use super::default::matches;

/// A key (with all below it) that is not supported yet.
pub(super) struct Later {
    /// Its pattern; `*` stands for any name.
    pattern: &'static str,
    /// Values that need nothing which is missing, as TOML.
    harmless: &'static [&'static str],
}

const LATER: &[Later] = &[
    Later {
        pattern: "gateway.listen",
        harmless: &["\"off\""],
    },
    Later {
        pattern: "gateway.keys",
        harmless: &["{}"],
    },
    Later {
        pattern: "gateway.proxy_hosts",
        harmless: &["[]"],
    },
];

/// The entry of the key at `path`, if it is one for later.
pub(super) fn find(path: &[String]) -> Option<&'static Later> {
    LATER.iter().find(|later| matches(later.pattern, path))
}

/// The patterns, for suggestions and for telling tables from unknown keys.
pub(super) fn patterns() -> impl Iterator<Item = &'static str> {
    LATER.iter().map(|later| later.pattern)
}

impl Later {
    /// Whether `value`, written as TOML on one line, needs nothing that is missing.
    pub(super) fn harmless(&self, value: &str) -> bool {
        self.harmless.contains(&value)
    }
}
