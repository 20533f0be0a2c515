//! `flush`: what waits is sent now, past a backoff but never past a server's `Retry-After`, a hold or a
//! pause.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use telemetry_client::TalkError;

use crate::Context;
use crate::clock;
use crate::daemon::{Daemon, Line, PATIENCE, accepted};
use crate::everybody::Everybody;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::{Screen, is_watched};
use crate::words::{self, counted, plain};

/// Send what is queued now
#[derive(Debug, Args)]
pub(crate) struct Flush {
    /// Flush this destination alone
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Wait until what is queued now is delivered or parked
    #[arg(long)]
    wait: bool,
    /// Wait for at most so long
    #[arg(long, value_name = "DURATION", value_parser = words::duration, default_value = "5s", requires = "wait")]
    timeout: Duration,
    #[command(flatten)]
    everybody: Everybody,
}

/// How often a person who watches is shown what is left.
const REDRAW: Duration = Duration::from_millis(250);

impl Flush {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let mut daemon = Daemon::connect(context)?;
        let request = json!({
            "op": "flush",
            "destination": self.destination,
            "wait": self.wait,
            "timeout_ms": self.wait.then(|| words::millis(self.timeout)),
        });
        let request = self.everybody.ask(request);
        let patience = self.timeout.saturating_add(PATIENCE);
        let answer = if self.wait && is_watched() && !screen.json {
            daemon
                .send(format!("{request}\n").as_bytes(), PATIENCE)
                .map_err(|error| daemon.broken("flush", &error))?;
            accepted(watch(context, &mut daemon, patience)?)?
        } else {
            daemon.ask(&request, patience)?
        };
        if screen.json {
            screen.line(&answer.without("ok"))?;
        }
        if !self.wait {
            if !screen.json {
                screen.talk("flushing; 'telemetryctl status' shows how it goes");
            }
            return Ok(Exit::Done);
        }
        judge(&answer, screen)
    }
}

/// Waits for the answer with a line that shows what is left.
fn watch(context: &Context, daemon: &mut Daemon, patience: Duration) -> Result<Line, Failure> {
    let began = clock::after(Duration::ZERO);
    let mut eyes = Daemon::reach(context).ok();
    let mut drawn = false;
    let ended = loop {
        match daemon.receive(REDRAW) {
            Ok(line) => break Ok(line),
            Err(TalkError::TimedOut) if clock::since(began) < patience => {
                let left = eyes
                    .as_mut()
                    .and_then(|eyes| eyes.put(&json!({ "op": "status" }), PATIENCE).ok())
                    .and_then(|status| status.value.get("queue")?.get("events")?.as_u64());
                let left = left.map_or_else(String::new, |left| format!(", {} left", counted(left, "event")));
                draw(&format!("flushing for {} s{left}", clock::since(began).as_secs()));
                drawn = true;
            }
            Err(error) => break Err(daemon.broken("flush", &error)),
        }
    };
    if drawn {
        draw("");
    }
    ended
}

/// Draws over the line that was drawn before; nothing else is on it.
fn draw(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // A line that cannot be drawn is not worth an error.
    let _ = write!(stderr, "\r\u{1b}[K{text}").and_then(|()| stderr.flush());
}

fn judge(answer: &Line, screen: &Screen) -> Result<Exit, Failure> {
    let number = |key: &str| answer.value.get(key).and_then(Value::as_u64).unwrap_or(0);
    let (settled, left) = (number("settled"), number("left"));
    if left == 0 {
        if !screen.json {
            screen.talk(&format!("{} settled, nothing is left", counted(settled, "event")));
        }
        return Ok(Exit::Done);
    }
    let what = format!("{} settled, {left} left", counted(settled, "event"));
    let why: Vec<String> = match answer.value.get("why") {
        Some(Value::Array(list)) => list.iter().map(reason).collect(),
        _ => Vec::new(),
    };
    let timed_out = match answer.value.get("timed_out").and_then(Value::as_bool) {
        Some(timed_out) => timed_out,
        None => why.is_empty(),
    };
    let exit = if timed_out { Exit::TimedOut } else { Exit::Failed };
    let mut failure = Failure::new(exit, what);
    if timed_out {
        failure = failure.caused_by("the time was over");
    }
    let failure = why.iter().fold(failure, |failure, why| failure.caused_by(why));
    Err(failure.hint("they stay queued; 'telemetryctl status' shows when they are tried again"))
}

/// `destination default is held: 401`.
fn reason(why: &Value) -> String {
    let word = |key: &str| why[key].as_str().unwrap_or_default();
    let cause = match (word("reason"), word("last_error")) {
        ("", "") => String::new(),
        ("", error) => format!(": {error}"),
        (reason, _) => format!(": {reason}"),
    };
    plain(&format!(
        "destination {} is {}{cause}",
        word("destination"),
        word("state")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_that_does_not_move_is_named_with_its_reason() {
        let why = json!({"destination":"default","left":3,"state":"held","reason":"no_destination"});
        assert_eq!(reason(&why), "destination default is held: no_destination");
        let why =
            json!({"destination":"d","state":"backoff","reason":null,"last_error":"connection refused"});
        assert_eq!(reason(&why), "destination d is backoff: connection refused");
    }
}
