//! Batches of events to HTTP endpoints: the shape of the body, the request, what the answer means, and when
//! to try again. Sees no rows, no leases, no database.
//!
//! [`Client::send`] makes one request of one [`Batch`] and says in a [`Report`] how it ended; the decisions
//! are two pure functions, [`verdict()`] (whether to try again) and [`backoff()`] (when).
//!
//! Keeps I3 (a [`Gate`] is asked before dialling, at a proxy, and before the first byte), I6 (time, answer and headers
//! are bounded), I8 (the batch's id goes with each request), I9 (no clock is read here; randomness comes in
//! as a seed) and I11 (after [`Client::rest`] there is no connection, no timer and no task).

mod backoff;
mod encode;
mod error;
mod http;
mod mask;
mod meta;
mod preview;
mod report;
mod retry_after;
mod types;
mod verdict;

pub use backoff::{RETRY_AFTER_MAX, RETRY_AFTER_MIN, backoff, spread};
pub use encode::{Bound, Encoded, Limits, VERSION, encode, limits, may_outgrow, size_bound};
pub use error::BuildError;
pub use http::{ANSWER_MAX, Client, Gate, Probe, Probed, Step, check_proxy, read_whole, tls_problems};
pub use meta::Meta;
pub use preview::{Preview, preview};
pub use report::{ANSWER_KEPT, DETAIL_MAX, Report};
pub use retry_after::retry_after;
pub use types::*;
pub use verdict::{Answer, Cause, Exchange, HoldReason, Verdict, verdict};
