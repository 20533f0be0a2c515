//! `consent log`: every change of a decision, from the daemon that answers, or from the user's state directory where none
//! does.

use clap::Args;
use serde_json::{Map, Value, json};
use telemetry_client::RealFiles;
use telemetry_policy::gather::{Found, Look};
use telemetry_protocol::consent::Verdict;
use telemetry_protocol::consent_log::{self, Change};

use crate::Context;
use crate::daemon::Daemon;
use crate::everybody::Everybody;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::words::{moment, plain};

/// The log in a user's state directory.
pub(super) const FILE: &str = "consent-log.ndjson";

/// Which changes.
#[derive(Debug, Args)]
pub(super) struct Log {
    /// Of this tool alone
    #[arg(long, value_name = "TOOL", value_parser = super::change::tool)]
    tool: Option<String>,
    /// The newest N alone
    #[arg(long, value_name = "N")]
    last: Option<u64>,
    #[command(flatten)]
    everybody: Everybody,
}

impl Log {
    pub(super) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        // Whose a line is, the daemon says: others' logs are not this user's to read.
        let changes: Vec<Map<String, Value>> = match self.everybody.all_users {
            true => everybodys(context, self.tool.as_deref(), self.last)?,
            false => all(context, self.tool.as_deref(), self.last)?
                .iter()
                .filter_map(|change| change.json().as_object().cloned())
                .collect(),
        };
        if screen.json {
            for change in changes {
                screen.value(&Value::Object(change))?;
            }
            return Ok(Exit::Done);
        }
        if changes.is_empty() {
            screen.talk("nothing has changed yet");
            return Ok(Exit::Done);
        }
        let rows = changes.iter().map(|line| {
            let change = Change::of(line);
            let state = match change.verdict {
                Some(Verdict::Allow) => "on",
                Some(Verdict::Deny) => "off",
                None => "-",
            };
            let cells = vec![
                moment(&change.at),
                change.tool.clone().unwrap_or_else(|| "all".to_owned()),
                state.to_owned(),
                plain(&change.by),
                plain(&change.how),
                change.purged.to_string(),
                plain(&change.source),
            ];
            self.everybody.cell(line, cells)
        });
        let rows = rows.collect();
        let columns = vec![
            "when",
            "tool",
            "telemetry",
            "by",
            "how",
            "erased",
            "where that stands",
        ];
        let (columns, numbers) = self.everybody.column(columns, &[5]);
        screen.table(&columns, &numbers, rows)?;
        Ok(Exit::Done)
    }
}

/// The changes of every user, as root may ask a machine-wide daemon.
fn everybodys(
    context: &Context,
    tool: Option<&str>,
    last: Option<u64>,
) -> Result<Vec<Map<String, Value>>, Failure> {
    let mut daemon = Daemon::connect(context)?;
    let request = json!({ "op": "consent", "action": "log", "tool": tool, "limit": last, "all_users": true });
    let mut changes = Vec::new();
    daemon.list(&request, |line| {
        changes.push(line.value);
        Ok(())
    })?;
    Ok(changes)
}

/// The changes that are known here, oldest first.
pub(crate) fn all(context: &Context, tool: Option<&str>, last: Option<u64>) -> Result<Vec<Change>, Failure> {
    if let Ok(mut daemon) = Daemon::reach(context) {
        let request = json!({ "op": "consent", "action": "log", "tool": tool, "limit": last });
        let mut changes = Vec::new();
        daemon.list(&request, |line| {
            changes.push(Change::of(&line.value));
            Ok(())
        })?;
        return Ok(changes);
    }
    let state = context
        .surroundings
        .user
        .as_ref()
        .map(|dirs| dirs.state.join(FILE));
    let mut changes = match state.map(|path| (RealFiles.look(&path), path)) {
        Some((Found::File(text), _)) => consent_log::read(&text),
        Some((Found::Unreadable(why), path)) => {
            return Err(Failure::failed(format!("cannot read {}", path.display())).caused_by(why));
        }
        _ => Vec::new(),
    };
    changes.retain(|change| tool.is_none() || change.tool.is_none() || change.tool.as_deref() == tool);
    let most = last.map_or(usize::MAX, |last| usize::try_from(last).unwrap_or(usize::MAX));
    Ok(changes.split_off(changes.len().saturating_sub(most)))
}
