//! Every cut of a record: the directory is built, a real daemon starts on it, and what it holds is compared with what
//! had been promised (I1), delivered, and with its own books (I5).

use std::collections::{HashMap, HashSet};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::trial::Outcome;
use super::disk::{Disk, Image, Leaves};
use super::record::Recorded;
use super::trace::Op;
use super::{Replayed, Row};
use crate::clock;
use crate::daemon::{Home, Settings};
use crate::lines::Ack;
use crate::scenario::Bench;

/// Nothing leaves while it is looked at.
const STILL: &str = "batch.max_events = 100000\nbatch.max_bytes = \"64MiB\"\nretry.max = \"1d\"\n";

/// An answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The levels, in the order of the page.
const LEVELS: [Ack; 3] = [Ack::None, Ack::Queued, Ack::Synced];

/// Replays a record.
///
/// # Errors
/// When a daemon does not start on a directory.
pub(super) fn replay(bench: &Bench, recorded: &Recorded, row: &Row, random: &mut Rng) -> Result<Replayed> {
    let home = bench.home(&Settings {
        max_wait: Some("1h"),
        more: STILL,
        ..Settings::to("http://127.0.0.1:9/v1/events")
    })?;
    let mut disk = Disk::holding(recorded.before.clone());
    let mut promised = Promised::default();
    // What waited was on the disk.
    promised
        .accepted
        .extend(recorded.waiting.iter().map(|id| (*id, Ack::Synced)));
    let mut replayed = Replayed {
        outcomes: LEVELS.map(|ack| (ack, Outcome::default())).to_vec(),
        cuts: 0,
        directories: 0,
    };
    for (number, op) in recorded.ops.iter().enumerate() {
        let cut = matches!(op, Op::Sync(_) | Op::FailedSync(_)) || number + 1 == recorded.ops.len();
        if cut && disk.has_doubts() {
            replayed.cuts += 1;
            for leaves in Leaves::ALL {
                replayed.directories += 1;
                let seed = random.u64(..);
                let image = disk.after_a_cut(leaves, &mut Rng::with_seed(seed));
                let found = start_on(&home, &disk, &image)
                    .with_context(|| format!("cut {number}, {leaves:?}, seed {seed}: {op:?}"))?;
                let at = format!("cut before operation {number} ({leaves:?}, seed {seed})");
                compare(&found, &promised, recorded, row, &at, &mut replayed.outcomes);
            }
        }
        disk.apply(op);
        promised.hear(op, recorded);
    }
    for (ack, outcome) in &mut replayed.outcomes {
        outcome.promised = promised.accepted.values().filter(|level| *level == ack).count() as u64;
    }
    Ok(replayed)
}

/// What was promised at a moment of the record.
#[derive(Default)]
struct Promised {
    accepted: HashMap<Uuid, Ack>,
    delivered: HashSet<Uuid>,
}

impl Promised {
    fn hear(&mut self, op: &Op, recorded: &Recorded) {
        match op {
            Op::Accepted(id) => {
                let with = recorded.taken_with.get(id).into_iter().flatten();
                self.accepted.extend(with.map(|id| (*id, Ack::None)));
                if let Some(ack) = recorded.sent.get(id) {
                    self.accepted.insert(*id, *ack);
                }
            }
            Op::Delivered(ids) => self.delivered.extend(ids),
            _ => {}
        }
    }
}

/// What a daemon found.
struct Found {
    ids: HashSet<Uuid>,
    twice: usize,
    balanced: bool,
    start_ms: f64,
    log: String,
}

/// Builds a directory, starts a daemon on it and asks what it holds.
fn start_on(home: &Home, disk: &Disk, image: &Image) -> Result<Found> {
    let state = home.at("state");
    fs::remove_dir_all(&state)?;
    for folder in std::iter::once(state.clone()).chain(disk.directories().iter().map(|path| state.join(path)))
    {
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
    }
    for (path, bytes) in image {
        let path = state.join(path);
        let folder = path.parent().context("a file is in a folder")?;
        fs::create_dir_all(folder)?;
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    }
    let _ = fs::remove_file(home.at("log"));
    let begun = clock::now();
    let mut daemon = home.start()?;
    let start_ms = begun.elapsed().as_secs_f64() * 1e3;
    let mut found = Found {
        ids: HashSet::new(),
        twice: 0,
        balanced: daemon.books()?.balanced,
        start_ms,
        log: String::new(),
    };
    for action in ["list", "parked"] {
        for id in list(&daemon.socket(), action)? {
            found.twice += usize::from(!found.ids.insert(id));
        }
    }
    daemon.kill9();
    found.log = home.log();
    Ok(found)
}

/// The ids of the events that wait, or are parked.
fn list(socket: &std::path::Path, action: &str) -> Result<Vec<Uuid>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    writeln!(stream, "{}", json!({ "op": "queue", "action": action }))?;
    let mut ids = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line: Value = serde_json::from_str(&line?)?;
        if line["status"] == "end" {
            return Ok(ids);
        }
        let id = line["id"].as_str().with_context(|| format!("no id in {line}"))?;
        ids.push(Uuid::try_parse(id)?);
    }
    bail!("the list does not end")
}

fn compare(
    found: &Found,
    promised: &Promised,
    recorded: &Recorded,
    row: &Row,
    at: &str,
    outcomes: &mut [(Ack, Outcome)],
) {
    let strangers = found
        .ids
        .iter()
        .filter(|id| !recorded.sent.contains_key(*id))
        .count();
    for (ack, outcome) in outcomes.iter_mut() {
        let of = |id: &Uuid| promised.accepted.get(id) == Some(ack);
        let lost = promised
            .accepted
            .keys()
            .filter(|id| of(id) && !found.ids.contains(*id) && !promised.delivered.contains(*id))
            .count() as u64;
        let again = promised
            .delivered
            .iter()
            .filter(|id| of(id) && found.ids.contains(*id));
        outcome.doubled = outcome.doubled.max(again.count() as u64);
        outcome.lost = outcome.lost.max(lost);
        outcome.away_ms.push(found.start_ms);
        if lost > 0 && !row.may_lose.contains(ack) {
            outcome.wrong.push(format!("{lost} events are lost: {at}"));
        }
    }
    let mut wrong = |holds: bool, text: &str| {
        if !holds && let Some((_, outcome)) = outcomes.last_mut() {
            outcome.wrong.push(format!("{text}: {at}\n{}", found.log));
        }
    };
    wrong(found.balanced, "the books do not balance");
    wrong(
        !found.log.contains("do not balance"),
        "the log says that the books do not balance",
    );
    wrong(found.twice == 0, "an event is there twice");
    wrong(strangers == 0, "an id that nobody sent");
}
