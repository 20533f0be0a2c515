//! `tools`: the tools that are known here, where their manifests came from, and what each lets through.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::Context;
use crate::daemon::{Daemon, PATIENCE, word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::words::plain;

/// Show the tools that are known here and what each may send
#[derive(Debug, Args)]
pub(crate) struct Tools {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the tools that are known here
    List,
    /// Show where a tool's manifest came from and what it lets through
    Show {
        /// Which tool
        tool: String,
    },
}

impl Tools {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let mut daemon = Daemon::connect(context)?;
        match self.action {
            Action::List => {
                let request = json!({ "op": "tools", "action": "list" });
                if screen.json {
                    daemon.list(&request, |line| Ok(screen.line(&line.text)?))?;
                    return Ok(Exit::Done);
                }
                let mut rows = Vec::new();
                daemon.list(&request, |line| {
                    let tool = &line.value;
                    rows.push(vec![
                        plain(word(tool, "tool")),
                        on_or_off(tool),
                        plain(word(tool, "origin")),
                        plain(word(tool, "consent")),
                        plain(word(tool, "destination")),
                        plain(word(tool, "about")),
                    ]);
                    Ok(())
                })?;
                if rows.is_empty() {
                    screen.talk("no tool is known here: no manifest, and none that consent.toml names");
                    return Ok(Exit::Done);
                }
                screen.table(
                    &["tool", "telemetry", "manifest", "consent", "destination", "about"],
                    &[],
                    rows,
                )?;
            }
            Action::Show { tool } => {
                let request = json!({ "op": "tools", "action": "show", "tool": tool });
                let answer = daemon.ask(&request, PATIENCE)?;
                if screen.json {
                    screen.line(&answer.without("ok"))?;
                } else {
                    show(&answer.value, screen)?;
                }
            }
        }
        Ok(Exit::Done)
    }
}

fn show(tool: &Map<String, Value>, screen: &mut Screen) -> Result<(), Failure> {
    screen.heading(&plain(word(tool, "tool")))?;
    let manifest = match (word(tool, "manifest"), word(tool, "origin")) {
        ("", _) => "none: off until the user allows it ('telemetryctl opt-in --tool')".to_owned(),
        (path, origin) => format!("{path} ({origin})"),
    };
    for (name, value) in [
        ("about", word(tool, "about").to_owned()),
        ("telemetry", on_or_off(tool)),
        ("manifest", manifest),
        ("consent", word(tool, "consent").to_owned()),
        ("destination", word(tool, "destination").to_owned()),
        ("lets through", lets_through(tool)),
    ] {
        if !value.is_empty() {
            screen.line(&format!("  {name:<13} {}", plain(&value)))?;
        }
    }
    Ok(())
}

/// `on`, or `off (by user)`.
fn on_or_off(tool: &Map<String, Value>) -> String {
    match (word(tool, "verdict"), word(tool, "by")) {
        ("allow", _) => "on".to_owned(),
        (_, "") => "off".to_owned(),
        (_, by) => format!("off (by {by})"),
    }
}

/// What the manifest lets through, in words.
fn lets_through(tool: &Map<String, Value>) -> String {
    if tool.get("events_any") == Some(&Value::Bool(true)) {
        return "every event, with all its properties".to_owned();
    }
    match tool.get("events") {
        Some(Value::Object(events)) if !events.is_empty() => {
            events.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
        }
        _ => "nothing".to_owned(),
    }
}
