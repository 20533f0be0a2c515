//! Everybody who is connected, by uid: how many connections each has, and whose turn it is (I6, I13).
//!
//! A machine-wide daemon has one thread for all sockets and one for the queue. Each user is read in small turns, and
//! has few of them under way at once, over all of its connections: from the first of a turn's lines until the queue
//! has said what became of them. Who floods waits for itself; who comes by with one event waits for a turn of the
//! other, not for all that the other has.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use telemetry_protocol::request::{ConsentAction, Control};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// Lines of one turn. Some ten microseconds of the sockets' thread; together with [`TURNS`] fewer than the queue's
/// writer takes for a rush (it waits for more, then).
pub(super) const TURN_LINES: usize = 12;
/// Bytes of one turn, a line that is longer aside.
pub(super) const TURN_BYTES: usize = 8 * 1024;
/// Turns that one user has under way at once: one is read while the queue commits the other.
const TURNS: usize = 2;
/// How much longer a turn is where lines were refused for `limits.rate` (refusing costs as much as accepting), or
/// where all turns of the user are taken: some 20,000 lines a second are enough for anybody's tools, and leave the
/// machine to the others. The shortest that tokio's timers know.
pub(super) const PACE: Duration = Duration::from_millis(1);
/// A user's next question comes so much later: an answer may take the queue's thread a few milliseconds.
const ASK: Duration = Duration::from_millis(20);
/// A user's next change of consent comes so much later: each is written to the disk with fsync, and erases.
const CHANGE: Duration = Duration::from_millis(50);

/// Everybody who is connected.
#[derive(Debug, Default)]
pub(super) struct Users(Mutex<HashMap<u32, Arc<User>>>);

#[derive(Debug)]
struct User {
    uid: u32,
    open: AtomicUsize,
    /// Connections over that, which were told so and are closed a little later.
    over: AtomicUsize,
    turns: Arc<Semaphore>,
    /// One request of control is answered at a time, but for those that wait or watch; the next one not before this.
    asking: tokio::sync::Mutex<Option<Pin<Box<Sleep>>>>,
}

/// Connections of a user that wait to be closed: as many as it may have by default. Further ones are closed at once.
const DOORSTEP: usize = 64;

/// A turn; over when it is dropped.
pub(super) type Turn = Arc<OwnedSemaphorePermit>;

impl Users {
    /// A seat for one more connection of this uid; `None`: it has as many as it may.
    pub(super) fn seat(self: &Arc<Self>, uid: u32, most: usize) -> Option<Seat> {
        let mut users = self.lock();
        let user = users.entry(uid).or_insert_with(|| {
            let turns = Arc::new(Semaphore::new(TURNS));
            let (open, over) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let asking = tokio::sync::Mutex::default();
            Arc::new(User {
                uid,
                open,
                over,
                turns,
                asking,
            })
        });
        if user.open.load(Ordering::Relaxed) >= most {
            return None;
        }
        user.open.fetch_add(1, Ordering::Relaxed);
        Some(Seat {
            user: Arc::clone(user),
            users: Arc::clone(self),
        })
    }

    /// A place to wait for whoever is over the limit, lest it comes back at once; `None`: there are enough of them.
    pub(super) fn doorstep(&self, uid: u32) -> Option<Doorstep> {
        let user = Arc::clone(self.lock().get(&uid)?);
        if user.over.fetch_add(1, Ordering::Relaxed) >= DOORSTEP {
            user.over.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Doorstep(user))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<User>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is over its user's limit, until it is closed.
#[derive(Debug)]
pub(super) struct Doorstep(Arc<User>);

impl Doorstep {
    /// Waits until it may be closed.
    pub(super) async fn wait(self) {
        tokio::time::sleep(CHANGE * 2).await;
    }
}

impl Drop for Doorstep {
    fn drop(&mut self) {
        self.0.over.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection's seat among its user's.
#[derive(Debug)]
pub(super) struct Seat {
    user: Arc<User>,
    users: Arc<Users>,
}

impl Seat {
    /// Whether all of this user's turns are taken.
    pub(super) fn busy(&self) -> bool {
        self.user.turns.available_permits() == 0
    }

    /// Answers this user's request when its others have been answered, and makes those behind it wait a little.
    pub(super) async fn in_turn<T>(&self, request: &Control, answer: impl Future<Output = T>) -> T {
        let pace = match request {
            // They take their time, and ask for little meanwhile.
            Control::Flush { wait: true, .. } | Control::Tail { .. } => return answer.await,
            Control::Consent { action, .. } if *action != ConsentAction::Show => CHANGE,
            Control::Hello { .. } => PACE,
            _ => ASK,
        };
        let mut pause = self.user.asking.lock().await;
        if let Some(pause) = pause.as_mut() {
            pause.await;
        }
        let answered = answer.await;
        *pause = Some(Box::pin(tokio::time::sleep(pace)));
        answered
    }

    /// This user's next turn, after its connections that wait already. Cancel safe: the place is lost.
    pub(super) async fn turn(&self) -> Option<Turn> {
        // It is never closed.
        let turn = Arc::clone(&self.user.turns).acquire_owned().await.ok()?;
        Some(Arc::new(turn))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut users = self.users.lock();
        // Seats are given under the same lock.
        if self.user.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            users.remove(&self.user.uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_its_own_seats_and_a_seat_that_is_left_is_free() {
        let users = Arc::new(Users::default());
        let first = users.seat(1, 2).unwrap();
        let second = users.seat(1, 2).unwrap();
        assert!(users.seat(1, 2).is_none());
        let other = users.seat(2, 2).unwrap();
        drop(second);
        assert!(users.seat(1, 2).is_some());
        drop((other, first));
        assert!(users.lock().is_empty(), "nobody is remembered");
    }

    #[tokio::test]
    async fn a_user_who_waits_for_a_turn_waits_for_itself_alone() {
        let users = Arc::new(Users::default());
        let (noisy, quiet) = (users.seat(1, 9).unwrap(), users.seat(2, 9).unwrap());
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            turns.push(noisy.turn().await.unwrap());
        }
        assert!(at_once(noisy.turn()).await.is_none());
        assert!(quiet.turn().await.is_some());
        turns.pop();
        assert!(noisy.turn().await.is_some());
    }

    /// What the future has at once.
    async fn at_once<T>(future: impl Future<Output = Option<T>>) -> Option<T> {
        tokio::select! {
            biased;
            done = future => done,
            () = std::future::ready(()) => None,
        }
    }
}
