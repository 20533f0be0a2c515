//! `pause`: nothing is sent for a while; events are still taken.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::Context;
use crate::daemon::{Daemon, PATIENCE};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::words;

/// Stop sending; events are still queued
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Go on by itself after so long, e.g. 2h
    #[arg(long = "for", value_name = "DURATION", value_parser = words::duration)]
    hold: Option<Duration>,
    /// Pause this destination alone
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
}

impl Pause {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let request = json!({
            "op": "pause",
            "destination": self.destination,
            "for_ms": self.hold.map(words::millis),
        });
        let answer = Daemon::connect(context)?.ask(&request, PATIENCE)?;
        if screen.json {
            screen.line(&answer.without("ok"))?;
            return Ok(Exit::Done);
        }
        let whom = self.destination.unwrap_or_else(|| "all destinations".to_owned());
        let until = match self.hold {
            Some(hold) => format!(
                "for {}",
                words::span(i64::try_from(hold.as_millis()).unwrap_or(i64::MAX))
            ),
            None => "until 'telemetryctl resume'".to_owned(),
        };
        screen.talk(&format!("paused: {whom} {until}; events are still queued"));
        Ok(Exit::Done)
    }
}
