//! `queue`: what waits on this machine, what a server refused, and the very bytes that would go next.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::Context;
use crate::clock;
use crate::daemon::{Daemon, PATIENCE, word};
use crate::everybody::Everybody;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::words::{bytes, counted, plain, relative};

/// Look into the queue, and requeue or erase what is in it
#[derive(Debug, Args)]
pub(crate) struct Queue {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List what waits, the oldest first
    List(Rows),
    /// Show one event with its body
    Show {
        /// The event's id
        id: Uuid,
    },
    /// Print the request that would go next, byte for byte, with credentials masked
    NextBatch {
        /// To this destination
        #[arg(long, value_name = "NAME")]
        destination: Option<String>,
    },
    /// List what a server refused, with its answer
    Parked(Rows),
    /// Put parked events back into the queue
    Requeue(Rows),
    /// Erase events that are queued or parked
    Purge {
        #[command(flatten)]
        rows: Rows,
        /// Erase all of them
        #[arg(long, conflicts_with_all = ["tool", "destination", "id"])]
        all: bool,
    },
}

/// Which rows.
#[derive(Debug, Args)]
struct Rows {
    /// Only events of this tool
    #[arg(long, value_name = "TOOL")]
    tool: Option<String>,
    /// Only events for this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Only the event with this id
    #[arg(long, value_name = "ID")]
    id: Option<Uuid>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    everybody: Everybody,
}

impl Rows {
    fn request(&self, action: &str) -> Value {
        self.everybody.ask(json!({
            "op": "queue",
            "action": action,
            "tool": self.tool,
            "destination": self.destination,
            "id": self.id.map(|id| id.to_string()),
            "limit": self.limit,
        }))
    }

    fn is_all(&self) -> bool {
        self.tool.is_none() && self.destination.is_none() && self.id.is_none()
    }
}

impl Queue {
    pub(crate) fn run(self, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        if let Action::Purge { rows, all: false } = &self.action
            && rows.is_all()
        {
            return Err(Failure::new(Exit::Usage, "queue purge: which events?")
                .hint("name --tool, --destination or --id, or say --all"));
        }
        let mut daemon = Daemon::connect(context)?;
        match self.action {
            Action::List(rows) => list(&mut daemon, &QUEUED, &rows, screen),
            Action::Parked(rows) => list(&mut daemon, &PARKED, &rows, screen),
            Action::Show { id } => show(&mut daemon, id, screen),
            Action::NextBatch { destination } => next_batch(&mut daemon, destination.as_deref(), screen),
            Action::Requeue(rows) => change(&mut daemon, &rows.request("requeue"), "requeued", screen),
            Action::Purge { rows, .. } => change(&mut daemon, &rows.request("purge"), "purged", screen),
        }
    }
}

/// What tells the two lists apart: the last three columns, and what is said.
struct List {
    action: &'static str,
    columns: [&'static str; 3],
    numbers: &'static [usize],
    tail: fn(&Map<String, Value>, i64) -> [String; 3],
    nothing: &'static str,
    after: Option<&'static str>,
}

const QUEUED: List = List {
    action: "list",
    columns: ["came", "state", "attempts"],
    numbers: &[4, 7],
    tail: |row, now| {
        [
            relative(word(row, "received"), now),
            plain(word(row, "state")),
            row.get("attempts").map(Value::to_string).unwrap_or_default(),
        ]
    },
    nothing: "nothing is queued",
    after: None,
};

const PARKED: List = List {
    action: "parked",
    columns: ["parked", "status", "answer"],
    numbers: &[4],
    tail: |row, now| {
        [
            relative(word(row, "parked_at"), now),
            row.get("status").map(Value::to_string).unwrap_or_default(),
            // The answer may be a page; its beginning says what it is about.
            plain(word(row, "answer")).chars().take(60).collect(),
        ]
    },
    nothing: "nothing is parked",
    after: Some("'telemetryctl queue requeue' tries them again, 'queue purge' erases them"),
};

fn list(daemon: &mut Daemon, kind: &List, wanted: &Rows, screen: &mut Screen) -> Result<Exit, Failure> {
    let request = &wanted.request(kind.action);
    if screen.json {
        daemon.list(request, |line| Ok(screen.line(&line.text)?))?;
        return Ok(Exit::Done);
    }
    let now = clock::wall_ms();
    let mut rows = Vec::new();
    daemon.list(request, |line| {
        let row = &line.value;
        let mut cells = head(row);
        cells.extend((kind.tail)(row, now));
        rows.push(wanted.everybody.cell(row, cells));
        Ok(())
    })?;
    if rows.is_empty() {
        screen.talk(kind.nothing);
        return Ok(Exit::Done);
    }
    let columns = ["id", "tool", "event", "destination", "bytes"];
    let columns = columns.into_iter().chain(kind.columns).collect();
    let (columns, numbers) = wanted.everybody.column(columns, kind.numbers);
    screen.table(&columns, &numbers, rows)?;
    if let Some(after) = kind.after {
        screen.talk(after);
    }
    Ok(Exit::Done)
}

fn head(row: &Map<String, Value>) -> Vec<String> {
    let mut cells: Vec<String> = ["id", "tool", "event", "destination"]
        .iter()
        .map(|key| plain(word(row, key)))
        .collect();
    cells.push(bytes(row.get("bytes").and_then(Value::as_u64).unwrap_or(0)));
    cells
}

fn show(daemon: &mut Daemon, id: Uuid, screen: &mut Screen) -> Result<Exit, Failure> {
    let request = json!({ "op": "queue", "action": "show", "id": id.to_string() });
    let count = daemon.list(&request, |line| {
        if screen.json {
            return Ok(screen.line(&line.text)?);
        }
        row(&line.value, screen)
    })?;
    if count == 0 {
        return Err(Failure::failed(format!("no event {id} is queued or parked"))
            .hint("'telemetryctl sent' lists what was delivered"));
    }
    Ok(Exit::Done)
}

/// One event: its keys, then its body.
fn row(row: &Map<String, Value>, screen: &mut Screen) -> Result<(), Failure> {
    for (key, value) in row
        .iter()
        .filter(|(key, value)| *key != "body" && !value.is_null())
    {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), ToOwned::to_owned);
        screen.line(&format!("{:<12} {}", plain(key), plain(&text)))?;
    }
    if let Some(body) = row.get("body") {
        screen.line("")?;
        let pretty = serde_json::to_string_pretty(body).unwrap_or_else(|_| body.to_string());
        for line in pretty.lines() {
            screen.line(&plain(line))?;
        }
    }
    Ok(())
}

fn next_batch(daemon: &mut Daemon, destination: Option<&str>, screen: &mut Screen) -> Result<Exit, Failure> {
    let request = json!({ "op": "queue", "action": "next_batch", "destination": destination });
    let json = screen.json;
    let count = daemon.list(&request, |line| {
        if json {
            return Ok(screen.line(&line.text)?);
        }
        screen.line(&format!(
            "{} {}",
            plain(line.word("method")),
            plain(line.word("url"))
        ))?;
        if let Some(Value::Object(headers)) = line.value.get("headers") {
            for (name, value) in headers {
                screen.line(&format!(
                    "{}: {}",
                    plain(name),
                    plain(value.as_str().unwrap_or_default())
                ))?;
            }
        }
        if let Some(problem) = line.value.get("problem").and_then(Value::as_str) {
            screen.talk(&format!("an event of it will be parked: {}", plain(problem)));
        }
        if line.value.get("body_shown_as").is_some() {
            screen.talk("the body is protobuf; shown is the JSON that says the same");
        }
        screen.line("")?;
        // Byte for byte: whoever pipes it wants the body and nothing else changed.
        let body = line.word("body");
        screen.raw(body.as_bytes())?;
        if !body.ends_with('\n') {
            screen.line("")?;
        }
        Ok(())
    })?;
    if count == 0 && !json {
        screen.talk("nothing waits to be sent");
    }
    Ok(Exit::Done)
}

fn change(daemon: &mut Daemon, request: &Value, what: &str, screen: &mut Screen) -> Result<Exit, Failure> {
    // Erasing a large queue rewrites its file (secure_delete): that may take its time.
    let answer = daemon.ask(request, PATIENCE * 60)?;
    if screen.json {
        screen.line(&answer.without("ok"))?;
    } else {
        let count = answer.value.get(what).and_then(Value::as_u64).unwrap_or(0);
        screen.talk(&format!("{} {what}", counted(count, "event")));
    }
    Ok(Exit::Done)
}
