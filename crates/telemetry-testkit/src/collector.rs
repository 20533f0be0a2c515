//! An endpoint with a memory and with expectations: it fails the test on what it was not told to expect.
//!
//! It runs in a thread of its own, so it answers while the test's thread waits. Unless the test says
//! otherwise, it is wrong that a body cannot be decoded, that an event comes of a tool that was not
//! announced, that an event arrives twice (I8), that a batch's id comes with other events than before (I8),
//! and that a request lacks the headers of DELIVERY.md.

mod expected;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use telemetry_sink::{Counts, Keep, Memory, Received, Script, Seen, Sink, SinkThread, Tls};

use crate::eventually::DEADLINE;
use crate::port::Port;
use expected::Expected;

/// A collector before it listens.
#[derive(Clone, Debug, Default)]
pub struct CollectorBuilder {
    script: Script,
    tls: Option<Tls>,
    expected: Expected,
}

impl CollectorBuilder {
    /// Misbehaves as the script says.
    #[must_use]
    pub fn script(mut self, script: Script) -> Self {
        self.script = script;
        self
    }

    /// Serves TLS with that certificate.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Events of this tool will come.
    #[must_use]
    pub fn expect_tool(mut self, tool: &str) -> Self {
        self.expected.tools.insert(tool.to_owned());
        self
    }

    /// Events of any tool may come.
    #[must_use]
    pub fn expect_any_tool(mut self) -> Self {
        self.expected.any_tool = true;
        self
    }

    /// The sender may die or be cut off at any moment: bodies may break off, and events arrive twice.
    #[must_use]
    pub fn expect_crashes(mut self) -> Self {
        self.expected.broken_off = true;
        self.expected.duplicates = true;
        self
    }

    /// Bodies that cannot be decoded, or do not come whole, may come.
    #[must_use]
    pub fn expect_undecodable(mut self) -> Self {
        self.expected.undecodable = true;
        self
    }

    /// Events may arrive twice: something between the two ends fails, or a daemon is killed.
    #[must_use]
    pub fn expect_duplicates(mut self) -> Self {
        self.expected.duplicates = true;
        self
    }

    /// Requests may come that telemetryd did not make, without its headers.
    #[must_use]
    pub fn expect_foreign_requests(mut self) -> Self {
        self.expected.foreign = true;
        self
    }

    /// Not one request may come.
    #[must_use]
    pub fn expect_nothing(mut self) -> Self {
        self.expected.nothing = true;
        self
    }

    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn start(self) -> Collector {
        let port = Port::reserve();
        let sink = Sink::with(self.script, Keep::Everything, self.tls, |_| {});
        let mut collector = Collector {
            sink,
            port,
            thread: None,
            expected: self.expected,
            checked: false,
        };
        collector.resume();
        collector
    }
}

/// An endpoint that remembers everything.
#[derive(Debug)]
pub struct Collector {
    sink: Sink,
    port: Port,
    thread: Option<SinkThread>,
    expected: Expected,
    checked: bool,
}

impl Collector {
    /// To be started.
    #[must_use]
    pub fn builder() -> CollectorBuilder {
        CollectorBuilder::default()
    }

    /// Started, without misbehaviour, expecting events of that tool.
    #[must_use]
    pub fn for_tool(tool: &str) -> Self {
        Self::builder().expect_tool(tool).start()
    }

    /// Where it listens, also while it does not.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The URL to put into a configuration, by address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}/v1/events", self.sink.scheme(), self.address())
    }

    /// The URL by the name `localhost`, for certificates.
    #[must_use]
    pub fn url_by_name(&self) -> String {
        format!(
            "{}://localhost:{}/v1/events",
            self.sink.scheme(),
            self.address().port()
        )
    }

    /// A `[destinations.default]` for a daemon's configuration, which sends at once and retries soon.
    #[must_use]
    pub fn destination(&self) -> String {
        format!(
            "[destinations.default]\nurl = \"{}\"\nbatch = {{ max_wait = \"100ms\" }}\n\
             retry = {{ initial = \"50ms\", max = \"500ms\", spread = \"100ms\" }}\n",
            self.url()
        )
    }

    /// Plays another script from its beginning.
    pub fn play(&self, script: Script) {
        self.sink.play(script);
    }

    /// Closes the listener and all connections: the next connection is refused. What was seen is kept, and
    /// so is the port.
    pub fn refuse_connections(&mut self) {
        self.thread = None;
    }

    /// Listens again on the same port, where [`refuse_connections`](Self::refuse_connections) ended.
    ///
    /// # Panics
    /// When a thread cannot be had.
    pub fn resume(&mut self) {
        if self.thread.is_none() {
            let thread = self.sink.start_in_thread(self.port.listen());
            self.thread = Some(thread.expect("a thread with a runtime can be started"));
        }
    }

    /// What it remembers.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        self.sink.memory()
    }

    /// The numbers.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.memory().counts()
    }

    /// Waits until `look` finds something; it is asked again after every request.
    ///
    /// # Panics
    /// When it has not after `wait`, with `what` was waited for and what came.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, wait: Duration, look: impl FnMut(&Seen) -> Option<T>) -> T {
        match self.memory().wait(wait, look) {
            Some(found) => found,
            None => panic!("after {wait:?} still not: {what}; {:?}", self.counts()),
        }
    }

    /// Waits until so many different events have arrived.
    ///
    /// # Panics
    /// When they have not within [`DEADLINE`].
    #[track_caller]
    pub fn wait_for_events(&self, count: usize) {
        let what = format!("{count} events arrive");
        self.wait_for(&what, DEADLINE, |seen| {
            (seen.counts().unique >= count as u64).then_some(())
        });
    }

    /// Waits until the events of all these ids have arrived.
    ///
    /// # Panics
    /// When they have not within [`DEADLINE`], with those that lack.
    #[track_caller]
    pub fn wait_for_ids<S: AsRef<str>>(&self, ids: impl IntoIterator<Item = S>) {
        let mut lacking: BTreeSet<String> = ids.into_iter().map(|id| id.as_ref().to_owned()).collect();
        let all = self.memory().wait(DEADLINE, |seen| {
            lacking.retain(|id| seen.times(id) == 0);
            lacking.is_empty().then_some(())
        });
        let some: Vec<&String> = lacking.iter().take(5).collect();
        assert!(
            all.is_some(),
            "after {DEADLINE:?} {} events lack, such as {some:?}; {:?}",
            lacking.len(),
            self.counts()
        );
    }

    /// Waits until so many requests have come, whatever was answered.
    ///
    /// # Panics
    /// When they have not within [`DEADLINE`].
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) {
        let what = format!("{count} requests come");
        self.wait_for(&what, DEADLINE, |seen| {
            (seen.counts().requests >= count as u64).then_some(())
        });
    }

    /// All requests, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Arc<Received>> {
        self.memory().with(|seen| seen.requests().cloned().collect())
    }

    /// The requests whose events count as arrived, oldest first.
    #[must_use]
    pub fn batches(&self) -> Vec<Arc<Received>> {
        self.memory().with(|seen| seen.stored().cloned().collect())
    }

    /// The events that arrived, in order, each as often as it came.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.batches()
            .iter()
            .flat_map(|received| received.events().to_vec())
            .collect()
    }

    /// The ids of the events that arrived.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<String> {
        self.memory().with(|seen| seen.ids().collect())
    }

    /// From now on, events of this tool may come too.
    pub fn expect_tool(&mut self, tool: &str) {
        self.expected.tools.insert(tool.to_owned());
    }

    /// From now on, events may arrive twice.
    pub fn expect_duplicates(&mut self) {
        self.expected.duplicates = true;
    }

    /// From now on, the sender may die or be cut off at any moment.
    pub fn expect_crashes(&mut self) {
        self.expected.broken_off = true;
        self.expected.duplicates = true;
    }

    /// What came so far and was not expected, a line each.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.expected
            .complaints(&self.requests(), self.counts().duplicates)
    }

    /// The same, for a test that means to look at it: it does not fail by it any more.
    #[must_use]
    pub fn into_complaints(mut self) -> Vec<String> {
        self.checked = true;
        self.complaints()
    }

    /// Checks what came now, in place of when it is dropped.
    ///
    /// # Panics
    /// When something came that was not expected.
    #[track_caller]
    pub fn finish(mut self) {
        self.checked = true;
        self.thread = None;
        self.check();
    }

    #[track_caller]
    fn check(&self) {
        let complaints = self.complaints();
        assert!(
            complaints.is_empty(),
            "the endpoint got what nobody told it to expect:\n{}",
            complaints.join("\n")
        );
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // The thread first, so that nothing comes while it is looked at.
        self.thread = None;
        if !self.checked && !std::thread::panicking() {
            self.check();
        }
    }
}
