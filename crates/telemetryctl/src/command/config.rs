//! `config`: the daemon's settings. The daemon's program reads and checks them; here nothing is parsed.

use clap::{Args, Subcommand};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::programs;
use crate::screen::Screen;

/// Check or show the daemon's configuration
#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Action {
    /// Check everything that starting would check, and print every problem
    Check,
    /// Print the effective settings, each with where it came from
    Show,
    /// Print the commented sample with every key at its default
    Default,
}

/// The reference: a test holds it to the code.
const SAMPLE: &str = include_str!("../../../../config/telemetryd.toml");

impl Config {
    pub(crate) fn run(self, screen: &mut Screen) -> Result<Exit, Failure> {
        match (self.action, screen.json) {
            (Action::Check, _) => programs::run(&["--check-config"]),
            (Action::Show, false) => programs::run(&["--show-config"]),
            (Action::Show, true) => programs::run(&["--show-config", "--json"]),
            (Action::Default, _) => {
                screen.raw(SAMPLE.as_bytes())?;
                Ok(Exit::Done)
            }
        }
    }
}
