//! What is measured, one file a scenario.

pub(crate) mod admission;

pub(crate) mod limits;

pub(crate) mod throughput;

pub(crate) mod manifest;

pub(crate) mod latency;

pub(crate) mod idle;

pub(crate) mod drain;
pub(crate) mod start;

pub(crate) mod crash;
pub(crate) mod kill;

pub(crate) mod neighbours;

pub(crate) mod fleet;
pub(crate) mod hostile;

use std::path::PathBuf;

use anyhow::Result;

use crate::daemon::{Home, Settings};
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
    /// Where `fleet` draws.
    pub(crate) plot: Option<PathBuf>,
    /// Rows of `crash` whose name contains this.
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

    /// The rounds that were asked for, or the scale's.
    pub(crate) fn rounds(&self, otherwise: usize) -> usize {
        self.rounds.map_or(otherwise, |rounds| rounds as usize)
    }
}
