//! Signals: TERM and INT end, HUP reloads, USR1 flushes; HUP and USR1 from the process's first moment on, TERM and INT from
//! where there is something to end, though nobody can listen yet.

use std::io;
use std::os::raw::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::{flag, low_level};
use signal_hook_tokio::Signals;

use crate::failure::Failure;

/// The system does not let this process hear a signal.
#[must_use]
pub fn unheard(error: io::Error) -> Failure {
    Failure::Failed(format!("cannot take signals over: {error}"))
}

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

/// The signals until somebody listens: what comes is remembered. An admin's `killall -HUP` or a rotation of logs comes when
/// it comes, and by default it ends a process.
#[derive(Debug)]
pub struct Early {
    end: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    flush: Arc<AtomicBool>,
    heard: Vec<SigId>,
}

impl Early {
    /// HUP and USR1 end this process no more, whatever it is going to do.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn hear() -> io::Result<Self> {
        let mut early = Self {
            end: Arc::default(),
            reload: Arc::default(),
            flush: Arc::default(),
            heard: Vec::new(),
        };
        for (signal, came) in [(SIGHUP, &early.reload), (SIGUSR1, &early.flush)] {
            early.heard.push(flag::register(signal, Arc::clone(came))?);
        }
        Ok(early)
    }

    /// TERM and INT are remembered too, for [`has_to_end`](Self::has_to_end); the second one ends the process at once, with
    /// exit code 0.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn hear_the_end(&mut self) -> io::Result<()> {
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first one finds that none was before it.
            let second = flag::register_conditional_shutdown(signal, DONE, Arc::clone(&self.end))?;
            let first = flag::register(signal, Arc::clone(&self.end))?;
            self.heard.extend([second, first]);
        }
        Ok(())
    }

    /// Whether TERM or INT has come.
    #[must_use]
    pub fn has_to_end(&self) -> bool {
        self.end.load(Ordering::SeqCst)
    }

    /// What came, the last to be carried out first. Nothing more is remembered.
    fn forget(self) -> Vec<Signal> {
        for signal in self.heard {
            low_level::unregister(signal);
        }
        let all = [
            (self.flush, Signal::Flush),
            (self.reload, Signal::Reload),
            (self.end, Signal::End),
        ];
        let came = all.into_iter().filter(|(came, _)| came.load(Ordering::SeqCst));
        came.map(|(_, signal)| signal).collect()
    }
}

/// The exit code of a daemon that ends because it was told to (CLI.md).
const DONE: c_int = 0;

/// The daemon's signals, from now on.
pub struct Listener {
    signals: Signals,
    /// What came before.
    came: Vec<Signal>,
}

impl Listener {
    /// Takes the signals over. Needs the runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new(early: Early) -> io::Result<Self> {
        // First this and then that: what comes between is heard twice.
        let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
        let came = early.forget();
        Ok(Self { signals, came })
    }

    /// The next that asks for the end; others are not heard any more. Cancel safe.
    pub async fn end(&mut self) {
        while self.next().await != Signal::End {}
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) -> Signal {
        if let Some(came) = self.came.pop() {
            return came;
        }
        loop {
            match self.signals.next().await {
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
