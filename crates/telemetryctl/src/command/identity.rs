//! `identity`: by which ids the endpoints know this user, one a tool; made when a tool's first event is taken.

use clap::Args;
use serde_json::{Map, Value, json};

use super::consent::change;
use crate::Context;
use crate::daemon::{Daemon, word};
use crate::everybody::Everybody;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::words::plain;

/// Show the ids by which this user is known, one a tool
#[derive(Debug, Args)]
pub(crate) struct Identity {
    /// Of this tool alone
    #[arg(long, value_name = "TOOL", value_parser = change::tool)]
    tool: Option<String>,
    #[command(flatten)]
    everybody: Everybody,
}

impl Identity {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let mut daemon = Daemon::connect(context)?;
        let request = json!({ "op": "identity", "tool": self.tool });
        let ids = listed(&mut daemon, &self.everybody.ask(request))?;
        show(&ids, screen)?;
        Ok(Exit::Done)
    }
}

/// The ids, a line a tool.
pub(super) fn of(daemon: &mut Daemon, tool: Option<&str>) -> Result<Vec<Map<String, Value>>, Failure> {
    listed(daemon, &json!({ "op": "identity", "tool": tool }))
}

fn listed(daemon: &mut Daemon, request: &Value) -> Result<Vec<Map<String, Value>>, Failure> {
    let mut ids = Vec::new();
    daemon.list(request, |line| {
        ids.push(line.value);
        Ok(())
    })?;
    Ok(ids)
}

/// Shows them.
pub(super) fn show(ids: &[Map<String, Value>], screen: &mut Screen) -> Result<(), Failure> {
    if screen.json {
        for id in ids {
            screen.value(&Value::Object(id.clone()))?;
        }
        return Ok(());
    }
    if ids.is_empty() {
        screen.line("no identity has been made")?;
    }
    for id in ids {
        screen.line(&plain(word(id, "tool")))?;
        for (key, value) in id
            .iter()
            .filter(|(key, value)| *key != "tool" && !value.is_null())
        {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), ToOwned::to_owned);
            screen.line(&format!("  {:<14} {}", plain(key), plain(&value)))?;
        }
    }
    Ok(())
}
