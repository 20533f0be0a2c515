//! One fault under one `ack`: a home, an endpoint, tools that speak, the fault, and the reckoning.
//!
//! What is promised is in ARCHITECTURE.md: I1 (what an answer means), I5 (the books), I8 (ids).

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use serde_json::json;
use uuid::Uuid;

use super::clients::Clients;
use super::mount::Mount;
use super::rows::{Disk, Row};
use crate::clock;
use crate::daemon::{Daemon, Home, Settings};
use crate::endpoint::Endpoint;
use crate::figure::median;
use crate::lines::Ack;
use crate::scenario::Bench;

/// Events that have arrived before anything goes wrong.
const WARM: u64 = 200;

/// A fault that keeps the service away for longer than this is a failure of the run.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether something has happened.
const STEP: Duration = Duration::from_micros(200);

/// What came of one trial, or of several.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Events that were answered as accepted; of `none`, handed to the socket.
    pub(super) promised: u64,
    /// Of them, those that did not arrive.
    pub(super) lost: u64,
    /// Events that arrived again, each as often as it did. An endpoint that honours events' ids knows them; one that
    /// honours `Idempotency-Key` does too, unless a power cut took the batch's id along.
    pub(super) doubled: u64,
    /// How long the service was away each time, in milliseconds.
    pub(super) away_ms: Vec<f64>,
    /// What must not be.
    pub(super) wrong: Vec<String>,
}

impl Outcome {
    /// The median of the times without service, in milliseconds.
    pub(super) fn away(&self) -> f64 {
        median(&self.away_ms)
    }

    /// Adds another trial's.
    pub(super) fn add(&mut self, other: Self) {
        self.promised += other.promised;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.away_ms.extend(other.away_ms);
        self.wrong.extend(other.wrong);
    }
}

/// What a fault is given.
pub(super) struct Trial<'t> {
    pub(super) home: &'t Home,
    pub(super) endpoint: &'t Endpoint,
    pub(super) clients: &'t Clients,
    pub(super) mount: Option<&'t Mount>,
    pub(super) ack: Ack,
    pub(super) random: Rng,
    daemon: Option<Daemon<'t>>,
    since: Instant,
    away: Option<Duration>,
}

impl<'t> Trial<'t> {
    /// The daemon that runs.
    ///
    /// # Errors
    /// When none does.
    pub(super) fn daemon(&mut self) -> Result<&mut Daemon<'t>> {
        self.daemon.as_mut().context("no daemon runs")
    }

    /// From now on the service is away, or was: the clock runs until an event made after this is served.
    pub(super) fn mark(&mut self) {
        self.clients.mark();
        self.since = clock::now();
        self.away = None;
    }

    /// Service is there again, as the fault has seen by itself.
    pub(super) fn served(&mut self) {
        self.away.get_or_insert(self.since.elapsed());
    }

    /// Ends the daemon as `kill -9` does.
    pub(super) fn kill(&mut self) {
        // Dropping kills and reaps.
        self.daemon = None;
    }

    /// Ends it as a service manager does.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub(super) fn term(&mut self) -> Result<()> {
        self.daemon.take().context("no daemon runs")?.term()
    }

    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn start(&mut self) -> Result<()> {
        self.daemon = Some(self.home.start()?);
        Ok(())
    }

    /// Starts one that another program becomes, or that dies at a named point, without waiting for it.
    pub(super) fn put(&mut self, daemon: Daemon<'t>) -> &mut Daemon<'t> {
        self.daemon.insert(daemon)
    }

    /// Waits for something.
    ///
    /// # Errors
    /// When it does not happen in time.
    pub(super) fn until(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> bool) -> Result<()> {
        let found = clock::until(PATIENCE, STEP, || look(self).then_some(()));
        found.with_context(|| format!("still not: {what}\n{}", self.home.log()))
    }

    /// Waits until an event is refused (a tool of `none` would not know: it waits for a moment), and a moment more.
    ///
    /// # Errors
    /// When none is in time.
    pub(super) fn until_refused(&mut self) -> Result<()> {
        if self.ack != Ack::None {
            let before = self.clients.refused();
            self.until("an event is refused", |trial| trial.clients.refused() > before)?;
        }
        clock::pause(Duration::from_millis(300));
        Ok(())
    }

    /// Holds deliveries back until so many events wait.
    ///
    /// # Errors
    /// When they do not come.
    pub(super) fn hold(&mut self, events: u64) -> Result<()> {
        self.daemon()?.order(&json!({ "op": "pause" }))?;
        self.until("events wait", |trial| {
            let books = trial.daemon().and_then(|daemon| daemon.books());
            books.is_ok_and(|books| books.queued >= events)
        })
    }

    /// Lets them go.
    ///
    /// # Errors
    /// When it is not answered.
    pub(super) fn release(&mut self) -> Result<()> {
        self.daemon()?.order(&json!({ "op": "resume" })).map(|_| ())
    }

    /// Whether an event made since the mark was served: answered, and of `none`, delivered.
    fn is_served(&self) -> bool {
        match self.ack {
            Ack::None => self.clients.fresh().into_iter().any(|id| self.endpoint.has(id)),
            Ack::Queued | Ack::Synced => self.clients.returned().is_some(),
        }
    }
}

/// Plays a row once.
///
/// # Errors
/// When it cannot be played, or the service does not return.
pub(super) fn play(bench: &Bench, row: &Row, ack: Ack, seed: u64) -> Result<Outcome> {
    let endpoint = Endpoint::that_keeps_everything()?;
    let home = bench.home(&Settings {
        max_wait: Some("10ms"),
        small: matches!(row.disk, Disk::Small),
        more: row.more,
        ..Settings::to(&endpoint.url())
    })?;
    let state = home.at("state");
    let mount = match row.disk {
        Disk::Plain => None,
        Disk::Small => Some(Mount::memory(&state, "size=24m")?),
        Disk::Own => Some(Mount::ext4(&state, &home.at("disk.img"))?),
    };
    let daemon = if row.first { None } else { Some(home.start()?) };
    let clients = Clients::start(&home.socket(), ack);
    ensure!(
        row.first || endpoint.wait_for(WARM, PATIENCE),
        "nothing arrives:\n{}",
        home.log()
    );
    let mut trial = Trial {
        home: &home,
        endpoint: &endpoint,
        clients: &clients,
        mount: mount.as_ref(),
        ack,
        random: Rng::with_seed(seed),
        daemon,
        since: clock::now(),
        away: None,
    };
    (row.play)(&mut trial)?;
    trial.until("an event is served again", |trial| {
        trial.away.is_some() || trial.is_served()
    })?;
    let away = match (trial.away, clients.returned()) {
        (Some(away), _) => away,
        // Answered a moment ago: the answer was when it was heard.
        (None, Some(heard)) if ack != Ack::None => heard.saturating_duration_since(trial.since),
        (None, _) => trial.since.elapsed(),
    };
    let more = clients.count() + 100;
    trial.until("more events", |trial| trial.clients.count() >= more)?;
    let daemon = trial.daemon.take().context("no daemon runs")?;
    let promised = clients.finish()?;
    let mut outcome = reckon(&daemon, &endpoint, &promised, row, ack)?;
    outcome.away_ms.push(away.as_secs_f64() * 1e3);
    if home.log().contains("do not balance") {
        outcome
            .wrong
            .push("the log says that the books do not balance".to_owned());
    }
    if let Some(wrong) = outcome.wrong.last_mut() {
        // The last lines of what the daemons said.
        let log = home.log();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.len().saturating_sub(30);
        wrong.push_str(&format!("\n{}", lines[last..].join("\n")));
    }
    drop(daemon);
    Ok(outcome)
}

/// Waits until everything has left, and compares.
fn reckon(
    daemon: &Daemon<'_>,
    endpoint: &Endpoint,
    promised: &HashSet<Uuid>,
    row: &Row,
    ack: Ack,
) -> Result<Outcome> {
    // What a tool of `none` has written is perhaps not read yet.
    let mut before = u64::MAX;
    let mut books = daemon.drained(PATIENCE)?;
    while before != books.accepted {
        before = books.accepted;
        clock::pause(Duration::from_millis(50));
        books = daemon.drained(PATIENCE)?;
    }
    let lost = promised.iter().filter(|id| !endpoint.has(**id)).count() as u64;
    let arrived = endpoint.batches_of_events();
    let mut outcome = Outcome {
        promised: promised.len() as u64,
        lost,
        ..Outcome::default()
    };
    let mut in_two = 0;
    for batches in arrived.values() {
        let different: HashSet<&String> = batches.iter().collect();
        in_two += u64::from(different.len() > 1);
        outcome.doubled += batches.len() as u64 - 1;
    }
    let mut wrong = |holds: bool, text: String| {
        if !holds {
            outcome.wrong.push(text);
        }
    };
    // I8. Which events are a batch is committed before it is sent, and not synced: a power cut may take that along.
    let forgets = row.forgets || row.disk == Disk::Own;
    wrong(
        in_two == 0 || forgets,
        format!("{in_two} events came in two batches"),
    );
    wrong(books.balanced, format!("the books do not balance: {books:?}"));
    wrong(books.queued == 0, format!("events are left: {books:?}"));
    // I5. What `none` had not reached the daemon is in no book.
    let booked = ack == Ack::None || lost <= books.elsewhere;
    wrong(
        booked || !row.booked,
        format!("{lost} events are lost, the books say {books:?}"),
    );
    let allowed = row.may_lose.contains(&ack);
    wrong(
        lost == 0 || allowed,
        format!("{lost} of {} events are lost", promised.len()),
    );
    Ok(outcome)
}
