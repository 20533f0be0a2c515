//! The room between the queue and the endpoints, alone: real files, a real queue and real connections, and a clock or a
//! disk that the test has in hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod orders;
mod parked;
mod stage;
mod suspend;
