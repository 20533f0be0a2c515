//! Signals: TERM and INT end, HUP reloads, USR1 flushes.

use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_tokio::Signals;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// TERM or INT: drain and leave; the second time, leave at once.
    End,
    /// HUP.
    Reload,
    /// USR1.
    Flush,
}

/// The daemon's signals, from now on.
pub struct Listener(Signals);

impl Listener {
    /// Takes the signals over. Needs the runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> std::io::Result<Self> {
        Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]).map(Self)
    }

    /// The next that asks for the end; others are not heard any more. Cancel safe.
    pub async fn end(&mut self) {
        while self.next().await != Signal::End {}
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        loop {
            match self.0.next().await {
                Some(SIGTERM | SIGINT) => return Signal::End,
                Some(SIGHUP) => return Signal::Reload,
                Some(SIGUSR1) => return Signal::Flush,
                Some(_) => {}
                // Never: the handle is held by `self`.
                None => std::future::pending().await,
            }
        }
    }
}
