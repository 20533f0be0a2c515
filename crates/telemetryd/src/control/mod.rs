//! Control: what people and scripts ask of the daemon (PROTOCOL.md, "Control"). Commands go down to the
//! rooms, snapshots come up; nothing here touches an event on its way.
//!
//! [`Service::serve`] answers one request; the connection calls it in the order of its requests.

mod caller;
mod consent;
mod doctor;
mod everybody;
mod forget;
mod gateway;
mod identity;
mod live;
mod metrics;
mod probe;
mod rows;
mod status;
pub mod tail;
mod tools;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use telemetry_protocol::PROTOCOL;
use telemetry_protocol::reason::ErrorCode;
use telemetry_protocol::request::Control;
use telemetry_protocol::time::Rfc3339;
use telemetry_queue::{Queue, QueueError};
use tokio::sync::{mpsc, oneshot, watch};

use self::caller::Caller;
pub(crate) use self::consent::{purge_withdrawn, purge_withdrawn_at_start};
use self::tail::Tail;
use crate::clock::Clock;
use crate::config::{Checked, Loaded, Places, Problems};
use crate::consent::Consent;
use crate::consent::manifests::ManifestProblem;
use crate::counters::Counters;
use crate::desk::Identity;
use crate::flush;
use crate::ingest::{Answers, Ended, Peer};
use crate::phase::{Ender, PhaseReader};

/// Asks for a reload; the answer says how many rows it withdrew, or what is wrong with the new files.
pub type ReloadRequest = oneshot::Sender<Result<u64, ReloadRefused>>;

/// What is wrong with the new files: the old settings stay.
#[derive(Debug)]
pub enum ReloadRefused {
    /// The configuration.
    Settings(Problems),
    /// Manifests.
    Manifests(Vec<ManifestProblem>),
}

impl ReloadRefused {
    fn problems(&self) -> Value {
        match self {
            Self::Settings(problems) => json!(problems),
            Self::Manifests(problems) => problems.iter().map(manifest_problem).collect(),
        }
    }
}

fn manifest_problem(p: &ManifestProblem) -> Value {
    json!({ "file": p.file.display().to_string(), "line": p.line, "key": null, "message": p.message })
}

impl std::fmt::Display for ReloadRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Settings(problems) => problems.fmt(f),
            Self::Manifests(problems) => problems.iter().try_for_each(|problem| writeln!(f, "{problem}")),
        }
    }
}

/// What control is given. Everything in it is a handle or a snapshot.
#[expect(missing_docs, reason = "handles of the rooms that their types name")]
pub struct Service {
    pub queue: Queue,
    pub consent: Arc<Consent>,
    pub clock: Arc<dyn Clock>,
    pub counters: Arc<Counters>,
    pub tail: Tail,
    pub settings: watch::Receiver<Arc<Checked>>,
    pub loaded: watch::Receiver<Arc<Loaded>>,
    pub flush: flush::Handle,
    pub phase: PhaseReader,
    pub ender: Ender,
    pub reload: mpsc::Sender<ReloadRequest>,
    pub places: Places,
    pub socket: PathBuf,
    /// Where the gateway listens.
    pub gateway: watch::Receiver<crate::gateway::State>,
    /// How many connections are open.
    pub open: watch::Receiver<usize>,
    /// What stands for users.
    pub identity: Arc<Identity>,
    /// State lies somewhere else than asked for, and why.
    pub moved: Option<String>,
}

impl Service {
    /// Answers one request.
    ///
    /// # Errors
    /// When the client was cut off.
    pub async fn serve(&self, request: Control, peer: Peer, out: &mut Answers) -> Result<(), Ended> {
        let caller = match Caller::of(&request, peer, self.places.mode) {
            Ok(caller) => caller,
            Err(rule) => {
                self.counters.refuse(ErrorCode::NotAllowed);
                out.error(ErrorCode::NotAllowed, &rule);
                return Ok(());
            }
        };
        match request {
            Control::Everybody(request) => match self.names_users(caller) {
                true => self.of_everybody(*request, out).await,
                // A user's daemon is that user's anyway.
                false => Box::pin(self.serve(*request, peer, out)).await,
            },
            Control::Hello { .. } => out.line(&self.hello()).await,
            Control::Status { .. } => {
                let status = self.status(caller).await;
                self.say(status, out).await
            }
            Control::Metrics { .. } => {
                let text = self
                    .metrics(caller)
                    .await
                    .map(|text| json!({ "ok": true, "text": text }));
                self.say(text, out).await
            }
            Control::Doctor { probe, .. } => {
                let mut checks = self.doctor(caller).await;
                if let (Ok(checks), true) = (&mut checks, probe) {
                    checks.extend(self.probe(caller).await);
                }
                let checks = checks.map(|checks| json!({ "ok": true, "checks": checks }));
                self.say(checks, out).await
            }
            Control::Config => {
                let shown = crate::config::show(&self.loaded.borrow());
                out.line(&json!({ "ok": true, "settings": shown })).await
            }
            Control::Flush {
                destination,
                wait,
                timeout,
                ..
            } => self.flush(destination, wait, timeout, caller, out).await,
            Control::Pause { destination, hold } => {
                if !self.known(destination.as_deref(), out) {
                    return Ok(());
                }
                self.flush
                    .order(flush::Command::Pause { destination, hold })
                    .await;
                out.line(&json!({ "ok": true, "status": "paused" })).await
            }
            Control::Resume { destination } => {
                if !self.known(destination.as_deref(), out) {
                    return Ok(());
                }
                self.flush.order(flush::Command::Resume { destination }).await;
                out.line(&json!({ "ok": true, "status": "resumed" })).await
            }
            Control::Reload => self.reload(out).await,
            Control::Stop { drain } => {
                out.line_now(&json!({ "ok": true, "status": "stopping" })).await?;
                self.ender.end(drain);
                Ok(())
            }
            Control::Register { manifest } => out.line(&self.register(&manifest).await).await,
            Control::Tools { tool } => self.tools(tool.as_deref(), caller.uid, out).await,
            Control::Consent {
                action,
                tool,
                project,
                limit,
            } => {
                let (tool, project) = (tool.as_deref(), project.as_deref());
                let about = consent::About { tool, project, limit };
                self.consent(action, about, caller.uid, out).await
            }
            Control::Identity { tool } => self.identity(tool.as_deref(), caller, out).await,
            Control::Forget { tool } => self.forget(tool.as_deref(), caller, out).await,
            Control::Queue {
                action,
                filter,
                limit,
                bodies,
                ..
            } => self.queue(action, filter, (limit, bodies), caller, out).await,
            Control::Sent {
                limit, tool, bodies, ..
            } => self.sent(limit, tool, bodies, caller, out).await,
            Control::Tail { tool, .. } => self.tail(tool.as_deref(), caller, out).await,
        }
    }

    fn hello(&self) -> Value {
        json!({
            "ok": true,
            "protocol": PROTOCOL,
            "server": format!("telemetryd/{}", crate::VERSION),
            "mode": self.places.mode.as_str(),
            "pid": std::process::id(),
        })
    }

    async fn reload(&self, out: &mut Answers) -> Result<(), Ended> {
        let (answer, told) = oneshot::channel();
        if self.reload.send(answer).await.is_err() {
            out.error(ErrorCode::ShuttingDown, "the daemon is shutting down");
            return Ok(());
        }
        match told.await {
            Ok(Ok(purged)) => {
                let mode = self.places.mode.as_str();
                out.line(&json!({ "ok": true, "status": "reloaded", "mode": mode, "purged": purged }))
                    .await
            }
            Ok(Err(refused)) => {
                let line = json!({
                    "ok": false, "error": ErrorCode::InvalidEvent.as_str(),
                    "message": "the new settings are bad; the old ones stay", "problems": refused.problems(),
                });
                out.line(&line).await
            }
            Err(_) => {
                out.error(ErrorCode::ShuttingDown, "the daemon is shutting down");
                Ok(())
            }
        }
    }

    /// Whether a destination of this name is in the config; says so if not.
    fn known(&self, destination: Option<&str>, out: &mut Answers) -> bool {
        let known = destination.is_none_or(|name| self.settings.borrow().destinations.contains_key(name));
        if !known {
            out.error(
                ErrorCode::InvalidEvent,
                "destination: names none of the config's destinations",
            );
        }
        known
    }

    /// A value, or what the queue said against it.
    async fn say(&self, value: Result<Value, QueueError>, out: &mut Answers) -> Result<(), Ended> {
        match value {
            Ok(value) => out.line(&value).await,
            Err(error) => {
                refuse(&error, out);
                Ok(())
            }
        }
    }
}

/// What the queue said against a request.
fn refuse(error: &QueueError, out: &mut Answers) {
    let code = match error.kind {
        telemetry_queue::ErrorKind::Closed => ErrorCode::ShuttingDown,
        _ => ErrorCode::Storage,
    };
    out.error(code, &error.to_string());
}

/// A moment for people: RFC 3339, UTC.
fn when(ms: i64) -> Value {
    Rfc3339(ms).to_string().into()
}

/// The end of a list.
fn end(count: u64) -> Value {
    json!({ "ok": true, "status": "end", "count": count })
}
