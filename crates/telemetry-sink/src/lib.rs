//! The endpoint that plays the other side of telemetryd: real HTTP/1.1 and HTTP/2, decoders for every
//! encoding that the daemon speaks, a memory of what came, and scripts of misbehaviour.
//!
//! It stands behind `telemetryctl sink`, `telemetryctl demo`, the tests and the bench, and is never linked
//! into the daemon. Everything it touches is passed in: the bound listener, the script, the certificate.
//! There are no globals, so that any number of sinks live in one process.
//!
//! A request goes through these rooms in the order of the module lines below: [`serve`] reads it from a
//! [`wire`] that can fail on purpose, [`mod@decode`] makes a [`Received`] of it, the [`script`] decides what
//! becomes of it, the [`memory`] keeps it, `answer` writes the reply, and [`render`](Received::render)
//! shows it to a person.
//!
//! Invariants kept here: I6 (body, connections, memory and headers are bounded). The sink is where the
//! others are checked from: I3 (what must not come), I8 (ids seen twice, batches repeated).

mod sink;

mod serve;
mod tls;
mod wire;

pub mod decode;
pub mod received;

pub mod script;

pub mod memory;

mod answer;
mod render;

mod clock;

pub use decode::{Head, Undecodable, decode};
pub use memory::{Counts, Keep, Memory, Seen};
pub use received::{Answer, Content, Encoding, Losses, Received};
pub use script::{Action, Deduplicate, Echo, Reply, Script, ScriptError, Step, When};
pub use serve::{MAX_BODY, MAX_CONNECTIONS};
pub use sink::{Handle, OnRequest, Sink, SinkThread};
pub use tls::{Tls, TlsError};
