//! `tail`: what happens to events, live, a line each.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use telemetry_client::TalkError;

use crate::Context;
use crate::daemon::{Daemon, Line, PATIENCE, accepted, word};
use crate::everybody::Everybody;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::{GREEN, RED, Screen, YELLOW, styled};
use crate::words::plain;

/// Show what happens to events, live
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Only events of this tool
    #[arg(long, value_name = "TOOL")]
    tool: Option<String>,
    #[command(flatten)]
    everybody: Everybody,
}

/// Until somebody closes: nobody watches for longer.
const ENDLESS: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Tail {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let mut daemon = Daemon::connect(context)?;
        let request = format!(
            "{}\n",
            self.everybody.ask(json!({ "op": "tail", "tool": self.tool }))
        );
        daemon
            .send(request.as_bytes(), PATIENCE)
            .map_err(|error| daemon.broken("tail", &error))?;
        loop {
            match daemon.receive(ENDLESS) {
                Ok(line) if line.value.contains_key("ok") => {
                    accepted(line)?;
                }
                Ok(line) => {
                    if screen.json {
                        screen.line(&line.text)?;
                    } else {
                        screen.line(&shown(&line))?;
                    }
                    screen.flush()?;
                }
                Err(TalkError::Closed) => {
                    return Err(
                        Failure::new(Exit::NoDaemon, "telemetryd has closed the connection")
                            .hint("it has stopped, or this program read too slowly"),
                    );
                }
                Err(error) => return Err(daemon.broken("tail", &error)),
            }
        }
    }
}

/// `10:00:05 accepted   kedro  CLI command  019aa6c2-…`.
fn shown(line: &Line) -> String {
    let what = line.word("what");
    let style = match what {
        "accepted" | "delivered" => GREEN,
        "parked" | "refused" => RED,
        _ => YELLOW,
    };
    let time = line.word("at").get(11..19).unwrap_or_default();
    let mut text = format!(
        "{time} {} {}",
        styled(style, &format!("{what:<10}")),
        plain(line.word("tool"))
    );
    for key in ["event", "id", "by", "source", "destination", "batch_id"] {
        let value = word(&line.value, key);
        if !value.is_empty() {
            let name = match key {
                "by" => "by ",
                "destination" => "-> ",
                "batch_id" => "batch ",
                _ => "",
            };
            text.push_str(&format!("  {name}{}", plain(value)));
        }
    }
    // The author of a tool reads this: what did not fit the manifest, and why.
    for removed in line
        .value
        .get("removed")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let said = |key: &str| removed.get(key).and_then(Value::as_str).unwrap_or_default();
        let why = match (said("expected"), said("found")) {
            ("", _) => said("why").replace('_', " "),
            (expected, found) => format!("expected {expected}, found {found}"),
        };
        text.push_str(&format!(
            "\n         removed    {}: {}",
            plain(said("name")),
            plain(&why)
        ));
    }
    if let Some(masked) = line.value.get("masked").and_then(Value::as_u64) {
        let many = crate::words::counted(masked, "text");
        text.push_str(&format!(
            "\n         masked     secrets, paths or names in {many}"
        ));
    }
    if let Some(uid) = line.value.get("uid") {
        text.push_str(&format!("  uid {uid}"));
    }
    if let Some(events) = line.value.get("events").and_then(Value::as_u64) {
        text.push_str(&format!("  {}", crate::words::counted(events, "event")));
    }
    text
}
