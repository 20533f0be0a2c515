//! `tools`: the tools that are known here, where their manifests came from, and what each lets through. For authors:
//! a manifest checked, with events tried on it, and the page about it.

mod check;
mod told;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use telemetry_policy::scope::changes;
use telemetry_policy::{Manifest, describe};

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
    /// Show in words what a tool's manifest lets through, where it goes, and why it is on or off
    Show {
        /// Which tool
        tool: String,
    },
    /// Check a manifest, and try events on it: what would be removed, and what would be stored
    Check(check::Check),
    /// Show what changed in a tool's manifest since the user agreed to it
    Diff {
        /// Which tool
        tool: String,
    },
    /// Write the page about what a tool collects (Markdown)
    Docs {
        /// Which tool, or the file of a manifest
        tool: PathBuf,
    },
}

impl Tools {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        // What needs no daemon comes first.
        match &self.action {
            Action::Check(check) => return check.run(screen),
            Action::Docs { tool } if tool.components().count() > 1 || tool.is_file() => {
                let manifest = check::read(tool)?;
                screen.raw(told::page(&manifest).as_bytes())?;
                return Ok(Exit::Done);
            }
            _ => {}
        }
        let mut daemon = Daemon::connect(context)?;
        match self.action {
            Action::Check(_) => {}
            Action::Docs { tool } => {
                let tool = tool.to_string_lossy();
                let manifest = in_force(&mut daemon, &tool, "text")?
                    .ok_or_else(|| Failure::failed(format!("{tool} has no manifest here")))?;
                screen.raw(told::page(&manifest).as_bytes())?;
            }
            Action::Diff { tool } => return diff(&mut daemon, &tool, screen),
            Action::List => {
                let request = json!({ "op": "tools", "action": "list" });
                if screen.json {
                    daemon.list(&request, |line| Ok(screen.line(&line.text)?))?;
                    return Ok(Exit::Done);
                }
                let mut rows = Vec::new();
                let end = daemon.list_to_end(&request, |line| {
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
                say_problems(&end.value, screen);
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
                    say_problems(&answer.value, screen);
                    show(&answer.value, screen)?;
                }
            }
        }
        Ok(Exit::Done)
    }
}

/// Manifests that are none: their tools have none, or the one from before the mistake.
fn say_problems(answer: &Map<String, Value>, screen: &Screen) {
    for problem in answer
        .get("problems")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let said = |key: &str| plain(problem.get(key).and_then(Value::as_str).unwrap_or_default());
        let line = problem.get("line").and_then(Value::as_u64).unwrap_or_default();
        screen.talk(&format!("error: {}:{line}: {}", said("file"), said("message")));
    }
}

fn show(tool: &Map<String, Value>, screen: &mut Screen) -> Result<(), Failure> {
    screen.heading(&plain(word(tool, "tool")))?;
    let manifest = match (word(tool, "manifest"), word(tool, "origin")) {
        ("", _) => "none: off until the user allows it ('telemetryctl opt-in --tool')".to_owned(),
        (path, origin) => format!("{path} ({origin})"),
    };
    let why = match word(tool, "source") {
        "" => String::new(),
        source => format!(": {source}"),
    };
    for (name, value) in [
        ("about", word(tool, "about").to_owned()),
        ("telemetry", format!("{}{why}", on_or_off(tool))),
        ("manifest", manifest),
        ("destination", destination(tool)),
    ] {
        if !value.is_empty() {
            screen.line(&format!("  {name:<13} {}", plain(&value)))?;
        }
    }
    for wider in tool.get("wider").and_then(Value::as_array).into_iter().flatten() {
        let wider = wider.as_str().unwrap_or_default();
        screen.line(&format!("  {:<13} {}", "not agreed to", plain(wider)))?;
    }
    // A manifest that an older or newer daemon reads otherwise is still in force there.
    let sections = match Manifest::parse(word(tool, "text")) {
        Ok(manifest) => describe::sections(&manifest),
        Err(_) => Vec::new(),
    };
    told::show(&sections, screen)
}

/// `default (https://…)`.
fn destination(tool: &Map<String, Value>) -> String {
    let name = word(tool, "destination");
    match word(tool, "url") {
        "" => format!("{name}: not in the config yet; events wait"),
        url => format!("{name} ({url})"),
    }
}

/// A manifest of which the daemon has the text under this key.
fn in_force(daemon: &mut Daemon, tool: &str, key: &str) -> Result<Option<Manifest>, Failure> {
    let request = json!({ "op": "tools", "action": "show", "tool": tool });
    let answer = daemon.ask(&request, PATIENCE)?.value;
    match word(&answer, key) {
        "" => Ok(None),
        text => Manifest::parse(text).map(Some).map_err(|mistakes| {
            let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
            Failure::failed(format!("cannot read the manifest of {tool}: {first}"))
        }),
    }
}

fn diff(daemon: &mut Daemon, tool: &str, screen: &mut Screen) -> Result<Exit, Failure> {
    let now = in_force(daemon, tool, "text")?;
    let agreed = in_force(daemon, tool, "agreed")?;
    let found = match (&agreed, &now) {
        (Some(old), Some(new)) => changes(old, new),
        _ => Vec::new(),
    };
    if screen.json {
        for change in &found {
            screen.value(&json!({ "change": change.what, "wider": change.wider }))?;
        }
        return Ok(Exit::Done);
    }
    match (agreed.is_some(), found.is_empty()) {
        (_, false) => {}
        (true, true) => screen.line("its words changed; what it lets through did not")?,
        (false, true) if now.is_none() => screen.line(&format!("{} has no manifest here", plain(tool)))?,
        (false, true) => screen.line("nothing changed since you agreed to it, or you were never asked")?,
    }
    for change in found {
        let sign = if change.wider { "+" } else { "-" };
        screen.line(&plain(&format!("{sign} {}", change.what)))?;
    }
    Ok(Exit::Done)
}

/// `on`, or `off (by user)`.
fn on_or_off(tool: &Map<String, Value>) -> String {
    match (word(tool, "verdict"), word(tool, "by")) {
        ("allow", _) => "on".to_owned(),
        (_, "") => "off".to_owned(),
        (_, by) => format!("off (by {by})"),
    }
}
