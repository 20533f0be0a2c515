//! The limits of the machine: the same work without a daemon.

pub(crate) mod socket;
pub(crate) mod table;

pub(crate) mod pipeline;
