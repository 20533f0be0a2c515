//! The endpoint that counts: a sink in a thread of its own.

use std::collections::HashMap;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result};
use telemetry_sink::{Counts, Deduplicate, Echo, Keep, Script, Sink, SinkThread};
use uuid::Uuid;

/// A counting sink and the thread that serves it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    sink: Sink,
    thread: SinkThread,
}

impl Endpoint {
    /// One that remembers every event's id.
    ///
    /// # Errors
    /// When there is no port or no thread.
    pub(crate) fn new() -> Result<Self> {
        Self::with(Script::new())
    }

    /// One that honours `Idempotency-Key`: a batch that comes again is not stored again.
    ///
    /// # Errors
    /// When there is no port or no thread.
    pub(crate) fn that_knows_batches() -> Result<Self> {
        Self::with(Script::new().deduplicate(Deduplicate::Batch))
    }

    /// Takes everything, and names the batch's id in its answer.
    pub(crate) fn honest() -> Script {
        Script::new().echo(Echo::Body)
    }

    /// One that stores what comes as often as it comes, and remembers each request.
    ///
    /// # Errors
    /// When there is no port or no thread.
    pub(crate) fn that_keeps_everything() -> Result<Self> {
        Self::keeping(Self::honest(), Keep::Everything)
    }

    fn with(script: Script) -> Result<Self> {
        Self::keeping(script, Keep::Ids)
    }

    fn keeping(script: Script, keep: Keep) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot bind a port of the loopback")?;
        let sink = Sink::new(script, keep);
        let thread = sink.start_in_thread(listener).context("cannot start the sink")?;
        Ok(Self { sink, thread })
    }

    /// What the daemon is told.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/events", self.thread.address())
    }

    /// What came so far.
    pub(crate) fn counts(&self) -> Counts {
        self.sink.memory().counts()
    }

    /// Whether the event has arrived.
    pub(crate) fn has(&self, id: Uuid) -> bool {
        let id = id.to_string();
        self.sink.memory().with(|seen| seen.times(&id)) > 0
    }

    /// Misbehaves as the script says from now on.
    pub(crate) fn play(&self, script: Script) {
        self.sink.play(script);
    }

    /// The `Idempotency-Key` of each stored batch that held an event, by the event's id, each as often as it came: of
    /// one that keeps everything.
    pub(crate) fn batches_of_events(&self) -> HashMap<String, Vec<String>> {
        let mut batches: HashMap<String, Vec<String>> = HashMap::new();
        self.sink.memory().with(|seen| {
            for request in seen.stored() {
                let key = request.idempotency_key().unwrap_or_default();
                for id in request.ids() {
                    batches.entry(id.to_owned()).or_default().push(key.to_owned());
                }
            }
        });
        batches
    }

    /// Waits until so many different events have arrived; `false` when they have not after `wait`.
    pub(crate) fn wait_for(&self, unique: u64, wait: Duration) -> bool {
        self.sink
            .memory()
            .wait(wait, |seen| (seen.counts().unique >= unique).then_some(()))
            .is_some()
    }
}
