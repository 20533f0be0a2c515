//! The words that tools, the daemon and `telemetryctl` have in common.
//!
//! Read in this order: what a line may be ([`json`], [`event`], [`request`]), what is answered
//! ([`answer`], [`reason`]), who may be asked ([`consent`], [`place`]), and how large things may
//! get ([`limits`]). Nothing here does I/O, waits, or reads a clock.

pub mod answer;
pub mod consent;
pub mod consent_log;
pub mod event;
pub mod foreign;
pub mod json;
pub mod limits;
pub mod map;
pub mod mask;
pub mod place;
pub mod reason;
pub mod request;
pub mod spool;
pub mod time;

/// The protocol's major version, said in `hello`.
pub const PROTOCOL: u32 = 1;
