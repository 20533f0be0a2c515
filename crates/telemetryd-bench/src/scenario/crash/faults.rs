//! The faults: each is made, lasts, and ends with a daemon that runs.

pub(super) mod process;

pub(super) mod disk;
pub(super) mod files;

pub(super) mod time;

pub(super) mod endpoint;
