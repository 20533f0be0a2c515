//! The daemon: the only crate that sees all rooms. An event walks through [`ingest`], the policy and the
//! queue's writer to [`flush`]; [`control`] stands beside it; [`run`] alone constructs and spawns.

pub mod background;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consent;
pub mod control;
pub mod counters;
pub mod desk;
pub mod failure;
mod files;
pub mod flush;
pub mod gateway;
pub mod ingest;
pub mod jobs;
pub mod journal;
#[cfg(feature = "kill-points")]
pub mod kill_points;
pub mod log;
pub mod notify;
pub mod phase;
pub mod run;
pub mod signals;
pub mod socket;
pub mod spool;
pub mod state_dir;
pub mod thread;
mod watch;
pub mod withdrawals;
pub mod world;

/// This program's version, as it is shown and sent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
