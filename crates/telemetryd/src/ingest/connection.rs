//! One connection: its reading half. The other half, `answers.rs`, says what became of it.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::Arc;

use telemetry_protocol::request::Control;
use telemetry_queue::Ticket;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{Semaphore, mpsc, watch};

use super::answers::{Answers, Reply};
use super::frame::Framer;
use super::intake::{Intake, LINES, Reading};
use super::users::{PACE, Seat, TURN_BYTES, TURN_LINES, Turn};
use super::{Peer, Shared};
use crate::config::Checked;
use crate::phase::Phase;

/// Bytes of one read: about 340 events of 350 bytes, one transaction's worth. (Measured: with 64 KiB a transaction
/// costs each of its events a fifth more; from 128 KiB on the allocator maps each buffer anew.)
const READ: usize = 120 * 1024;
/// Lines whose answers may be outstanding; then reading waits (I6).
pub(super) const OUTSTANDING: usize = 8192;

/// Serves a connection to its end.
pub(super) async fn serve(stream: UnixStream, peer: Peer, seat: Option<&Seat>, shared: &Arc<Shared>) {
    let (read, write) = stream.into_split();
    let (sender, replies) = mpsc::channel(OUTSTANDING);
    let (ended, reader_ended) = watch::channel(false);
    let room = Arc::new(Semaphore::new(OUTSTANDING));
    if let Some(seat) = seat {
        seat.place().answers(&room);
    }
    let limits = shared.settings.borrow().limits.clone();
    let answers = Answers::new(
        write,
        replies,
        reader_ended,
        Arc::clone(&room),
        &limits,
        shared,
        peer.uid,
    );
    let reading = async {
        Reader {
            read: &read,
            peer,
            seat,
            shared,
            replies: &sender,
            room: &room,
        }
        .run()
        .await;
        drop(sender);
        ended.send_replace(true);
    };
    let answering = answers.run(peer, seat, shared);
    tokio::pin!(reading, answering);
    // A client that is cut off ends the connection; one that has said all is still answered.
    tokio::select! {
        () = &mut reading => answering.await,
        () = &mut answering => {}
    }
}

struct Reader<'c> {
    read: &'c OwnedReadHalf,
    peer: Peer,
    seat: Option<&'c Seat>,
    shared: &'c Arc<Shared>,
    replies: &'c mpsc::Sender<Reply>,
    room: &'c Semaphore,
}

impl Reader<'_> {
    async fn run(&self) {
        let mut framer = Framer::default();
        let mut intake = Intake::new(self.shared, self.peer);
        while let Some(bytes) = self.bytes().await {
            if self.lines(&bytes, &mut framer, &mut intake).await.is_none() {
                return;
            }
        }
        if framer.unfinished() {
            self.shared.counters.truncated.add(1);
        }
    }

    /// The next bytes; `None` at the end: of the client's, of its time, or of what has reached the socket when
    /// the daemon closes.
    async fn bytes(&self) -> Option<Vec<u8>> {
        let mut phase = self.shared.phase.clone();
        let mut leaves = false;
        loop {
            let closing = leaves || *phase.borrow() >= Phase::Closing;
            if !closing {
                let idle_timeout = self.shared.settings.borrow().limits.idle_timeout;
                let _waits = self.seat.map(|seat| seat.place().wait());
                tokio::select! {
                    ready = self.read.readable() => ready.ok()?,
                    () = tokio::time::sleep(idle_timeout) => {
                        if self.room.available_permits() == OUTSTANDING { return None }
                        continue;
                    }
                    () = crate::phase::reached(&mut phase, Phase::Closing) => continue,
                    // Somebody needs the seat: what has reached the socket is read, and nothing more.
                    () = told_to_leave(self.seat) => { leaves = true; continue }
                }
            }
            let mut buffer = Vec::with_capacity(self.seat.map_or(READ, |_| TURN_BYTES));
            let read = if closing {
                // The kernel is asked, not what is remembered of it: a connection that was just accepted is
                // not known to be readable yet.
                let socket = self.read.as_ref().as_fd();
                rustix::io::read(socket, rustix::buffer::spare_capacity(&mut buffer)).map_err(Into::into)
            } else {
                self.read.try_read_buf(&mut buffer)
            };
            match read {
                Ok(0) => return None,
                Ok(_) => return Some(buffer),
                Err(e) if e.kind() == ErrorKind::WouldBlock && !closing => {}
                Err(_) => return None,
            }
        }
    }

    /// Lets others come to their turn; who is noisy waits a little longer, but not when the daemon closes.
    /// That is as long as it takes others to read as much.
    async fn give_way(&self, noisy: bool, bytes: usize) {
        if noisy && *self.shared.phase.borrow() == Phase::Running {
            let turns = u32::try_from(bytes / TURN_BYTES).unwrap_or(u32::MAX);
            tokio::time::sleep(PACE.saturating_mul(turns.saturating_add(1))).await;
        } else {
            tokio::task::yield_now().await;
        }
    }

    /// Some lines at a time, each time by the policy of that moment (I3). `None`: nobody answers any more.
    async fn lines(&self, bytes: &[u8], framer: &mut Framer, intake: &mut Intake<'_>) -> Option<()> {
        let mut at = 0;
        let mut taken: Option<Taken> = None;
        while at < bytes.len() {
            // Room first, so that nothing waits between the decision and the queue; and then the turn, which who does
            // not read its answers must not keep from its user's other connections.
            let lines = u32::try_from(LINES).unwrap_or(u32::MAX) + 1;
            let mut room = match self.room.try_acquire_many(lines) {
                Ok(room) => room,
                Err(_) => {
                    taken = None;
                    self.room.acquire_many(lines).await.ok()?
                }
            };
            if let (Some(seat), None) = (self.seat, &taken) {
                taken = Some(Taken::new(seat.turn().await?));
            }
            let settings: Arc<Checked> = Arc::clone(&self.shared.settings.borrow());
            let now = self.shared.clock.now();
            let policy = self.shared.consent.of_event(self.peer.uid, now);
            let left = bytes.len() - at;
            let mut reading = Reading::new(&policy, &settings.limits, now, left);
            if let Some(taken) = &taken {
                reading.most = TURN_LINES - taken.lines;
            }
            at += framer.lines(&bytes[at..], settings.limits.max_event_bytes, |frame| {
                intake.line(&frame, &mut reading)
            });
            let Reading {
                mut append,
                slots,
                control,
                over_rate,
                lines,
                ..
            } = reading;
            if let Some(taken) = &mut taken {
                taken.lines += lines;
                taken.bytes += append.arena.len();
                taken.over_rate |= over_rate;
                append.ticket = Some(Arc::clone(&taken.turn) as Ticket);
            }
            let used = slots.len() + usize::from(control.is_some());
            if let Some(used) = room.split(used) {
                // Given back as the answers are made.
                used.forget();
            }
            drop(room);
            if !slots.is_empty() {
                let reply = match append.is_empty() {
                    true => Reply::Ready(slots),
                    false => Reply::Appended(self.shared.queue.send_append(append).await.ok(), slots),
                };
                self.replies.send(reply).await.ok()?;
            }
            if let Some(request) = control {
                let changes = request.as_ref().is_ok_and(Control::changes_consent);
                self.replies.send(Reply::Control(request)).await.ok()?;
                if changes {
                    // What stands behind it is judged by what it changed (I3), so it is carried out first, and what
                    // was before it answered. It needs a turn of its own.
                    taken = None;
                    let all = u32::try_from(OUTSTANDING).unwrap_or(u32::MAX);
                    drop(self.room.acquire_many(all).await.ok()?);
                }
            }
            // A turn may hold several appends, with requests of control between.
            let over = |taken: &mut Taken| taken.lines >= TURN_LINES || at >= bytes.len();
            if let (Some(seat), Some(over)) = (self.seat, taken.take_if(over)) {
                self.give_way(over.over_rate || seat.busy(), over.bytes).await;
            }
        }
        Some(())
    }
}

/// Waits until another user's connection needs the seat of an idle one; for ever where nobody has seats.
async fn told_to_leave(seat: Option<&Seat>) {
    match seat {
        Some(seat) => seat.place().leave.notified().await,
        None => std::future::pending().await,
    }
}

/// A turn, and what it was used for.
struct Taken {
    turn: Turn,
    lines: usize,
    bytes: usize,
    over_rate: bool,
}

impl Taken {
    fn new(turn: Turn) -> Self {
        Self {
            turn,
            lines: 0,
            bytes: 0,
            over_rate: false,
        }
    }
}
