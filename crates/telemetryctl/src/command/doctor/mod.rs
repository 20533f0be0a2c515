//! `doctor`: one line a check, with a hint where a person can act. This half sees what a client sees and
//! needs no daemon; the other half is the daemon's own.

mod clock;
mod config;
mod files;
mod running;
mod service;
mod spool;

use clap::Args;
use serde_json::{Value, json};

use crate::Context;
use crate::everybody::Everybody;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::{GREEN, RED, Screen, YELLOW, styled};
use crate::words::plain;

/// Check everything that can keep events from being recorded or sent
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Also try each destination as the daemon would: name, connection, proxy, TLS, HTTP; sends no event
    #[arg(long)]
    probe: bool,
    #[command(flatten)]
    everybody: Everybody,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ok,
    /// It works, but somebody should know.
    Warn,
    Fail,
    /// No daemon answers: a failure with an exit code of its own.
    NoDaemon,
}

/// One line.
#[derive(Debug)]
struct Check {
    name: String,
    state: State,
    detail: String,
    hint: Option<String>,
}

impl Check {
    fn new(name: &str, state: State, detail: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            state,
            detail: detail.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn word(&self) -> &'static str {
        match self.state {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail | State::NoDaemon => "fail",
        }
    }

    fn show(&self, screen: &mut Screen) -> Result<(), Failure> {
        if screen.json {
            screen.value(&json!({
                "check": self.name, "state": self.word(), "detail": self.detail, "hint": self.hint,
            }))?;
            return Ok(());
        }
        let style = match self.state {
            State::Ok => GREEN,
            State::Warn => YELLOW,
            State::Fail | State::NoDaemon => RED,
        };
        let word = styled(style, &format!("{:<4}", self.word()));
        screen.line(&format!(
            "{word}  {:<16} {}",
            plain(&self.name),
            plain(&self.detail)
        ))?;
        if let Some(hint) = &self.hint {
            screen.line(&format!("      hint: {}", plain(hint)))?;
        }
        Ok(())
    }
}

impl Doctor {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let (mut checks, mode) = running::check(context, self.probe, self.everybody);
        checks.extend(files::check(context, mode));
        checks.extend(config::check(mode));
        checks.push(clock::check(context, mode));
        checks.extend(service::check());
        checks.extend(spool::check(context));
        for check in &checks {
            check.show(screen)?;
        }
        let failed: Vec<State> = checks
            .iter()
            .map(|check| check.state)
            .filter(|state| matches!(state, State::Fail | State::NoDaemon))
            .collect();
        match failed.as_slice() {
            [] => Ok(Exit::Done),
            [State::NoDaemon] => Err(Failure::said(Exit::NoDaemon)),
            _ => Err(Failure::said(Exit::Failed)),
        }
    }
}

/// A check of the daemon's half.
fn theirs(value: &Value) -> Check {
    let word = |key: &str| value[key].as_str().unwrap_or_default();
    let state = match word("state") {
        "ok" => State::Ok,
        "warn" => State::Warn,
        _ => State::Fail,
    };
    let check = Check::new(word("check"), state, word("detail"));
    match word("hint") {
        "" => check,
        hint => check.hint(hint),
    }
}
