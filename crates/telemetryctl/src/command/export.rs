//! `export`: everything that is held about this user, one JSON object a line, each with its kind. Without a daemon the
//! queue is read by `telemetryd --export`.

use clap::Args;
use serde_json::{Map, Value, json};

use super::consent::explain::Which;
use super::consent::{log, told};
use super::identity;
use crate::Context;
use crate::daemon::Daemon;
use crate::everybody::Everybody;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::programs;
use crate::screen::Screen;

/// Print everything that is held about this user, as JSON
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Of every user, where one daemon serves the machine (as root)
    #[arg(long)]
    all: bool,
}

impl Export {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let queue = Daemon::reach(context).ok();
        for explained in Which::of(None, None).decisions(context) {
            line("consent", told::as_json(&explained), screen)?;
        }
        for change in log::all(context, None, None)? {
            line("change", change.json(), screen)?;
        }
        let Some(mut daemon) = queue else {
            screen.flush()?;
            return programs::run(&["--export", "-"]);
        };
        for id in identity::of(&mut daemon, None)? {
            line("identity", Value::Object(id), screen)?;
        }
        let everybody = Everybody { all_users: self.all };
        for (kind, request) in [
            (
                "event",
                json!({ "op": "queue", "action": "list", "bodies": true }),
            ),
            (
                "parked",
                json!({ "op": "queue", "action": "parked", "bodies": true }),
            ),
            ("sent", json!({ "op": "sent", "limit": u32::MAX, "bodies": true })),
        ] {
            daemon.list(&everybody.ask(request), |said| {
                line(kind, Value::Object(said.value), screen)
            })?;
        }
        Ok(Exit::Done)
    }
}

/// One line, its kind first.
fn line(kind: &str, object: Value, screen: &mut Screen) -> Result<(), Failure> {
    let mut line = Map::from_iter([("kind".to_owned(), Value::from(kind))]);
    if let Value::Object(object) = object {
        line.extend(object);
    }
    Ok(screen.value(&Value::Object(line))?)
}
