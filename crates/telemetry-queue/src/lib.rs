//! The durable queue: SQLite, one file, one owner, one writing thread (I7).
//!
//! The queue stores bytes and the keys it sorts by; it never learns what an event means.
//! Everything that callers may say to it, and everything it says back, is in `types`; how they say it is in `handle`.
//! [`open()`] gives a [`Queue`] to speak through and an [`Owner`] to close it with.
//!
//! Below that, from the caller to the disk: `command` travels to the `writer` thread, which does groups of them in
//! one transaction each through the `store` (one verb a file); events lie in `segment`s. `open`, `file`, `schema`,
//! `lock`, `salvage` and `integrity` see to it that starting always succeeds, `reserve` that a full disk stops
//! nothing but new events.

mod handle;
mod open;
mod types;

mod command;
mod dedupe;
mod error;
mod file;
mod integrity;
mod lock;
mod owner;
mod ranges;
mod reserve;
mod salvage;
mod schema;
mod segment;
mod store;
mod writer;

pub use handle::Queue;
pub use open::open;
pub use owner::Owner;
pub use types::*;
