//! The Rust client of telemetryd: how a process asks for consent, finds the daemon and talks to it.
//!
//! Read in this order: what the process's environment says ([`surroundings`]), what the admin's and the
//! user's files say ([`files`], [`consent`]), what the user has to be shown first ([`notice`]), the way to
//! the daemon ([`connect`]) and the lines that go over it ([`connection`]). Where the process runs is told
//! by [`context`].
//!
//! ```no_run
//! use std::time::Duration;
//! use telemetry_client::{Gathered, Question, RealFiles, Surroundings, clock, connect};
//!
//! let surroundings = Surroundings::of_this_process(None);
//! let consent = Gathered::gather(&surroundings, &RealFiles);
//! let question = Question { tool: "kedro", ..Question::default() };
//! if consent.denial(&question, &RealFiles).is_none() {
//!     let deadline = clock::after(Duration::from_millis(100));
//!     let mut daemon = connect::connect(&surroundings.sockets.candidates(), deadline)?;
//!     daemon.send(b"{\"tool\":\"kedro\",\"event\":\"ran\",\"ack\":\"none\"}\n", deadline)?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! I10: nothing here blocks past the deadline that it is given, panics, prints or changes an exit code.

pub mod context;
pub mod surroundings;

pub mod consent;
pub mod files;
pub mod notice;

pub mod connect;
pub mod connection;

pub mod clock;

pub use connect::ConnectError;
pub use connection::{Connection, TalkError};
pub use consent::{Gathered, Question};
pub use context::Context;
pub use files::RealFiles;
pub use notice::Notice;
pub use surroundings::Surroundings;
