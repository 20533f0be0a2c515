//! `sent`: what has left this machine, when, where to, and with which answer.

use clap::Args;
use serde_json::{Value, json};

use crate::Context;
use crate::daemon::{Daemon, word};
use crate::everybody::Everybody;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::words::{bytes, moment, plain};

/// List what was delivered: when, where to, with which answer
#[derive(Debug, Args)]
pub(crate) struct Sent {
    /// Only the last N batches
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: u64,
    /// Only batches with events of this tool
    #[arg(long, value_name = "TOOL")]
    tool: Option<String>,
    /// With the bodies, where they are kept (queue.sent_log)
    #[arg(long)]
    bodies: bool,
    #[command(flatten)]
    everybody: Everybody,
}

impl Sent {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let request = json!({ "op": "sent", "limit": self.last, "tool": self.tool, "bodies": self.bodies });
        let request = self.everybody.ask(request);
        let mut daemon = Daemon::connect(context)?;
        if screen.json {
            daemon.list(&request, |line| Ok(screen.line(&line.text)?))?;
            return Ok(Exit::Done);
        }
        let mut rows = Vec::new();
        let mut bodies = Vec::new();
        daemon.list(&request, |line| {
            let row = &line.value;
            let cells = vec![
                moment(word(row, "at")),
                plain(word(row, "destination")),
                row.get("status").map(Value::to_string).unwrap_or_default(),
                row.get("events").map(Value::to_string).unwrap_or_default(),
                bytes(row.get("bytes").and_then(Value::as_u64).unwrap_or(0)),
                tools(row.get("tools")),
                plain(word(row, "batch_id")),
            ];
            rows.push(self.everybody.cell(row, cells));
            if let Some(body) = row.get("body").and_then(Value::as_str) {
                bodies.push((word(row, "batch_id").to_owned(), body.to_owned()));
            }
            Ok(())
        })?;
        if rows.is_empty() {
            screen.talk("nothing was sent, or it is longer ago than the sent log remembers (queue.sent_log)");
            return Ok(Exit::Done);
        }
        let columns = vec!["at", "destination", "status", "events", "bytes", "tools", "batch"];
        let (columns, numbers) = self.everybody.column(columns, &[3, 4]);
        screen.table(&columns, &numbers, rows)?;
        for (batch, body) in bodies {
            screen.line("")?;
            screen.heading(&plain(&batch))?;
            for line in body.lines() {
                screen.line(&plain(line))?;
            }
        }
        Ok(Exit::Done)
    }
}

/// `kedro 3, dlt 1`.
fn tools(value: Option<&Value>) -> String {
    let Some(Value::Object(tools)) = value else {
        return String::new();
    };
    let list: Vec<String> = tools
        .iter()
        .map(|(tool, count)| format!("{} {count}", plain(tool)))
        .collect();
    list.join(", ")
}
