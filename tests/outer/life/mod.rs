//! A daemon's life: signals, flags, the socket, one owner of a queue, and how it ends.

mod activation;
mod jobs;
#[cfg(target_os = "linux")]
mod lock;
mod owner;
mod signals;
mod socket;
