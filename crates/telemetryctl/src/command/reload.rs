//! `reload`: the daemon reads its configuration, manifests and policy again, and keeps the old ones where
//! the new ones are bad.

use clap::Args;
use serde_json::{Value, json};

use crate::Context;
use crate::daemon::{Daemon, PATIENCE, accepted};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::words::plain;

/// Read configuration, manifests and policy again
#[derive(Debug, Args)]
pub(crate) struct Reload {}

impl Reload {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let answer = Daemon::connect(context)?.put(&json!({ "op": "reload" }), PATIENCE)?;
        if let Some(Value::Array(problems)) = answer.value.get("problems") {
            if screen.json {
                for problem in problems {
                    screen.value(problem)?;
                }
            } else {
                for problem in problems {
                    screen.talk(&told(problem));
                    if let Some(hint) = problem["hint"].as_str() {
                        screen.talk(&format!("  hint: {}", plain(hint)));
                    }
                }
                screen.talk("the settings that were in force before stay");
            }
            return Err(Failure::said(Exit::BadConfig));
        }
        let answer = accepted(answer)?;
        if screen.json {
            screen.line(&answer.without("ok"))?;
        } else {
            screen.talk("reloaded");
        }
        Ok(Exit::Done)
    }
}

/// One problem, as `config check` prints it: `error: FILE:LINE: KEY: MESSAGE`.
fn told(problem: &Value) -> String {
    let mut text = String::from("error: ");
    if let Some(file) = problem["file"].as_str() {
        text.push_str(file);
        if let Some(line) = problem["line"].as_u64() {
            text.push_str(&format!(":{line}"));
        }
        text.push_str(": ");
    }
    if let Some(key) = problem["key"].as_str() {
        text.push_str(&format!("{key}: "));
    }
    text.push_str(problem["message"].as_str().unwrap_or("not valid"));
    plain(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_file_line_and_key() {
        let problem = json!({"file":"/c.toml","line":3,"key":"queue.max_age","message":"found 3, allowed is a duration"});
        assert_eq!(
            told(&problem),
            "error: /c.toml:3: queue.max_age: found 3, allowed is a duration"
        );
        assert_eq!(told(&json!({"message":"m","file":null})), "error: m");
    }
}
