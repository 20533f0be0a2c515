//! Jobs that are done without a running daemon: check or show the config, apply consent to the queue,
//! export it. None of them opens a network socket.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use telemetry_protocol::time::Rfc3339;
use telemetry_queue::{Filter, Row, RowState};
use uuid::Uuid;

use crate::cli::Flags;
use crate::consent::Consent;
use crate::control;
use crate::desk::Identity;
use crate::failure::Failure;
use crate::run::{Purpose, known_tools, open_queue};
use crate::world::World;

/// Rows of one page of an export.
const PAGE: u32 = 512;

/// Does the job that the flags ask for; `false`: none.
///
/// # Errors
/// Why it could not be done.
pub fn run_if_asked(flags: &Flags, world: &World) -> Result<bool, Failure> {
    if flags.check_config {
        check(world)?;
    } else if flags.show_config {
        show(world, flags.json)?;
    } else if flags.purge {
        alone(purge(world))?;
    } else if let Some(file) = &flags.export {
        alone(export(world, file))?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn alone<T>(job: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime
        .map_err(|e| Failure::Failed(format!("cannot start the runtime: {e}")))?
        .block_on(job)
}

/// Everything that starting would check, and the files that a destination's `tls` names, which are read and
/// let go of; all that is wrong at once.
fn check(world: &World) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    let loaded = world.load();
    match &loaded {
        Ok(loaded) => {
            let clients = loaded
                .checked
                .destinations
                .iter()
                .filter_map(|(name, destination)| {
                    let error = telemetry_delivery::Client::new(destination, crate::VERSION).err()?;
                    Some(format!("error: destinations.{name}: {error}"))
                });
            wrong.extend(clients);
            for (name, destination) in &loaded.checked.destinations {
                let problems = telemetry_delivery::tls_problems(destination).into_iter();
                wrong.extend(problems.map(|problem| format!("error: destinations.{name}.tls.{problem}")));
            }
        }
        Err(Failure::Settings(problems)) => wrong.push(problems.to_string().trim_end().to_owned()),
        Err(_) => {}
    }
    if let Err(reason) = telemetry_protocol::place::check_socket_path(&world.socket) {
        wrong.push(format!("error: {reason}"));
    }
    let (_, problems) = crate::consent::manifests::load(&world.places);
    wrong.extend(problems.iter().map(ToString::to_string));
    if !wrong.is_empty() {
        return Err(Failure::Config(wrong.join("\n")));
    }
    let loaded = loaded?;
    let files = loaded
        .files
        .iter()
        .map(|f| f.display().to_string())
        .collect::<Vec<_>>()
        .join(", ");
    let files = if files.is_empty() {
        "no file, all defaults".to_owned()
    } else {
        files
    };
    say(&format!("the configuration is good ({files})"))
}

fn show(world: &World, as_json: bool) -> Result<(), Failure> {
    for line in crate::config::show(&world.load()?) {
        if as_json {
            say(&serde_json::to_string(&line).map_err(|e| Failure::Failed(e.to_string()))?)?;
        } else {
            say(&line.to_string())?;
        }
    }
    Ok(())
}

/// Takes the lock, applies consent to rows and identities, and leaves (CONSENT.md, "The admin's switch").
async fn purge(world: &World) -> Result<(), Failure> {
    let loaded = world.load()?;
    let (queue, owner, _) = open_queue(world, &loaded.checked, Purpose::Job, || true)?;
    let known = known_tools(&queue).await?;
    let consent = Consent::open(
        world.places.clone(),
        &world.variables,
        &loaded.checked,
        &known,
        Arc::clone(&world.clock),
    );
    let purged = control::purge_withdrawn_at_start(&queue, &consent, world.clock.now()).await?;
    // What a daemon kept is forgotten, wherever the state is.
    let identity = Identity::open(&world.places, true);
    for (person, policy) in consent.everybody() {
        identity.withdrawn(person, &policy);
    }
    drop(queue);
    owner.close()?;
    say(&json!({ "purged": purged.queued + purged.parked, "sent_bodies": purged.sent_bodies }).to_string())
}

/// Everything that is queued or parked, one JSON object a line.
async fn export(world: &World, file: &Path) -> Result<(), Failure> {
    let loaded = world.load()?;
    let (queue, owner, _) = open_queue(world, &loaded.checked, Purpose::Job, || true)?;
    let failed = |e: io::Error| Failure::Failed(format!("cannot write {}: {e}", file.display()));
    let out: Box<dyn Write> = if file == Path::new("-") {
        Box::new(io::stdout().lock())
    } else {
        let options = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(file);
        Box::new(options.map_err(failed)?)
    };
    let mut out = BufWriter::new(out);
    let mut after = None;
    loop {
        let page = queue.rows(Filter::default(), &[], after, PAGE).await?;
        for row in &page.rows {
            writeln!(out, "{}", exported(row)).map_err(failed)?;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    out.flush().map_err(failed)?;
    drop(queue);
    owner.close()?;
    Ok(())
}

fn exported(row: &Row) -> Value {
    json!({
        "id": Uuid::from_bytes(row.id).to_string(),
        "uid": row.lane.uid,
        "tool": &*row.lane.tool,
        "destination": &*row.lane.destination,
        "received": Rfc3339(row.received.wall_ms).to_string(),
        "state": match row.state {
            RowState::Waiting => "waiting",
            RowState::Claimed => "claimed",
            RowState::Parked => "parked",
        },
        "body": serde_json::from_slice::<Value>(&row.payload).unwrap_or(Value::Null),
    })
}

fn say(line: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Failed(format!("cannot write: {e}"))),
        _ => Ok(()),
    }
}
