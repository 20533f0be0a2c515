//! The durable queue: SQLite, one file, one owner, one writing thread (I7).
//!
//! The queue stores bytes and the keys it sorts by; it never learns what an event means.
//! Everything that callers may say to it, and everything it says back, is in [`types`]; how they say it is
//! in [`handle`]. [`open`] gives a [`Queue`] to speak through and an [`Owner`] to close it with.

mod handle;
mod open;
mod types;

mod command;
mod dedupe;
mod error;
mod file;
mod integrity;
mod lock;
mod ranges;
mod reserve;
mod salvage;
mod schema;
mod segment;
mod store;
mod writer;

pub use handle::{Owner, Queue};
pub use open::open;
pub use types::*;
