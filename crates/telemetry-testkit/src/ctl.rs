//! `telemetryctl` as a person runs it, in a test's home.

use std::ffi::OsStr;

use crate::eventually::DEADLINE;
use crate::home::Home;
use crate::programs;
use crate::running::{Exit, Running};

/// The command line in one home.
#[derive(Clone, Debug)]
pub struct Ctl {
    home: Home,
}

impl Ctl {
    /// In that home.
    #[must_use]
    pub fn new(home: &Home) -> Self {
        Self { home: home.clone() }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it was not built, or has not ended within [`DEADLINE`].
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Exit {
        self.spawn(args, None).wait(DEADLINE)
    }

    /// Runs it to its end with something on its stdin.
    ///
    /// # Panics
    /// When it was not built, or has not ended within [`DEADLINE`].
    #[track_caller]
    pub fn run_with<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, stdin: &[u8]) -> Exit {
        self.spawn(args, Some(stdin)).wait(DEADLINE)
    }

    /// Runs it to its end, which must be a good one, and gives its stdout.
    ///
    /// # Panics
    /// When it was not built, or does not exit 0 within [`DEADLINE`].
    #[track_caller]
    pub fn ok<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Exit {
        self.run(args).expect_code(0)
    }

    /// Starts it: `tail`, `sink`.
    ///
    /// # Panics
    /// When it was not built.
    #[must_use]
    pub fn spawn<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, stdin: Option<&[u8]>) -> Running {
        let mut command = self.home.command(programs::telemetryctl());
        command.args(args);
        Running::start(command, stdin)
    }
}
