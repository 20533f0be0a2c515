//! The queue's own tests: against a model, against `kill -9`, against every fault that a disk, a clock or another
//! process can make. One program, so that it is linked once.

#![expect(clippy::unwrap_used, reason = "tests may")]

mod check;
mod fairness;
mod faults;
mod held;
mod kill;
mod model;
mod schemas;
mod support;
mod together;
