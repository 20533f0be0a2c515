//! `consent ask`: a question at a real terminal, for a tool that wants one. Without a terminal nothing is asked and
//! nothing recorded: a prompt that nobody sees is no answer.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use telemetry_protocol::consent::{Layer, Verdict};

use super::ask_project::Target;
use super::change::{Change, Word};
use super::explain::Which;
use crate::Context;
use crate::clock;
use crate::daemon::PATIENCE;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::policy;
use crate::screen::Screen;
use crate::words::plain;

/// About what, and where the answer is kept.
#[derive(Debug, Args)]
#[command(after_long_help = ABOUT)]
pub(super) struct Ask {
    /// The tool that asks
    #[arg(long, value_name = "TOOL", value_parser = super::change::tool)]
    tool: String,
    /// What is said first; default: the notice of the tool's manifest
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Where the answer is kept: the user's consent.toml, or the project's own file
    #[arg(long, value_name = "WHERE", default_value = "user")]
    save: Save,
    /// The project; default: the working directory
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,
}

const ABOUT: &str = "\
Without a terminal nothing is asked and nothing recorded, and that is said; the exit code is 0 all the same, so that no \
script fails for it ('asked' in --json tells). The same holds where an admin or a variable has said no already: then the \
answer would change nothing. An empty answer is a no; the end of input is none.";

/// Where an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Save {
    User,
    Project,
}

/// Answers that are no answer, before it is given up.
const TRIES: u32 = 3;

/// How the asking went.
enum Asked {
    Answered(bool),
    /// Nothing was said: the reason.
    Nothing(String),
}

impl Ask {
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let target = match self.save {
            Save::User => None,
            Save::Project => Some(Target::find(context, &self.tool, self.project.as_deref())?),
        };
        let saved = match self.ask(context, screen)? {
            Asked::Nothing(why) => {
                screen.talk(&format!("{why}: nothing was asked and nothing recorded"));
                None
            }
            Asked::Answered(yes) => Some((yes, self.save(yes, target, context, screen)?)),
        };
        self.report(saved, context, screen)?;
        Ok(Exit::Done)
    }

    /// Asks, if anybody is there and the answer could change anything.
    fn ask(&self, context: &Context, screen: &Screen) -> Result<Asked, Failure> {
        if let Some(why) = self.settled(context) {
            return Ok(Asked::Nothing(why));
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Ok(Asked::Nothing("there is no terminal".to_owned()));
        }
        let gathered = policy::gathered(context);
        let notice = gathered.notice(&self.tool);
        let manifest = gathered.policy().manifest(&self.tool).map(|r| &r.manifest);
        let text = self.text.clone().or_else(|| {
            let manifest = manifest?;
            manifest.notice_text.clone().or_else(|| manifest.about.clone())
        });
        for line in text.as_deref().unwrap_or_default().lines() {
            screen.talk(&plain(line));
        }
        for wider in notice.iter().flat_map(|notice| &notice.wider) {
            screen.talk(&format!("Since you were asked last: {}", plain(wider)));
        }
        let answer = prompt(&format!("May {} send usage data? [y/N] ", self.tool))
            .map_err(|error| Failure::failed("cannot read the answer").caused_by_io(&error))?;
        let Some(yes) = answer else {
            return Ok(Asked::Nothing("there was no answer".to_owned()));
        };
        if let Some(notice) = notice {
            // What cannot be remembered is shown again.
            let _ = notice.was_shown(&context.surroundings, clock::after(PATIENCE));
        }
        Ok(Asked::Answered(yes))
    }

    /// Why the answer would change nothing, if somebody above the user has said no.
    fn settled(&self, context: &Context) -> Option<String> {
        let which = Which::of(Some(self.tool.clone()), self.project.clone());
        let decided = which.decisions(context).pop()?.decision;
        let above = decided.verdict == Verdict::Deny && decided.by < Layer::User;
        above.then(|| {
            plain(&format!(
                "{} is off, by {}: {}",
                self.tool, decided.by, decided.source
            ))
        })
    }

    /// Keeps the answer; says where.
    fn save(
        &self,
        yes: bool,
        target: Option<Target>,
        context: &Context,
        screen: &mut Screen,
    ) -> Result<Vec<String>, Failure> {
        let Some(target) = target else {
            let word = if yes { Word::Allow } else { Word::Deny };
            let change = Change::of_tool(&self.tool);
            return change.make(word, context).map(|receipt| receipt.reached);
        };
        let written = target.save(yes)?;
        if !yes {
            target.erase(context, &self.tool);
        }
        for path in &written {
            screen.talk(&format!("written: {}", plain(path)));
        }
        Ok(written)
    }

    fn report(
        &self,
        saved: Option<(bool, Vec<String>)>,
        context: &Context,
        screen: &mut Screen,
    ) -> Result<(), Failure> {
        let which = Which::of(Some(self.tool.clone()), self.project.clone());
        let decided = which.decisions(context).pop();
        let (verdict, by, source) = decided
            .as_ref()
            .map_or((Verdict::Deny, "default", ""), |one| one.effective());
        if screen.json {
            let answer = saved.as_ref().map(|(yes, _)| if *yes { "allow" } else { "deny" });
            screen.value(&json!({
                "tool": self.tool, "asked": saved.is_some(), "answer": answer,
                "saved": saved.map(|(_, paths)| paths), "verdict": verdict.as_str(), "by": by, "source": source,
            }))?;
            return Ok(());
        }
        let state = if verdict == Verdict::Allow { "on" } else { "off" };
        screen.line(&plain(&format!("{}: {state}, by {by}: {source}", self.tool)))?;
        Ok(())
    }
}

/// Asks until the answer is one; `None`: the input ended, or nothing that was said is an answer.
fn prompt(question: &str) -> io::Result<Option<bool>> {
    let mut input = io::stdin().lock();
    for _ in 0..TRIES {
        let mut talk = io::stderr();
        write!(talk, "{question}")?;
        talk.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            writeln!(talk)?;
            return Ok(None);
        }
        match line.trim().to_lowercase().as_str() {
            "y" | "yes" => return Ok(Some(true)),
            "" | "n" | "no" => return Ok(Some(false)),
            _ => writeln!(talk, "Please answer y or n.")?,
        }
    }
    Ok(None)
}
