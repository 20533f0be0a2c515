//! The Rust client of telemetryd: how a process asks for consent, finds the daemon and talks to it.
//!
//! A tool needs [`Client`] alone: its manifest, three lines, and an event is with the daemon of its user or of the machine,
//! if consent says nothing against it.
//!
//! ```no_run
//! use telemetry_client::Client;
//!
//! # const MANIFEST: &str = "name = \"mytool\"\nevents = \"any\"\n"; /*
//! const MANIFEST: &str = include_str!("telemetry.toml");
//! # */
//! let telemetry = Client::from_manifest(MANIFEST).version(env!("CARGO_PKG_VERSION"));
//! telemetry.event("ran").prop("files", 3).send();
//! ```
//!
//! Below it, in the order in which an event goes its way: what the process's environment says ([`surroundings`]), what
//! the admin's and the user's files say ([`files`], [`consent`]), what the user has to be shown first ([`notice`]), where
//! the process runs ([`context`]), the way to the daemon ([`connect`]) and the lines that go over it ([`connection`]).
//!
//! I10: nothing here blocks past the deadline that it is given, panics, prints or changes an exit code.

mod client;
mod event;
mod leave;
mod newer;
mod seen;
mod spool;
mod start;

pub mod context;
pub mod surroundings;

pub mod consent;
pub mod files;
pub mod notice;

pub mod connect;
pub mod connection;

pub mod clock;

pub use client::{Client, DEADLINE, Masked};
pub use connect::ConnectError;
pub use connection::{Connection, TalkError};
pub use consent::{Gathered, Question};
pub use context::Context;
pub use event::{Event, Sent};
pub use files::RealFiles;
pub use leave::Unheard;
pub use notice::Notice;
pub use surroundings::Surroundings;
