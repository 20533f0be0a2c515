//! The answering half of a connection: answers in the order of the requests, after the commit (I1).
//!
//! A client that does not read is cut off after `answer_timeout` without progress, or with `max_unread`
//! bytes of answers that it has not taken; until then its events are still taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use telemetry_protocol::answer::{self, EventAnswer};
use telemetry_protocol::event::{Ack, Rejected};
use telemetry_protocol::reason::ErrorCode;
use telemetry_protocol::request::Control;
use telemetry_queue::{Appended, ErrorKind, QueueError};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot, watch};

use super::intake::Slot;
use super::{Peer, Shared};
use crate::config::Limits;
use crate::counters::Counters;

/// Answers of this size are written before more are gathered.
const GATHER: usize = 32 * 1024;

/// What the queue will say of an append.
pub(super) type AppendAnswer = oneshot::Receiver<Result<Vec<Appended>, QueueError>>;

/// What is to be answered next.
pub(super) enum Reply {
    /// Known already.
    Ready(Vec<EventAnswer>),
    /// When the queue has said; `None`: it is closed.
    Appended(Option<AppendAnswer>, Vec<Slot>),
    /// By the control room.
    Control(Result<Control, Rejected>),
}

/// The connection ended: the client was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;

/// The answering half.
pub struct Answers {
    write: OwnedWriteHalf,
    replies: mpsc::Receiver<Reply>,
    /// A control request that has to wait until the client has taken what was said before.
    held: Option<Reply>,
    out: Vec<u8>,
    /// The client has closed: what is processed for it is answered to nobody.
    gone: bool,
    reader_ended: watch::Receiver<bool>,
    pending: Arc<AtomicUsize>,
    answer_timeout: Duration,
    max_unread: usize,
    counters: Arc<Counters>,
}

impl Answers {
    pub(super) fn new(
        write: OwnedWriteHalf,
        replies: mpsc::Receiver<Reply>,
        reader_ended: watch::Receiver<bool>,
        pending: Arc<AtomicUsize>,
        limits: &Limits,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            write,
            replies,
            held: None,
            out: Vec::new(),
            gone: false,
            reader_ended,
            pending,
            answer_timeout: limits.answer_timeout,
            max_unread: limits.max_unread,
            counters,
        }
    }

    /// Answers until all requests are, or the client is cut off.
    pub(super) async fn run(mut self, peer: Peer, shared: &Arc<Shared>) {
        if self.answer_all(peer, shared).await.is_err() {
            shared.counters.cut_off.add(1);
            tracing::info!(
                uid = peer.uid,
                pid = peer.pid,
                "a client that does not read its answers was cut off"
            );
        }
    }

    async fn answer_all(&mut self, peer: Peer, shared: &Arc<Shared>) -> Result<(), Ended> {
        loop {
            let reply = match self.held.take() {
                Some(reply) => reply,
                None => match self.replies.recv().await {
                    Some(reply) => reply,
                    None => return Ok(()),
                },
            };
            match reply {
                Reply::Control(request) => {
                    match request {
                        Ok(request) => shared.service.serve(request, peer, self).await?,
                        Err(rejected) => self.out.extend(answer::rejected(&rejected)),
                    }
                    self.done();
                }
                other => self.render(other).await,
            }
            self.gather().await;
            self.write_all().await?;
        }
    }

    /// Takes more that can be answered without waiting, so that a pipelining client costs one write.
    async fn gather(&mut self) {
        while self.out.len() < GATHER && self.held.is_none() {
            match self.replies.try_recv() {
                Ok(Reply::Appended(Some(mut answer), slots)) => match answer.try_recv() {
                    Ok(said) => {
                        self.appended(said, &slots);
                        self.done();
                    }
                    Err(oneshot::error::TryRecvError::Empty) => {
                        self.held = Some(Reply::Appended(Some(answer), slots));
                    }
                    Err(oneshot::error::TryRecvError::Closed) => {
                        self.render(Reply::Appended(None, slots)).await;
                    }
                },
                Ok(reply @ Reply::Control(_)) => self.held = Some(reply),
                Ok(reply) => self.render(reply).await,
                Err(_) => return,
            }
        }
    }

    fn done(&self) {
        self.pending.fetch_sub(1, Ordering::Relaxed);
    }

    async fn render(&mut self, reply: Reply) {
        match reply {
            Reply::Ready(answers) => {
                for answer in answers {
                    answer.write(&mut self.out);
                }
            }
            Reply::Appended(answer, slots) => {
                let said = match answer {
                    Some(answer) => answer.await.ok(),
                    None => None,
                };
                match said {
                    Some(said) => self.appended(said, &slots),
                    None => self.each(&slots, |id, _| {
                        let message = "the daemon is shutting down; the event was not taken".to_owned();
                        EventAnswer::Error {
                            code: ErrorCode::ShuttingDown,
                            message,
                            id: Some(id),
                        }
                    }),
                }
            }
            Reply::Control(_) => {}
        }
        self.done();
    }

    fn appended(&mut self, said: Result<Vec<Appended>, QueueError>, slots: &[Slot]) {
        match said {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                let counters = Arc::clone(&self.counters);
                self.each(slots, |id, ack| match outcomes.next() {
                    Some(Appended::Queued) if ack == Ack::Synced => EventAnswer::Synced(id),
                    Some(Appended::Queued) => EventAnswer::Queued(id),
                    Some(Appended::Duplicate) => {
                        counters.duplicates.add(1);
                        EventAnswer::Duplicate(id)
                    }
                    Some(Appended::Refused) => {
                        counters.refuse(ErrorCode::QueueFull);
                        let message =
                            "the queue takes at most 64 tools of a user, and no event larger than its limit"
                                .to_owned();
                        EventAnswer::Error {
                            code: ErrorCode::QueueFull,
                            message,
                            id: Some(id),
                        }
                    }
                    None => {
                        let message = "the queue said nothing of this event".to_owned();
                        EventAnswer::Error {
                            code: ErrorCode::Internal,
                            message,
                            id: Some(id),
                        }
                    }
                });
            }
            Err(error) => {
                let code = match error.kind {
                    ErrorKind::Closed => ErrorCode::ShuttingDown,
                    _ => ErrorCode::Storage,
                };
                let message = match error.kind {
                    ErrorKind::DiskFull => "the disk is full; the event was not stored".to_owned(),
                    _ => format!("{error}; the event was not stored"),
                };
                let counters = Arc::clone(&self.counters);
                self.each(slots, |id, _| {
                    counters.refuse(code);
                    EventAnswer::Error {
                        code,
                        message: message.clone(),
                        id: Some(id),
                    }
                });
            }
        }
    }

    fn each(&mut self, slots: &[Slot], mut of_event: impl FnMut(uuid::Uuid, Ack) -> EventAnswer) {
        for slot in slots {
            match slot {
                Slot::Ready(answer) => answer.write(&mut self.out),
                Slot::Event(id, ack) => {
                    let answer = of_event(*id, *ack);
                    if *ack != Ack::None {
                        answer.write(&mut self.out);
                    }
                }
            }
        }
    }

    /// Writes what was gathered. While the client does not take it, events that come are still answered
    /// into memory, up to the bound.
    async fn write_all(&mut self) -> Result<(), Ended> {
        let mut written = 0;
        let mut patience = None;
        while written < self.out.len() && !self.gone {
            match self.write.try_write(&self.out[written..]) {
                Ok(bytes) => {
                    written += bytes;
                    patience = None;
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    let more = self.held.is_none();
                    let timeout = self.answer_timeout;
                    let patience = patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                    tokio::select! {
                        ready = self.write.writable() => self.gone |= ready.is_err(),
                        Some(reply) = self.replies.recv(), if more => match reply {
                            Reply::Control(_) => self.held = Some(reply),
                            other => self.render(other).await,
                        },
                        () = patience => return Err(Ended),
                    }
                    if self.out.len() - written > self.max_unread {
                        return Err(Ended);
                    }
                }
                Err(_) => self.gone = true,
            }
        }
        self.out.clear();
        if self.out.capacity() > GATHER * 2 {
            self.out = Vec::new();
        }
        Ok(())
    }

    /// One line of a control answer; waits while the client is slow.
    ///
    /// # Errors
    /// When the client was cut off.
    pub async fn line(&mut self, value: &Value) -> Result<(), Ended> {
        answer::push(&mut self.out, value);
        if self.out.len() >= GATHER {
            self.write_all().await
        } else {
            Ok(())
        }
    }

    /// One line, written at once.
    ///
    /// # Errors
    /// When the client was cut off.
    pub async fn line_now(&mut self, value: &Value) -> Result<(), Ended> {
        answer::push(&mut self.out, value);
        self.write_all().await
    }

    /// An error answer.
    pub fn error(&mut self, code: ErrorCode, message: &str) {
        self.out.extend(answer::error(code, message));
    }

    /// Whether the client can still hear.
    #[must_use]
    pub fn heard(&self) -> bool {
        !self.gone
    }

    /// Waits until the client has closed, or has said that it will say nothing more. Cancel safe.
    pub async fn client_closed(&mut self) {
        let _ = self.reader_ended.wait_for(|ended| *ended).await;
    }
}
