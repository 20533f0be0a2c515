//! `forget`: erases the queue, the log of what was sent and the identity, after showing the ids and whom to write to about
//! what was sent already: that is beyond our reach.

use clap::Args;
use serde_json::{Map, Value, json};

use super::consent::change;
use super::identity;
use crate::Context;
use crate::daemon::{Daemon, PATIENCE, word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::words::{counted, plain};

/// Erase what is queued, what is known about what was sent, and the ids
#[derive(Debug, Args)]
#[command(after_long_help = ABOUT)]
pub(crate) struct Forget {
    /// Of this tool alone
    #[arg(long, value_name = "TOOL", value_parser = change::tool)]
    tool: Option<String>,
}

const ABOUT: &str = "\
What was sent is at its endpoint: the ids and whom to write to are shown before they are erased here. What was said about \
consent stays; 'telemetryctl opt-out' keeps more from being collected.";

impl Forget {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let mut daemon = Daemon::connect(context)?;
        let ids = identity::of(&mut daemon, self.tool.as_deref())?;
        let contacts = contacts(&mut daemon, self.tool.as_deref())?;
        if !screen.json {
            identity::show(&ids, screen)?;
            for (tool, contact) in &contacts {
                screen.line(&plain(&format!("about what {tool} has sent, write to {contact}")))?;
            }
            // Seen before it is gone.
            screen.flush()?;
        }
        let request = json!({ "op": "forget", "tool": self.tool });
        // Erasing a large queue takes its time.
        let receipt = daemon.ask(&request, PATIENCE * 12)?.value;
        if screen.json {
            let contacts: Map<String, Value> = contacts
                .into_iter()
                .map(|(tool, contact)| (tool, contact.into()))
                .collect();
            let known = |key: &str| receipt.get(key).cloned().unwrap_or(Value::Null);
            screen.value(&json!({
                "ids": ids, "contacts": contacts, "purged": known("purged"), "sent": known("sent"),
                "sent_bodies": known("sent_bodies"), "identities": known("identities"),
                "cancelled": known("cancelled"), "reached": known("reached"), "not_reached": known("not_reached"),
            }))?;
            return Ok(Exit::Done);
        }
        let number = |key: &str| receipt.get(key).and_then(Value::as_u64).unwrap_or(0);
        let what = [
            counted(number("purged"), "queued event"),
            match number("sent") {
                1 => "1 entry of the log of what was sent".to_owned(),
                count => format!("{count} entries of the log of what was sent"),
            },
            match number("identities") {
                1 => "1 identity".to_owned(),
                count => format!("{count} identities"),
            },
        ];
        screen.line(&format!("erased: {}", what.join(", ")))?;
        if number("cancelled") > 0 {
            screen.line(&format!("cancelled: {}", counted(number("cancelled"), "request")))?;
        }
        Ok(Exit::Done)
    }
}

/// Whom to write to about a tool, where its manifest says so.
fn contacts(daemon: &mut Daemon, tool: Option<&str>) -> Result<Vec<(String, String)>, Failure> {
    let mut contacts = Vec::new();
    let mut add = |described: &Map<String, Value>| {
        let contact = described
            .get("privacy")
            .and_then(Value::as_object)
            .map_or("", |privacy| word(privacy, "contact"));
        if !contact.is_empty() {
            contacts.push((word(described, "tool").to_owned(), contact.to_owned()));
        }
    };
    match tool {
        Some(tool) => add(&daemon
            .ask(
                &json!({ "op": "tools", "action": "show", "tool": tool }),
                PATIENCE,
            )?
            .value),
        None => {
            daemon.list(&json!({ "op": "tools", "action": "list" }), |line| {
                add(&line.value);
                Ok(())
            })?;
        }
    }
    Ok(contacts)
}
