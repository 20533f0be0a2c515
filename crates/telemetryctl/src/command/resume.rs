//! `resume`: sending goes on after a `pause`.

use clap::Args;
use serde_json::json;

use crate::Context;
use crate::daemon::{Daemon, PATIENCE};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;

/// Go on sending after a pause
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// Resume this destination alone
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
}

impl Resume {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let request = json!({ "op": "resume", "destination": self.destination });
        let answer = Daemon::connect(context)?.ask(&request, PATIENCE)?;
        if screen.json {
            screen.line(&answer.without("ok"))?;
        } else {
            let whom = self.destination.unwrap_or_else(|| "all destinations".to_owned());
            screen.talk(&format!("resumed: {whom}"));
        }
        Ok(Exit::Done)
    }
}
