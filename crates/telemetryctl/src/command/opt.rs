//! `opt-out` and `opt-in`: short for `consent deny` and `consent allow`.

use clap::Args;

use crate::Context;
use crate::command::consent::change::{Change, Word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

/// Forbid sending, and erase what is queued
#[derive(Debug, Args)]
pub(crate) struct OptOut {
    #[command(flatten)]
    change: Change,
}

/// Allow sending again
#[derive(Debug, Args)]
pub(crate) struct OptIn {
    #[command(flatten)]
    change: Change,
}

impl OptOut {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        self.change.run(Word::Deny, context, screen)
    }
}

impl OptIn {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        self.change.run(Word::Allow, context, screen)
    }
}
