//! What the gateway is told: where it listens, which key is whose, how much one client may take.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where it listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    #[default]
    Off,
    /// On an address of loopback.
    Tcp(SocketAddr),
    /// On a Unix socket.
    Unix(PathBuf),
}

/// Whose key it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The tool that it names.
    pub tool: String,
    /// What sends with this key shows the tool's notice itself.
    pub shows_notice: bool,
}

/// What it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens.
    pub listen: Listen,
    /// Which key names which tool.
    pub keys: BTreeMap<String, Key>,
    /// Hosts, with their ports, whose requests are taken too (what a client sends that was told of a proxy).
    pub proxy_hosts: Vec<String>,
}

/// What all clients together, and one of them, may take (I6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; who comes then waits in the backlog.
    pub connections: usize,
    /// Bytes of a body, as it comes and again as it is unpacked.
    pub body: usize,
    /// How long a request's head may take, and then its body.
    pub patience: Duration,
    /// How long a connection may be kept.
    pub life: Duration,
}
