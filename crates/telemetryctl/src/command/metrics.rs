//! `metrics`: the daemon's numbers, for a collector.

use clap::Args;
use serde_json::json;

use crate::Context;
use crate::daemon::{Daemon, PATIENCE};
use crate::everybody::Everybody;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

/// Print the daemon's metrics as OpenMetrics text
#[derive(Debug, Args)]
pub(crate) struct Metrics {
    #[command(flatten)]
    everybody: Everybody,
}

impl Metrics {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let answer =
            Daemon::connect(context)?.ask(&self.everybody.ask(json!({ "op": "metrics" })), PATIENCE)?;
        if screen.json {
            screen.line(&answer.without("ok"))?;
        } else {
            screen.raw(answer.word("text").as_bytes())?;
        }
        Ok(Exit::Done)
    }
}
