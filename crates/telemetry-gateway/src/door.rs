//! The door that the lines go through. It is telemetryd's: what the socket's lines go through as well.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::answer::Refused;
use crate::settings::{Limits, Settings};

/// Who sends: by the socket's credentials, or by the kernel's tables of sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// The process, where one was found.
    pub pid: Option<i32>,
    /// Of each process that holds the peer's socket, the variables that the door wants, as they were when it was
    /// started. Empty where they cannot be read.
    pub environments: Vec<Vec<(String, String)>>,
}

/// Lines of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Whose events they are.
    pub tool: String,
    /// One event each, without a newline, never a request of control.
    pub lines: Vec<Vec<u8>>,
    /// The sender shows the tool's notice itself.
    pub shows_notice: bool,
}

/// Where event lines go.
pub trait Door: Send + Sync + 'static {
    /// Held for as long as a connection is open.
    type Guest: Send;

    /// A connection was opened, by this user where the socket says so. `None`: it has as many as it may, and this one
    /// is closed.
    fn arrived(&self, uid: Option<u32>) -> Option<Self::Guest>;

    /// The settings in force.
    fn settings(&self) -> Arc<Settings>;

    /// The limits in force.
    fn limits(&self) -> Limits;

    /// The user whose requests alone are taken; `None`: everybody's.
    fn owner(&self) -> Option<u32>;

    /// A clock in milliseconds that only goes forward.
    fn now_ms(&self) -> u64;

    /// The variables of a peer's environment that may matter.
    fn variables(&self) -> BTreeSet<String>;

    /// Whether the manifest of `tool` lists this event by its name.
    fn lists(&self, uid: u32, tool: &str, event: &str) -> bool;

    /// Takes all the lines, after their commit (I1), or none of them. What consent declines is taken and not
    /// stored (I3).
    ///
    /// # Errors
    /// Which line was not taken, and why; then none is stored.
    ///
    /// # Cancel safety
    /// Dropped before it answers, the lines may have been stored or not.
    fn take(&self, peer: &Peer, lines: Lines) -> impl Future<Output = Result<(), Refused>> + Send;
}
