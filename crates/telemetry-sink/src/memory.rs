//! What a sink remembers: requests, batches, the ids of events, and which of them came twice (I8).
//!
//! It is shared between the sink and whoever asks, outlives the sink's listener, and is bounded by its
//! [`Keep`] (I6). Its lock is never held over an await.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::received::Received;
use crate::script::Deduplicate;

/// How much is remembered of what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Every request with its events: for tests, which end.
    Everything,
    /// This many of the last requests, and up to [`MAX_IDS`] ids.
    Last(usize),
    /// No requests, but up to [`MAX_IDS`] ids, found without parsing JSON: for benchmarks that look for losses.
    Ids,
    /// Numbers alone, found without parsing JSON: for benchmarks. Unique and repeated events are not told apart.
    Counts,
}

/// The most ids that are remembered unless [`Keep::Everything`] is asked for: 4 million, about 200 MiB.
/// Later ones are counted as unique, and in [`Counts::untracked`].
pub const MAX_IDS: usize = 4_000_000;

/// Numbers of what came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests, whatever they were.
    pub requests: u64,
    /// Requests whose body could not be decoded.
    pub undecodable: u64,
    /// Batches whose events count as arrived.
    pub batches: u64,
    /// Batches that `deduplicate = "batch"` had stored before.
    pub repeated_batches: u64,
    /// Events that count as arrived, each as often as it came.
    pub events: u64,
    /// Events that count as arrived, each once.
    pub unique: u64,
    /// Events that had arrived before: `events - unique`.
    pub duplicates: u64,
    /// Events in batches that were not stored.
    pub refused: u64,
    /// Events whose ids are past [`MAX_IDS`].
    pub untracked: u64,
    /// Bytes of bodies as they came.
    pub wire_bytes: u64,
    /// Bytes of bodies, their content coding undone.
    pub body_bytes: u64,
}

/// What a sink remembers, seen under its lock.
#[derive(Debug)]
pub struct Seen {
    keep: Keep,
    counts: Counts,
    requests: VecDeque<Arc<Received>>,
    /// How often each id arrived. Hyphenated UUIDs are kept as numbers.
    ids: HashMap<u128, u32>,
    /// Ids that are not UUIDs.
    odd_ids: HashMap<String, u32>,
    /// `Idempotency-Key`s of stored batches.
    batch_ids: HashSet<String>,
}

impl Seen {
    /// The numbers.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The requests that are kept, oldest first.
    pub fn requests(&self) -> impl DoubleEndedIterator<Item = &Arc<Received>> {
        self.requests.iter()
    }

    /// The requests that are kept and whose events count as arrived, oldest first.
    pub fn stored(&self) -> impl DoubleEndedIterator<Item = &Arc<Received>> {
        self.requests.iter().filter(|received| received.answer.stored)
    }

    /// How often the event of that id arrived.
    #[must_use]
    pub fn times(&self, id: &str) -> u32 {
        let found = match Id::parse(id) {
            Id::Uuid(uuid) => self.ids.get(&uuid),
            Id::Odd(text) => self.odd_ids.get(text),
        };
        found.copied().unwrap_or(0)
    }

    /// The ids of the events that arrived, in no order.
    pub fn ids(&self) -> impl Iterator<Item = String> {
        let uuids = self.ids.keys().map(|id| Uuid::from_u128(*id).to_string());
        uuids.chain(self.odd_ids.keys().cloned())
    }

    /// Whether a batch with that `Idempotency-Key` was stored.
    #[must_use]
    pub fn has_batch(&self, id: &str) -> bool {
        self.batch_ids.contains(id)
    }

    /// Books one request. `ids` are those that were found without parsing.
    pub(crate) fn book(&mut self, received: Arc<Received>, ids: &[u128], deduplicate: Deduplicate) {
        self.counts.requests += 1;
        self.counts.wire_bytes += received.wire_bytes;
        self.counts.body_bytes += received.body_bytes;
        self.counts.repeated_batches += u64::from(received.answer.repeated);
        match &received.content {
            Err(_) => self.counts.undecodable += 1,
            Ok(_) if received.answer.repeated => {}
            Ok(content) if !received.answer.stored => self.counts.refused += content.count as u64,
            Ok(content) => {
                self.counts.batches += 1;
                let once = deduplicate == Deduplicate::Events;
                match self.keep {
                    Keep::Counts => self.counts.events += content.count as u64,
                    _ => {
                        let uuids = ids.iter().map(|id| Id::Uuid(*id));
                        for id in uuids.chain(received.ids().map(Id::parse)) {
                            self.book_id(id, once);
                        }
                        self.batch_ids
                            .extend(received.idempotency_key().map(str::to_owned));
                    }
                }
            }
        }
        let most = match self.keep {
            Keep::Everything => usize::MAX,
            Keep::Last(most) => most,
            Keep::Ids | Keep::Counts => 0,
        };
        if most > 0 {
            if self.requests.len() >= most {
                self.requests.pop_front();
            }
            self.requests.push_back(received);
        }
    }

    /// Books one arrived event; with `once` only if it is new.
    fn book_id(&mut self, id: Id<'_>, once: bool) {
        let known = match id {
            Id::Uuid(uuid) => self.ids.contains_key(&uuid),
            Id::Odd(text) => self.odd_ids.contains_key(text),
        };
        if known && once {
            return;
        }
        self.counts.events += 1;
        if known {
            self.counts.duplicates += 1;
        } else {
            self.counts.unique += 1;
            if self.keep != Keep::Everything && self.ids.len() + self.odd_ids.len() >= MAX_IDS {
                self.counts.untracked += 1;
                return;
            }
        }
        match id {
            Id::Uuid(uuid) => *self.ids.entry(uuid).or_default() += 1,
            Id::Odd(text) => *self.odd_ids.entry(text.to_owned()).or_default() += 1,
        }
    }
}

/// An event's id: a hyphenated UUID as a number, which takes a quarter of the room, or whatever it is.
#[derive(Clone, Copy)]
enum Id<'a> {
    Uuid(u128),
    Odd(&'a str),
}

impl<'a> Id<'a> {
    fn parse(text: &'a str) -> Self {
        Uuid::try_parse(text).map_or(Self::Odd(text), |uuid| Self::Uuid(uuid.as_u128()))
    }
}

/// A memory that can be asked while the sink runs. Cloning it shares it.
#[derive(Clone, Debug)]
pub struct Memory {
    keep: Keep,
    shared: Arc<(Mutex<Seen>, Condvar)>,
}

impl Memory {
    /// An empty one.
    #[must_use]
    pub fn new(keep: Keep) -> Self {
        let seen = Seen {
            keep,
            counts: Counts::default(),
            requests: VecDeque::new(),
            ids: HashMap::new(),
            odd_ids: HashMap::new(),
            batch_ids: HashSet::new(),
        };
        Self {
            keep,
            shared: Arc::new((Mutex::new(seen), Condvar::new())),
        }
    }

    /// Looks at what was seen. The sink waits while `look` runs.
    pub fn with<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.lock())
    }

    /// How much it remembers.
    #[must_use]
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// The numbers.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.with(Seen::counts)
    }

    /// Waits until `look` finds something, asked again after every request; `None` after `timeout`.
    /// Blocks the calling thread: not for the thread that runs the sink.
    pub fn wait<T>(&self, timeout: Duration, mut look: impl FnMut(&Seen) -> Option<T>) -> Option<T> {
        let mut found = None;
        let guard = self.lock();
        let waited = self.shared.1.wait_timeout_while(guard, timeout, |seen| {
            found = look(seen);
            found.is_none()
        });
        drop(waited);
        found
    }

    /// Changes it and wakes who waits.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let changed = change(&mut self.lock());
        self.shared.1.notify_all();
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // A panic in somebody's `look` leaves what was seen as it was.
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::received::{Answer, Content, Encoding};

    fn batch(ids: &[&str], stored: bool) -> Arc<Received> {
        let events: Vec<_> = ids
            .iter()
            .map(|id| json!({"id": id, "tool": "t", "event": "e"}))
            .collect();
        let count = events.len();
        Arc::new(Received {
            number: 1,
            at: SystemTime::UNIX_EPOCH,
            method: "POST".to_owned(),
            path: "/".to_owned(),
            version: "HTTP/1.1".to_owned(),
            headers: vec![("idempotency-key".to_owned(), ids.join("+"))],
            wire_bytes: 10,
            body: Bytes::new(),
            body_bytes: 20,
            content: Ok(Content {
                encoding: Encoding::Ndjson,
                batch_id: None,
                sent_at: None,
                source: None,
                losses: None,
                events,
                count,
            }),
            answer: Answer {
                status: Some(200),
                action: "accept",
                stored,
                repeated: false,
            },
        })
    }

    #[test]
    fn an_id_that_comes_twice_is_one_event_and_one_duplicate() {
        let memory = Memory::new(Keep::Everything);
        memory.change(|seen| seen.book(batch(&["a", "b"], true), &[], Deduplicate::None));
        memory.change(|seen| seen.book(batch(&["b", "c"], true), &[], Deduplicate::None));
        let counts = memory.counts();
        assert_eq!((counts.events, counts.unique, counts.duplicates), (4, 3, 1));
        assert_eq!(memory.with(|seen| seen.times("b")), 2);
        assert!(memory.with(|seen| seen.has_batch("b+c")));
    }

    #[test]
    fn an_endpoint_that_deduplicates_events_counts_an_id_once() {
        let memory = Memory::new(Keep::Everything);
        for _ in 0..2 {
            memory.change(|seen| seen.book(batch(&["a", "b"], true), &[], Deduplicate::Events));
        }
        let counts = memory.counts();
        assert_eq!(
            (counts.batches, counts.events, counts.unique, counts.duplicates),
            (2, 2, 2, 0)
        );
    }

    #[test]
    fn a_refused_batch_leaves_no_ids() {
        let memory = Memory::new(Keep::Everything);
        memory.change(|seen| seen.book(batch(&["a", "b"], false), &[], Deduplicate::None));
        let counts = memory.counts();
        assert_eq!(
            (counts.requests, counts.batches, counts.unique, counts.refused),
            (1, 0, 0, 2)
        );
        assert_eq!(memory.with(|seen| seen.times("a")), 0);
    }

    #[test]
    fn only_the_last_requests_are_kept_where_that_is_asked() {
        let memory = Memory::new(Keep::Last(2));
        for id in ["a", "b", "c"] {
            memory.change(|seen| seen.book(batch(&[id], true), &[], Deduplicate::None));
        }
        let kept = memory.with(|seen| {
            seen.requests()
                .map(|received| received.ids().collect::<String>())
                .collect::<Vec<_>>()
        });
        assert_eq!(kept, ["b", "c"]);
        assert_eq!(memory.counts().unique, 3);
    }

    #[test]
    fn who_waits_is_woken_by_a_request_and_not_for_ever() {
        let memory = Memory::new(Keep::Everything);
        let other = memory.clone();
        let waiting = std::thread::spawn(move || {
            other.wait(Duration::from_secs(20), |seen| {
                (seen.counts().unique == 1).then_some("there")
            })
        });
        memory.change(|seen| seen.book(batch(&["a"], true), &[], Deduplicate::None));
        assert_eq!(waiting.join().expect("it waits without a panic"), Some("there"));
        assert_eq!(memory.wait(Duration::from_millis(1), |_| None::<()>), None);
    }
}
