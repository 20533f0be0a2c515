//! The outer doors, tried with real processes: the built `telemetryd` and `telemetryctl`, real sockets, real endpoints,
//! each test in a home of its own. Nothing here knows the inside of a program; what the pages promise is asked for as a
//! stranger would ask.
//!
//! Build both programs first: `cargo build -p telemetryd -p telemetryctl`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod stage;
mod terminal;
#[cfg(target_os = "linux")]
mod traced;

mod vectors;

mod brought;
mod captures;
mod clickhouse;
mod delivery;
#[cfg(target_os = "linux")]
mod differences;
mod network;
#[cfg(target_os = "linux")]
mod offline;
mod receiver;
mod secrets;

mod authors;
#[cfg(target_os = "linux")]
mod calls;
mod clients;
mod consent;
mod ctl;
mod erased;
#[cfg(target_os = "linux")]
mod gate;
mod manifests;
mod notices;
#[cfg(target_os = "linux")]
mod opt_out_system;
#[cfg(target_os = "linux")]
mod opt_outs;
mod orders;
mod redacted;
mod seeds;
mod tools;

mod gateway;

mod disk;
mod faults;
mod identities;
#[cfg(target_os = "linux")]
mod idle;
mod kill;
mod life;
#[cfg(target_os = "linux")]
mod on_demand;
mod spool;
mod state_files;

#[cfg(target_os = "linux")]
mod system;
#[cfg(target_os = "linux")]
mod unasked;
