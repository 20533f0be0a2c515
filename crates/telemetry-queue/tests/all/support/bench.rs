//! One queue, spoken to without `async`.

use std::path::Path;
use std::sync::Arc;

use telemetry_queue::{
    Append, Appended, Book, ClaimLimits, Claimed, ErrorKind, Filter, Id, Moment, OpenReport, Options,
    Outcome, Owner, PurgeReason, Purged, Queue, QueueError, Row, RowState, Sent, Settled, View,
};

use super::{START, at_most, delivered, options, total};

/// One queue, opened.
pub(crate) struct Bench {
    runtime: tokio::runtime::Runtime,
    queue: Queue,
    owner: Option<Owner>,
    /// What opening it said.
    pub(crate) report: OpenReport,
}

impl Bench {
    /// Opens a queue that nobody else has. Another test that starts a process holds, between its fork and its exec,
    /// a copy of every lock of this one: so a lock that was released may be in the way for a moment.
    pub(crate) fn open(options: &Options, at: Moment) -> Result<Self, QueueError> {
        for _ in 0..10_000 {
            match Self::open_at_once(options, at) {
                Err(error) if matches!(error.kind, ErrorKind::Busy { .. } | ErrorKind::Passing { .. }) => {
                    std::thread::yield_now()
                }
                result => return result,
            }
        }
        Self::open_at_once(options, at)
    }

    pub(crate) fn open_at_once(options: &Options, at: Moment) -> Result<Self, QueueError> {
        let bench = Self::open_unchecked(options, at)?;
        bench.wait(bench.queue.begin_check())?;
        Ok(bench)
    }

    /// Without the check in the background.
    pub(crate) fn open_unchecked(options: &Options, at: Moment) -> Result<Self, QueueError> {
        let (queue, owner, report) = telemetry_queue::open(options.clone(), at)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Ok(Self {
            runtime,
            queue,
            owner: Some(owner),
            report,
        })
    }

    /// In a directory, with the defaults, at the start of time.
    pub(crate) fn start(directory: &Path) -> Self {
        Self::open(&options(directory), START).unwrap()
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Waits for one answer.
    pub(crate) fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    pub(crate) fn append(&self, append: Append) -> Result<Vec<Appended>, QueueError> {
        self.wait(self.queue.append(append))
    }

    pub(crate) fn claim(&self, destination: &str, limits: ClaimLimits, at: Moment) -> Option<Claimed> {
        self.wait(self.queue.claim(&destination.into(), limits, at))
            .unwrap()
    }

    pub(crate) fn settle(&self, batch: Id, outcome: Outcome, at: Moment) -> Settled {
        self.wait(self.queue.settle(batch, outcome, None, at)).unwrap()
    }

    /// Claims and delivers until nothing is left; returns how many events went.
    pub(crate) fn deliver_all(&self, destination: &str, at: Moment) -> u64 {
        let mut events = 0;
        while let Some(claimed) = self.claim(destination, at_most(500), at) {
            events += claimed.events.len() as u64;
            self.settle(claimed.id, delivered(), at);
        }
        events
    }

    pub(crate) fn purge(&self, filter: Filter, reason: PurgeReason, at: Moment) -> Purged {
        self.wait(self.queue.purge(filter, reason, at)).unwrap()
    }

    pub(crate) fn requeue(&self, filter: Filter, at: Moment) -> u64 {
        self.wait(self.queue.requeue(filter, at)).unwrap()
    }

    /// All rows, page by page.
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.asked_again(|| {
            let mut rows = Vec::new();
            let mut after = None;
            loop {
                let page = self.wait(self.queue.rows(Filter::default(), &[], after, 100))?;
                rows.extend(page.rows);
                match page.next {
                    Some(next) => after = Some(next),
                    None => return Ok(rows),
                }
            }
        })
    }

    /// A question that met damage is answered by an error which may pass: asked again it is answered.
    fn asked_again<T>(&self, ask: impl Fn() -> Result<T, QueueError>) -> T {
        match ask() {
            Err(error) if error.kind == ErrorKind::Io => ask().unwrap(),
            answer => answer.unwrap(),
        }
    }

    pub(crate) fn rows_in(&self, state: RowState) -> Vec<Row> {
        self.rows().into_iter().filter(|row| row.state == state).collect()
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.asked_again(|| self.wait(self.queue.sent(1_000_000, None, None, true)))
    }

    pub(crate) fn books(&self) -> Vec<Book> {
        self.wait(self.queue.books(None)).unwrap()
    }

    /// All lanes together.
    pub(crate) fn total(&self) -> Book {
        total(&self.books())
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.queue.view().borrow().clone()
    }

    /// Asks until `done` says so; for what the writer does in turns of its own.
    pub(crate) fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..100_000 {
            if done(self) {
                return;
            }
            std::thread::yield_now();
        }
        panic!("it never happened that {what}");
    }

    /// Waits until everything was read once in the background, and what is wrong was dealt with.
    pub(crate) fn until_checked(&self) {
        self.until("the background check is complete", |bench| {
            bench.wait(bench.queue.checked()).unwrap().complete
        });
    }

    /// Closes it where closing may fail.
    pub(crate) fn try_close(mut self) -> Result<(), QueueError> {
        self.owner.take().unwrap().close()
    }

    pub(crate) fn close(mut self) {
        self.owner.take().unwrap().close().unwrap();
    }
}

impl Drop for Bench {
    /// A test that fails must not leave the writer behind with its lock.
    fn drop(&mut self) {
        if let Some(owner) = self.owner.take() {
            let _ = owner.close();
        }
    }
}
