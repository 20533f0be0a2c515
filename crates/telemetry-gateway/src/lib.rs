//! HTTP in, for SDKs that exist already: a request becomes event lines (PROTOCOL, "event") and is handed to a door.
//!
//! The pure half is `dialect/`: a body in, lines out, one file for each dialect. The other half is the server and
//! what it asks before it believes a request: where it was meant for, who sent it, how large it is, how long it
//! takes (I6). Nothing is known here of the queue, of consent or of manifests: the [`Door`] is the same that lines
//! from the socket go through.

mod answer;
mod body;
mod check;
pub mod dialect;
mod door;
mod pace;
mod peers;
mod request;
mod server;
mod settings;

pub use self::answer::Refused;
pub use self::door::{Door, Lines, Peer};
pub use self::server::{Listener, serve};
pub use self::settings::{Key, Limits, Listen, Settings};
