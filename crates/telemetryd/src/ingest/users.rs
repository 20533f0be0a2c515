//! Everybody who is connected, by uid: how many connections each has, and whose turn it is (I6, I13).
//!
//! Seats are everybody's. From three quarters of them on they are shared: idle connections leave for those who come.
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

use telemetry_protocol::request::{ConsentAction, Control, QueueAction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::place::Place;

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
/// A user's next change of consent, or of its rows, comes so much later: each is written to the disk with fsync, and
/// erases.
const CHANGE: Duration = Duration::from_millis(50);

/// Everybody who is connected.
#[derive(Debug, Default)]
pub(super) struct Users(Mutex<Seats>, Arc<AtomicUsize>);

/// Who has how many of the seats.
#[derive(Debug, Default)]
struct Seats {
    users: HashMap<u32, Arc<User>>,
    open: usize,
}

#[derive(Debug)]
struct User {
    uid: u32,
    /// Its connections, less those that were told to leave.
    places: Mutex<Vec<Arc<Place>>>,
    /// Connections over that, which were told so and are closed a little later.
    over: AtomicUsize,
    turns: Arc<Semaphore>,
    /// One request of control is answered at a time, but for those that wait or watch; the next one not before this.
    asking: tokio::sync::Mutex<Option<Pin<Box<Sleep>>>>,
}

impl User {
    fn new(uid: u32) -> Self {
        Self {
            uid,
            places: Mutex::default(),
            over: AtomicUsize::new(0),
            turns: Arc::new(Semaphore::new(TURNS)),
            asking: tokio::sync::Mutex::default(),
        }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many seats there are (`limits.max_connections`), and how many of them one user may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) of_all: usize,
    pub(super) of_one: usize,
}

impl Most {
    /// From this many taken seats on they are scarce: three quarters.
    fn scarce(self) -> usize {
        self.of_all - self.of_all / 4
    }

    /// What one user may have of them while they are scarce: a quarter of what it may have otherwise.
    fn share(self) -> usize {
        self.of_one.div_ceil(4)
    }
}

/// Connections of a user that wait to be closed: as many as it may have by default. Further ones are closed at once.
const DOORSTEP: usize = 64;
/// The same of all users together.
const DOORSTEPS: usize = 256;

/// A turn; over when it is dropped.
pub(super) type Turn = Arc<OwnedSemaphorePermit>;

impl Users {
    /// A seat for one more connection of this uid; `None`: it has as many as it may. While seats are scarce whoever
    /// has more than its share gives up the one that was idle longest for it, and for anybody else does the user with
    /// most idle ones: somebody who has none always gets one, as long as anybody is idle.
    pub(super) fn seat(self: &Arc<Self>, uid: u32, most: Most) -> Option<Seat> {
        let mut seats = self.lock();
        let seats = &mut *seats;
        let own = seats.users.get(&uid).map_or(0, |user| user.places().len());
        if own >= most.of_one {
            return None;
        }
        if seats.open >= most.scarce() {
            let from = match own >= most.share() {
                true => Some(uid),
                false => seats
                    .most_idle()
                    .filter(|(_, open)| *open >= own)
                    .map(|(uid, _)| uid),
            };
            let left = from.is_some_and(|uid| seats.dismiss_idle(uid));
            if !left && (own >= most.share() || seats.open >= most.of_all) {
                return None;
            }
        }
        let user = seats.users.entry(uid).or_insert_with(|| Arc::new(User::new(uid)));
        let place = Arc::new(Place::default());
        user.places().push(Arc::clone(&place));
        seats.open += 1;
        Some(Seat {
            user: Arc::clone(user),
            place,
            users: Arc::clone(self),
        })
    }

    /// Seats that are taken.
    pub(super) fn open(&self) -> usize {
        self.lock().open
    }

    /// Whether somebody could be told to leave.
    pub(super) fn somebody_is_idle(&self) -> bool {
        self.lock().most_idle().is_some()
    }

    /// A place to wait for whoever is over the limit, lest it comes back at once; `None`: there are enough of them.
    pub(super) fn doorstep(&self, uid: u32) -> Option<Doorstep> {
        let user = Arc::clone(self.lock().users.get(&uid)?);
        let doorstep = Doorstep(user, Arc::clone(&self.1));
        let of_user = doorstep.0.over.fetch_add(1, Ordering::Relaxed);
        let of_all = doorstep.1.fetch_add(1, Ordering::Relaxed);
        (of_user < DOORSTEP && of_all < DOORSTEPS).then_some(doorstep)
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// Who has most idle connections, and how many connections that user has.
    fn most_idle(&self) -> Option<(u32, usize)> {
        let idle = self.users.values().filter_map(|user| {
            let places = user.places();
            let idle = places.iter().filter(|place| place.idle_since().is_some()).count();
            (idle > 0).then_some((idle, user.uid, places.len()))
        });
        idle.max().map(|(_, uid, open)| (uid, open))
    }

    /// Tells this user's connection that was idle longest to leave; `false`: none is idle.
    fn dismiss_idle(&mut self, uid: u32) -> bool {
        let Some(user) = self.users.get(&uid) else {
            return false;
        };
        let mut places = user.places();
        let idle = places.iter().enumerate();
        let longest = idle
            .filter_map(|(at, place)| Some((place.idle_since()?, at)))
            .min();
        let Some((_, at)) = longest else {
            return false;
        };
        places.swap_remove(at).leave.notify_one();
        self.open = self.open.saturating_sub(1);
        true
    }
}

/// A connection that is over its user's limit, until it is closed.
#[derive(Debug)]
pub(super) struct Doorstep(Arc<User>, Arc<AtomicUsize>);

impl Doorstep {
    /// Waits until it may be closed.
    pub(super) async fn wait(self) {
        tokio::time::sleep(CHANGE * 2).await;
    }
}

impl Drop for Doorstep {
    fn drop(&mut self) {
        self.0.over.fetch_sub(1, Ordering::Relaxed);
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection's seat among its user's.
#[derive(Debug)]
pub(super) struct Seat {
    user: Arc<User>,
    place: Arc<Place>,
    users: Arc<Users>,
}

impl Seat {
    /// Where the connection stands, for who is asked to give it up.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

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
            Control::Queue {
                action: QueueAction::Purge | QueueAction::Requeue,
                ..
            } => CHANGE,
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
        let mut seats = self.users.lock();
        let mut places = self.user.places();
        let known = places.iter().position(|place| Arc::ptr_eq(place, &self.place));
        if let Some(at) = known {
            places.swap_remove(at);
            seats.open = seats.open.saturating_sub(1);
        }
        // Seats are given under the same lock.
        if places.is_empty() {
            drop(places);
            let known = seats.users.get(&self.user.uid);
            if known.is_some_and(|known| Arc::ptr_eq(known, &self.user)) {
                seats.users.remove(&self.user.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Most = Most {
        of_all: 100,
        of_one: 2,
    };

    #[test]
    fn each_user_has_its_own_seats_and_a_seat_that_is_left_is_free() {
        let users = Arc::new(Users::default());
        let first = users.seat(1, TWO).unwrap();
        let second = users.seat(1, TWO).unwrap();
        assert!(users.seat(1, TWO).is_none());
        let other = users.seat(2, TWO).unwrap();
        drop(second);
        assert!(users.seat(1, TWO).is_some());
        drop((other, first));
        assert!(users.lock().users.is_empty(), "nobody is remembered");
        assert_eq!(users.lock().open, 0);
    }

    #[test]
    fn whoever_comes_new_has_a_seat_of_the_user_with_most_idle_ones() {
        let users = Arc::new(Users::default());
        let most = Most {
            of_all: 16,
            of_one: 8,
        };
        let seats = |uid, count| -> Vec<Seat> {
            let seat = || users.seat(uid, most);
            std::iter::from_fn(seat).take(count).collect()
        };
        // Two users take three quarters, the first of them all but one of it; none has said anything for long.
        let (hers, his) = (seats(1, 7), seats(2, 5));
        let waiting: Vec<_> = hers.iter().chain(&his).map(|seat| seat.place().wait()).collect();
        assert!(users.seat(1, most).is_some(), "in the place of one of her own");
        assert!(is_told(&hers[0]) && !hers[1..].iter().any(is_told));
        let mut new = Vec::new();
        for uid in 10..22 {
            new.push(users.seat(uid, most).unwrap());
        }
        assert!(hers.iter().all(is_told) && his.iter().all(is_told));
        assert_eq!(users.lock().open, 12);
        drop(waiting);
        // Those are busy: a quarter is left for who comes, and then nobody gets in.
        let more = seats(30, 8);
        assert_eq!(more.len(), most.share());
        assert_eq!((seats(31, 8).len(), seats(32, 8).len()), (2, 0));
        assert!(!users.somebody_is_idle());
        drop((hers, his, new, more));
        assert!(users.lock().users.is_empty());
    }

    fn is_told(seat: &Seat) -> bool {
        !seat
            .user
            .places()
            .iter()
            .any(|place| Arc::ptr_eq(place, &seat.place))
    }

    #[tokio::test]
    async fn a_user_who_waits_for_a_turn_waits_for_itself_alone() {
        let users = Arc::new(Users::default());
        let (noisy, quiet) = (users.seat(1, TWO).unwrap(), users.seat(2, TWO).unwrap());
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            turns.push(noisy.turn().await.unwrap());
        }
        assert!(at_once(noisy.turn()).await.is_none());
        assert!(quiet.turn().await.is_some());
        turns.pop();
        assert!(noisy.turn().await.is_some());
    }

    #[test]
    fn who_waits_to_be_closed_is_counted_for_its_user_and_for_all() {
        let users = Arc::new(Users::default());
        let _seats: Vec<_> = (0..9).map(|uid| users.seat(uid, TWO).unwrap()).collect();
        let of = |uid| std::iter::from_fn(|| users.doorstep(uid)).collect::<Vec<_>>();
        let waiting: Vec<_> = (0..9).map(of).collect();
        let counts: Vec<usize> = waiting.iter().map(Vec::len).collect();
        assert_eq!(counts, [64, 64, 64, 64, 0, 0, 0, 0, 0]);
        drop(waiting);
        assert_eq!(of(8).len(), 64);
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
