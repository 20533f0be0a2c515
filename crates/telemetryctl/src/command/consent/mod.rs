//! `consent`: what was decided about each tool and why, and the user's own word.

mod ask;
mod ask_project;
pub(crate) mod change;
pub(crate) mod explain;
mod file;
pub(crate) mod log;
mod machine;
pub(crate) mod notice;
pub(crate) mod spool;
pub(crate) mod told;

use clap::{Args, Subcommand};

use crate::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

use change::{Change, Word};
use explain::Which;

/// Show, explain and change what may be sent
#[derive(Debug, Args)]
pub(crate) struct Consent {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show for each tool whether it is on or off, and by whom
    Show(Which),
    /// Explain a decision: every layer's word, and which one decides
    Explain(Which),
    /// Allow sending
    Allow(Change),
    /// Forbid sending, and erase what is queued
    Deny(Change),
    /// Forget what was said, so that the default holds again
    Reset(Change),
    /// Ask at the terminal, and record the answer
    Ask(ask::Ask),
    /// List every change: when, by what, and how much was erased for it
    Log(log::Log),
}

impl Consent {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        match self.action {
            Action::Show(which) => which.show(context, screen),
            Action::Explain(which) => which.explain(context, screen),
            Action::Allow(change) => change.run(Word::Allow, context, screen),
            Action::Deny(change) => change.run(Word::Deny, context, screen),
            Action::Reset(change) => change.run(Word::Reset, context, screen),
            Action::Ask(ask) => ask.run(context, screen),
            Action::Log(log) => log.run(context, screen),
        }
    }
}
