//! One connection: its reading half. The other half, `answers.rs`, says what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{mpsc, watch};

use super::answers::{Answers, Reply};
use super::frame::Framer;
use super::intake::{Intake, Piece, Reading, Slot};
use super::{Peer, Shared};
use crate::phase::Phase;

/// Bytes of one read: about 180 events of 350 bytes, one transaction's worth.
const READ: usize = 64 * 1024;
/// Answers of so many reads may be outstanding; then reading waits. With [`READ`] it bounds what a
/// connection has in the queue's channel.
const OUTSTANDING: usize = 64;

/// Serves a connection to its end.
pub(super) async fn serve(stream: UnixStream, peer: Peer, shared: &Arc<Shared>) {
    let (read, write) = stream.into_split();
    let (sender, replies) = mpsc::channel(OUTSTANDING);
    let (ended, reader_ended) = watch::channel(false);
    let pending = Arc::new(AtomicUsize::new(0));
    let limits = shared.settings.borrow().limits.clone();
    let answers = Answers::new(
        write,
        replies,
        reader_ended,
        Arc::clone(&pending),
        &limits,
        Arc::clone(&shared.counters),
    );
    let reading = async {
        read_lines(&read, peer, shared, &sender, &pending).await;
        drop(sender);
        ended.send_replace(true);
    };
    let answering = answers.run(peer, shared);
    tokio::pin!(reading, answering);
    // A client that is cut off ends the connection; one that has said all is still answered.
    tokio::select! {
        () = &mut reading => answering.await,
        () = &mut answering => {}
    }
}

async fn read_lines(
    read: &OwnedReadHalf,
    peer: Peer,
    shared: &Arc<Shared>,
    replies: &mpsc::Sender<Reply>,
    pending: &AtomicUsize,
) {
    let mut framer = Framer::default();
    let mut intake = Intake::new(shared, peer);
    let mut phase = shared.phase.clone();
    loop {
        let settings = Arc::clone(&shared.settings.borrow());
        let draining = *phase.borrow() >= Phase::Closing;
        if !draining {
            tokio::select! {
                ready = read.readable() => if ready.is_err() { break },
                () = tokio::time::sleep(settings.limits.idle_timeout) => {
                    if pending.load(Ordering::Relaxed) == 0 { break }
                    continue;
                }
                () = crate::phase::reached(&mut phase, Phase::Closing) => {}
            }
        }
        let mut buffer = BytesMut::with_capacity(READ);
        match read.try_read_buf(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                // Draining ends a connection when all that reached the socket has been read.
                if draining { break } else { continue }
            }
            Err(_) => break,
        }
        let policy = shared.consent.current();
        let mut reading = Reading::new(&policy, &settings.limits, shared.clock.now(), buffer.len());
        framer.lines(&buffer, settings.limits.max_event_bytes, |frame| {
            intake.line(&frame, &mut reading)
        });
        drop(buffer);
        for piece in reading.finish() {
            let Some(reply) = hand_over(piece, shared).await else {
                continue;
            };
            pending.fetch_add(1, Ordering::Relaxed);
            if replies.send(reply).await.is_err() {
                return;
            }
        }
    }
    if framer.unfinished() {
        shared.counters.truncated.add(1);
    }
}

/// Hands events to the queue, in order; what is to be answered goes to the other half.
async fn hand_over(piece: Piece, shared: &Shared) -> Option<Reply> {
    match piece {
        Piece::Control(request) => Some(Reply::Control(request)),
        Piece::Events(append, slots) if append.events.is_empty() => {
            let answers = slots.into_iter().filter_map(|slot| match slot {
                Slot::Ready(answer) => Some(answer),
                Slot::Event(..) => None,
            });
            Some(Reply::Ready(answers.collect()))
        }
        Piece::Events(append, slots) => {
            // The bytes that the policy wrote for a declined event are none, so the arena is exact.
            let answer = shared.queue.send_append(append).await.ok();
            Some(Reply::Appended(answer, slots))
        }
    }
}
