//! The answering half of a connection: answers in the order of the requests, after the commit (I1).
//!
//! A client that does not read is cut off after `answer_timeout` without progress, or with `max_unread`
//! bytes of answers that it has not taken. Until then events that come are still answered into memory; a
//! control request waits until the client has taken what was said before.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use telemetry_protocol::answer;
use telemetry_protocol::event::Rejected;
use telemetry_protocol::reason::ErrorCode;
use telemetry_protocol::request::Control;
use telemetry_queue::{Appended, QueueError};
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::intake::Slot;
use super::outcome::{Said, Told};
use super::users::Seat;
use super::{Peer, Shared};
use crate::config::Limits;
use crate::control::tail::Tail;
use crate::counters::Counters;

/// Answers of this size are written before more are gathered.
const GATHER: usize = 32 * 1024;

/// With `max_unread` bytes before it, a client has this part of `answer_timeout` to take some: one that reads, and
/// is only slower than we answer, is not cut off.
const SHORT: u32 = 10;

/// So few events are a command that waits for its answer. Their commit takes about as long as it takes this thread to
/// fall asleep and to be woken: it stays awake for it. (Measured: the answer comes after 76 µs instead of 100.)
const FEW: usize = 8;

/// How often it is looked whether they are committed before this thread sleeps: for about 100 µs.
const LOOKS: u32 = 64;

/// What the queue will say of an append.
pub(super) type AppendAnswer = oneshot::Receiver<Result<Vec<Appended>, QueueError>>;

/// What is to be answered next.
pub(super) enum Reply {
    /// Known already.
    Ready(Vec<Slot>),
    /// When the queue has said; `None`: it is closed.
    Appended(Option<AppendAnswer>, Vec<Slot>),
    /// By the control room.
    Control(Result<Control, Rejected>),
}

/// What the queue said; `None`: it is closed.
async fn committed(mut answer: AppendAnswer, events: usize) -> Said {
    for _ in 0..if events <= FEW { LOOKS } else { 0 } {
        match answer.try_recv() {
            Ok(said) => return Some(said),
            Err(oneshot::error::TryRecvError::Closed) => return None,
            Err(oneshot::error::TryRecvError::Empty) => {}
        }
        // Whoever else has something to do does it: the writer where there is but one core, and other connections.
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
    answer.await.ok()
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
    room: Arc<Semaphore>,
    answer_timeout: Duration,
    max_unread: usize,
    counters: Arc<Counters>,
    tail: Tail,
    uid: u32,
}

impl Answers {
    pub(super) fn new(
        write: OwnedWriteHalf,
        replies: mpsc::Receiver<Reply>,
        reader_ended: watch::Receiver<bool>,
        room: Arc<Semaphore>,
        limits: &Limits,
        shared: &Shared,
        uid: u32,
    ) -> Self {
        Self {
            write,
            replies,
            held: None,
            out: Vec::new(),
            gone: false,
            reader_ended,
            room,
            answer_timeout: limits.answer_timeout,
            max_unread: limits.max_unread,
            counters: Arc::clone(&shared.counters),
            tail: shared.tail.clone(),
            uid,
        }
    }

    /// Answers until all requests are, or the client is cut off.
    pub(super) async fn run(mut self, peer: Peer, seat: Option<&Seat>, shared: &Arc<Shared>) {
        if self.answer_all(peer, seat, shared).await.is_err() {
            shared.counters.cut_off.add(1);
            let said = "a client that does not read its answers was cut off";
            match seat {
                None => tracing::info!(uid = peer.uid, pid = peer.pid, "{said}"),
                // One of many users must not be able to fill the machine's log.
                Some(_) => tracing::debug!(uid = peer.uid, pid = peer.pid, "{said}"),
            }
        }
        // The socket is closed with its other half: nothing has to be shut down before.
        self.write.forget();
    }

    async fn answer_all(
        &mut self,
        peer: Peer,
        seat: Option<&Seat>,
        shared: &Arc<Shared>,
    ) -> Result<(), Ended> {
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
                        // Nobody hears the answer; what changes something is carried out all the same.
                        Ok(request) if self.gone && request.only_asks() => {}
                        Ok(request) => match seat {
                            Some(seat) => {
                                let kind = request.clone();
                                let served = shared.service.serve(request, peer, self);
                                seat.in_turn(&kind, served).await?;
                            }
                            None => shared.service.serve(request, peer, self).await?,
                        },
                        Err(rejected) => self.out.extend(answer::rejected(&rejected)),
                    }
                    self.done(1);
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
                        self.appended(Some(said), &slots);
                        self.done(slots.len());
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

    /// So many lines have been answered: the reading half may go on.
    fn done(&self, lines: usize) {
        self.room.add_permits(lines);
    }

    async fn render(&mut self, reply: Reply) {
        match reply {
            Reply::Ready(slots) => {
                self.appended(Some(Ok(Vec::new())), &slots);
                self.done(slots.len());
            }
            Reply::Appended(answer, slots) => {
                let said = match answer {
                    Some(answer) => committed(answer, slots.len()).await,
                    None => None,
                };
                self.appended(said, &slots);
                self.done(slots.len());
            }
            Reply::Control(_) => {}
        }
    }

    fn appended(&mut self, said: Said, slots: &[Slot]) {
        let told = Told {
            counters: &self.counters,
            tail: &self.tail,
            uid: self.uid,
        };
        told.each(said, slots, |answer| answer.write(&mut self.out));
    }

    /// Writes what was gathered. While the client does not take it, events that come are still answered
    /// into memory, up to the bound.
    async fn write_all(&mut self) -> Result<(), Ended> {
        let mut written = 0;
        let mut patience = None;
        let mut full = false;
        while written < self.out.len() && !self.gone {
            match self.write.try_write(&self.out[written..]) {
                Ok(bytes) => {
                    written += bytes;
                    patience = None;
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    let was_full = std::mem::replace(&mut full, self.out.len() - written > self.max_unread);
                    if full != was_full {
                        patience = None;
                    }
                    let more = self.held.is_none() && !full;
                    let timeout = if full {
                        self.answer_timeout / SHORT
                    } else {
                        self.answer_timeout
                    };
                    let patience = patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                    tokio::select! {
                        biased;
                        ready = self.write.writable() => self.gone |= ready.is_err(),
                        Some(reply) = self.replies.recv(), if more => match reply {
                            Reply::Control(_) => self.held = Some(reply),
                            other => self.render(other).await,
                        },
                        () = patience => return Err(Ended),
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
