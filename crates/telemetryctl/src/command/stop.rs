//! `stop`: the daemon delivers what it can for a while, then ends. This command waits until it has ended,
//! so that whoever starts another one meets no lock.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use telemetry_client::TalkError;

use crate::Context;
use crate::daemon::{Daemon, PATIENCE};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::words;

/// Let the daemon deliver what it can, and end it
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Deliver for at most so long; default: daemon.shutdown_drain of the configuration
    #[arg(long, value_name = "DURATION", value_parser = words::duration)]
    drain: Option<Duration>,
}

/// The longest that is waited where the configuration says how long draining takes: its largest value.
const LONGEST_DRAIN: Duration = Duration::from_secs(10 * 60);

impl Stop {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let mut daemon = Daemon::connect(context)?;
        let request = json!({ "op": "stop", "drain_ms": self.drain.map(words::millis) });
        let answer = daemon.ask(&request, PATIENCE)?;
        let patience = self.drain.unwrap_or(LONGEST_DRAIN).saturating_add(PATIENCE);
        loop {
            match daemon.receive(patience) {
                Ok(_) => {}
                Err(TalkError::TimedOut) => {
                    return Err(Failure::new(Exit::TimedOut, "telemetryd is still draining"));
                }
                Err(_) => break,
            }
        }
        if screen.json {
            screen.line(&answer.without("ok"))?;
        } else {
            screen.talk("stopped");
        }
        Ok(Exit::Done)
    }
}
