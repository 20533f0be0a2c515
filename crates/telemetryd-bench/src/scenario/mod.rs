//! What is measured, one file a scenario.

pub(crate) mod admission;

pub(crate) mod limits;

pub(crate) mod throughput;

pub(crate) mod pipeline;

pub(crate) mod manifest;

pub(crate) mod black_hole;
pub(crate) mod latency;

pub(crate) mod idle;

pub(crate) mod drain;
pub(crate) mod growth;
pub(crate) mod start;

pub(crate) mod crash;
pub(crate) mod kill;

pub(crate) mod neighbours;

pub(crate) mod syslog_ng;

pub(crate) mod fleet;

pub(crate) mod hostile;
pub(crate) mod soak;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::daemon::{Home, Settings};
use crate::lines::{Ack, Lines};
use crate::scale::Scale;

/// What every scenario is given.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The daemon.
    pub(crate) daemon: PathBuf,
    /// Where files are kept.
    pub(crate) directory: PathBuf,
    /// How much.
    pub(crate) scale: Scale,
    /// Rounds instead of the scale's.
    pub(crate) rounds: Option<u32>,
    /// How long `soak` goes on instead of the scale's.
    pub(crate) wait: Option<Duration>,
    /// The seed of `soak`; without one, by chance.
    pub(crate) seed: Option<u64>,
    /// Where `fleet` draws.
    pub(crate) plot: Option<PathBuf>,
    /// Where `growth` draws.
    pub(crate) curves: Option<PathBuf>,
    /// Rows of `crash`, `neighbours` and `hostile` whose name contains this.
    pub(crate) only: Option<String>,
    /// The page that `crash` writes its table into.
    pub(crate) write: Option<PathBuf>,
}

impl Bench {
    /// A home for a daemon.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn home(&self, settings: &Settings) -> Result<Home> {
        Home::new(&self.directory, &self.daemon, settings)
    }

    /// What a daemon stores of one line: the row of every bare table.
    ///
    /// # Errors
    /// When the daemon fails.
    pub(crate) fn stored(&self) -> Result<String> {
        // Nothing listens there: the event stays.
        let home = self.home(&Settings::to("http://127.0.0.1:9/"))?;
        let daemon = home.start()?;
        daemon.order(&json!({ "op": "pause" }))?;
        let mut line = Vec::new();
        let id = Lines::new(Ack::Queued).push(&mut line);
        daemon.order(&serde_json::from_slice(&line)?)?;
        let row = daemon.ask(&json!({ "op": "queue", "action": "show", "id": id }))?;
        let stored = row["body"].to_string();
        ensure!(
            row["bytes"] == stored.len(),
            "the daemon says {} bytes of {stored}",
            row["bytes"]
        );
        daemon.term()?;
        Ok(stored)
    }

    /// Whether this row is asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }

    /// The rounds that were asked for, or the scale's.
    pub(crate) fn rounds(&self, otherwise: usize) -> usize {
        self.rounds.map_or(otherwise, |rounds| rounds as usize)
    }
}
