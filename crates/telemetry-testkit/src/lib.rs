//! What the tests of telemetryd lean on. Not published, and a dependency of tests alone.
//!
//! In the order of the module lines: waiting for a condition ([`mod@eventually`]); the place a test lives in
//! ([`Home`]) and the programs that run there ([`Daemon`], [`Ctl`]); the two ends that they speak with, a
//! tool's connection ([`Tool`]) and the endpoint ([`Collector`]); what is or goes wrong between ([`Proxy`],
//! [`ConnectProxy`], [`Authority`]); what goes through ([`Events`]); and the protocol's vectors ([`vectors`]).
//!
//! Everything here panics rather than returning an error: a test that cannot be set up has failed. The
//! message says what was attempted and what was found.
//!
//! Invariants checked from here, whatever the test is about: I8 (a batch's id comes with the same events
//! every time; nothing arrives twice unless the test says so), I3 (nothing arrives of a tool that the test
//! did not announce).

mod eventually;

mod home;
mod programs;
mod running;

mod ctl;
mod daemon;

mod tool;

mod collector;
mod port;

mod connect_proxy;
mod proxy;
mod tls;

mod events;

pub mod vectors;

pub use collector::{Collector, CollectorBuilder};
pub use connect_proxy::{ConnectProxy, Manners};
pub use ctl::Ctl;
pub use daemon::{Daemon, DaemonBuilder};
pub use events::{Events, Line};
pub use eventually::{DEADLINE, Deadline, eventually, eventually_async};
pub use home::Home;
pub use port::Port;
pub use programs::{telemetryctl, telemetryd};
pub use proxy::{Fault, Proxy};
pub use running::{Exit, Running};
pub use tls::{Authority, Flaw, Identity};
pub use tool::{Heard, Tool};

/// What the endpoint is made of: scripts, requests, memory.
pub use telemetry_sink as sink;
