//! What must hold of any bytes that come from outside, one file for each door they come in by. libFuzzer looks for
//! bytes that break it (`fuzz_targets/`); `cargo test` holds it for those of `corpus/`, on stable
//! (`crates/telemetryd/tests/corpus.rs`).

pub mod answer;
pub mod config;
pub mod gateway;
pub mod manifest;
pub mod policy;
pub mod project;
pub mod protocol;
pub mod queue;
pub mod retry_after;
pub mod spool;

/// A door: what it is called, here and under `corpus/`, and the law of its bytes. The law panics where it is broken.
pub type Door = (&'static str, fn(&[u8]));

/// All of them.
pub const DOORS: [Door; 10] = [
    ("answer", answer::hold),
    ("config", config::hold),
    ("gateway", gateway::hold),
    ("manifest", manifest::hold),
    ("policy", policy::hold),
    ("project", project::hold),
    ("protocol", protocol::hold),
    ("queue", queue::hold),
    ("retry_after", retry_after::hold),
    ("spool", spool::hold),
];
