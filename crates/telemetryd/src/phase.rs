//! Running, then closing the door, then draining, then stopping: one word that everybody watches.

use std::time::Duration;

use tokio::sync::watch;

/// Where the daemon is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Takes events and sends them.
    Running,
    /// Takes nothing new; what has reached the socket is still processed.
    Closing,
    /// Everything is in the queue; one attempt for what waits.
    Draining,
    /// Everybody leaves.
    Stopping,
}

impl Phase {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Closing | Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}

/// The end of the pen: whoever may end the daemon's life holds one.
#[derive(Clone, Debug)]
pub struct Ender {
    phase: watch::Sender<Phase>,
    drain: watch::Sender<Option<Duration>>,
}

/// The reading end.
pub type PhaseReader = watch::Receiver<Phase>;

impl Ender {
    /// A life that begins.
    #[must_use]
    pub fn new() -> (Self, PhaseReader) {
        let (phase, reader) = watch::channel(Phase::Running);
        let (drain, _) = watch::channel(None);
        (Self { phase, drain }, reader)
    }

    /// Asks for the end: drain for at most `limit` (`None`: as the config says). Asked once more while
    /// draining, it ends at once.
    pub fn end(&self, limit: Option<Duration>) {
        self.phase.send_modify(|phase| {
            if *phase == Phase::Running {
                if limit.is_some() {
                    self.drain.send_replace(limit);
                }
                *phase = Phase::Closing;
            } else {
                *phase = Phase::Stopping;
            }
        });
    }

    /// All that came is in the queue.
    pub fn drain(&self) {
        self.phase.send_if_modified(|phase| {
            let closing = *phase == Phase::Closing;
            if closing {
                *phase = Phase::Draining;
            }
            closing
        });
    }

    /// Draining is over.
    pub fn stop(&self) {
        self.phase.send_replace(Phase::Stopping);
    }

    /// The drain limit that was asked for.
    #[must_use]
    pub fn drain_limit(&self) -> Option<Duration> {
        *self.drain.borrow()
    }
}

/// Waits until the phase is `at_least`. Cancel safe.
pub async fn reached(reader: &mut PhaseReader, at_least: Phase) {
    // The sender lives as long as the daemon; if it is gone, so is everything.
    let _ = reader.wait_for(|phase| *phase >= at_least).await;
}
