//! What is known of each event from outside: what its client was told, what the endpoint got of it, who said no. And
//! the laws that can be broken by a request (I3, I8, when a batch may go).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use telemetry_queue::Moment;
use uuid::Uuid;

/// What the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Nothing: it may have been taken or not.
    Nothing,
    /// `queued`, `synced` or `duplicate`.
    Acknowledged,
    /// `declined`, or an error: nothing of it is kept.
    Refused,
}

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) number: u64,
    pub(crate) uid: u32,
    pub(crate) tool: usize,
    pub(crate) word: Word,
    /// It survives a power cut.
    pub(crate) durable: bool,
    pub(crate) at: Moment,
    pub(crate) boot: u8,
    /// The endpoint has it.
    pub(crate) taken: bool,
    /// The answer that says so has certainly been heard: now, or before everything came to rest.
    heard: bool,
    settled: bool,
    /// Why it may not be sent any more.
    pub(crate) forbidden: Option<&'static str>,
    /// It was in a request.
    attempted: bool,
    pub(crate) parked: bool,
    /// It waited when so many made a batch, and as many waited: it may be in one that was claimed ahead and goes at once.
    full_by: usize,
    /// How often it was written. Where it left the queue in between, it was taken more than once.
    pub(crate) times: u64,
}

impl Event {
    fn goes_to(&self, destination: usize) -> bool {
        crate::world::destination_of(self.tool) == destination
    }

    /// It is to be sent, as far as is known.
    fn waits(&self) -> bool {
        self.word != Word::Refused && !(self.settled || self.parked || self.forbidden.is_some())
    }
}

/// What the endpoint did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Taken,
    /// Taken, and perhaps nobody knows.
    TakenUnheard,
    Status(u16, Option<u32>),
    Nothing,
}

/// Nothing may come before this.
#[derive(Clone, Copy, Debug)]
struct Silence {
    until: Moment,
    /// It was heard, and kept.
    firm: bool,
}

/// The settings of both destinations that a law needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) max_events: usize,
    pub(crate) max_wait: Duration,
    pub(crate) percent: u32,
}

/// Everything that is known.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) events: HashMap<Uuid, Event>,
    pub(crate) terms: Terms,
    /// What was broken, in words.
    pub(crate) broken: Vec<String>,
    /// What happened, in words.
    pub(crate) story: Vec<String>,
    /// Somebody asked for a flush, or the daemon drains: what waits may go before its time.
    pub(crate) hurried: [bool; 2],
    /// The wall clock was set: what only the wall tells is not to be relied on.
    pub(crate) wall_was_set: bool,
    /// Members of each batch that was seen.
    batches: HashMap<Uuid, BTreeSet<Uuid>>,
    /// The id under which these members came.
    ids: BTreeMap<BTreeSet<Uuid>, Uuid>,
    silence: [Option<Silence>; 2],
}

impl Known {
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            events: HashMap::new(),
            terms,
            broken: Vec::new(),
            story: Vec::new(),
            hurried: [false; 2],
            wall_was_set: false,
            batches: HashMap::new(),
            ids: BTreeMap::new(),
            silence: [None; 2],
        }
    }

    /// A client writes an event.
    pub(crate) fn written(&mut self, id: Uuid, number: u64, uid: u32, tool: usize, at: Moment, boot: u8) {
        let event = Event {
            number,
            uid,
            tool,
            word: Word::Nothing,
            durable: false,
            at,
            boot,
            taken: false,
            heard: false,
            settled: false,
            forbidden: None,
            attempted: false,
            parked: false,
            full_by: 0,
            times: 0,
        };
        self.events.insert(id, event);
    }

    /// A client says these, again perhaps: what was gone from the queue comes under a new batch.
    pub(crate) fn said_again(&mut self, ids: &[Uuid]) {
        for id in ids {
            if let Some(event) = self.events.get_mut(id) {
                event.times += 1;
                if event.times > 1 {
                    self.ids.retain(|members, _| !members.contains(id));
                }
            }
        }
    }

    /// What was parked of this user waits again, as long as it did before, and comes under a new batch.
    pub(crate) fn requeued(&mut self, uid: u32) {
        let parked = |event: &Event| event.parked && event.uid == uid;
        let events = &self.events;
        self.ids
            .retain(|members, _| !members.iter().any(|id| events.get(id).is_some_and(parked)));
        for event in self.events.values_mut().filter(|event| parked(event)) {
            event.parked = false;
        }
    }

    /// Other settings hold. What was enough for a batch under those before may have been formed into one.
    pub(crate) fn reloaded(&mut self, max_events: usize, max_wait: Duration) {
        let before = std::mem::replace(&mut self.terms.max_events, max_events);
        self.terms.max_wait = max_wait;
        for destination in 0..2 {
            let waits = |event: &Event| event.goes_to(destination) && event.waits();
            if self.events.values().filter(|event| waits(event)).count() >= before {
                for event in self.events.values_mut().filter(|event| waits(event)) {
                    event.full_by = event.full_by.max(before);
                }
            }
        }
    }

    /// A law is broken.
    pub(crate) fn broke(&mut self, what: String) {
        self.story.push(format!("BROKEN: {what}"));
        self.broken.push(what);
    }

    /// Whether one of these can be divided by `n`.
    pub(crate) fn any_divisible(&self, events: &[Uuid], n: u64) -> bool {
        let numbers = events.iter().filter_map(|id| self.events.get(id));
        numbers.into_iter().any(|event| event.number.is_multiple_of(n))
    }

    /// A request has come, whatever becomes of it.
    pub(crate) fn arrived(
        &mut self,
        destination: usize,
        batch: Uuid,
        events: &[Uuid],
        now: Moment,
        boot: u8,
    ) {
        let members: BTreeSet<Uuid> = events.iter().copied().collect();
        let numbers: Vec<u64> = events
            .iter()
            .filter_map(|id| self.events.get(id))
            .map(|event| event.number)
            .collect();
        self.story.push(format!(
            "  {}: a request to {destination} with {numbers:?}",
            now.boot_ms
        ));
        if members.len() != events.len() {
            self.broke(format!("an event is twice in one batch: {numbers:?}"));
        }
        self.each_may_come(events);
        self.is_the_batch_it_was(batch, &members, &numbers);
        if let Some(silence) = self.silence[destination]
            && silence.firm
            && now.boot_ms < silence.until.boot_ms
        {
            self.broke(format!(
                "a request at {}, before the Retry-After is over at {}",
                now.boot_ms, silence.until.boot_ms
            ));
        }
        if let Some(why) = self.too_early(destination, events, now, boot) {
            self.broke(format!("{numbers:?} went before the time: {why}"));
        }
        for id in events {
            if let Some(event) = self.events.get_mut(id) {
                event.attempted = true;
            }
        }
    }

    /// I3, and that what was delivered does not come again.
    fn each_may_come(&mut self, events: &[Uuid]) {
        let mut broken = Vec::new();
        let uids: HashSet<u32> = events
            .iter()
            .filter_map(|id| self.events.get(id))
            .map(|event| event.uid)
            .collect();
        if uids.len() > 1 {
            broken.push(format!("a batch holds the events of {uids:?}"));
        }
        for id in events {
            let Some(event) = self.events.get(id) else {
                broken.push(format!("{id} was written by nobody"));
                continue;
            };
            let number = event.number;
            if let Some(why) = event.forbidden {
                broken.push(format!("event {number} came although it was forbidden: {why}"));
            }
            if event.word == Word::Refused {
                broken.push(format!("event {number} came although it was refused"));
            }
            if event.settled {
                broken.push(format!("event {number} came again after it was delivered"));
            }
        }
        for broken in broken {
            self.broke(broken);
        }
    }

    /// I8.
    fn is_the_batch_it_was(&mut self, batch: Uuid, members: &BTreeSet<Uuid>, numbers: &[u64]) {
        let known = self.batches.entry(batch).or_insert_with(|| members.clone());
        if known != members {
            self.broke(format!("batch {batch} has other members now: {numbers:?}"));
        }
        let known = *self.ids.entry(members.clone()).or_insert(batch);
        if known != batch {
            self.broke(format!("the same members came under two ids: {numbers:?}"));
        }
    }

    /// Why this batch may not go yet, as far as can be said from outside.
    fn too_early(&self, destination: usize, events: &[Uuid], now: Moment, boot: u8) -> Option<String> {
        let first_time = events
            .iter()
            .all(|id| self.events.get(id).is_some_and(|event| !event.attempted));
        if !first_time || self.hurried[destination] {
            return None;
        }
        let waiting: Vec<&Event> = self
            .events
            .values()
            .filter(|event| event.goes_to(destination) && event.waits())
            .collect();
        if waiting.len() >= self.terms.max_events {
            return None;
        }
        let was_full = |event: &Event| event.full_by >= events.len();
        if events.iter().all(|id| self.events.get(id).is_some_and(was_full)) {
            return None;
        }
        let mut oldest = 0;
        for event in &waiting {
            if event.boot != boot {
                // The wall clock tells; another law would have to know how wrong it was.
                return None;
            }
            oldest = oldest.max(now.boot_ms.saturating_sub(event.at.boot_ms));
        }
        let due = self.terms.max_wait * self.terms.percent / 100;
        (Duration::from_millis(oldest) < due).then(|| {
            format!(
                "{} wait, of {} that make a batch; the oldest for {oldest} ms, of {due:?}",
                waiting.len(),
                self.terms.max_events
            )
        })
    }

    /// The endpoint has done this with a request.
    pub(crate) fn answered(&mut self, events: &[Uuid], destination: usize, said: Said, now: Moment) {
        match said {
            Said::Taken | Said::TakenUnheard => {
                for id in events {
                    if let Some(event) = self.events.get_mut(id) {
                        event.taken = true;
                        event.heard |= said == Said::Taken;
                    }
                }
            }
            // They are refused as this batch: what follows is other batches, of the same events perhaps.
            Said::Status(400 | 413 | 422, _) => {
                self.ids.remove(&events.iter().copied().collect::<BTreeSet<_>>());
            }
            Said::Status(429 | 503, Some(seconds)) => {
                let ms = u64::from(seconds.max(1)) * 1000;
                self.silence[destination] = Some(Silence {
                    until: Moment {
                        wall_ms: now.wall_ms.saturating_add_unsigned(ms),
                        boot_ms: now.boot_ms + ms,
                    },
                    firm: false,
                });
            }
            Said::Status(..) | Said::Nothing => {}
        }
    }

    /// Everything has come to rest in a daemon that lives: what was said was heard.
    pub(crate) fn at_rest(&mut self) {
        for event in self.events.values_mut() {
            event.settled |= std::mem::take(&mut event.heard);
        }
        for silence in self.silence.iter_mut().flatten() {
            silence.firm = true;
        }
    }

    /// The daemon died: what it had just heard may be forgotten.
    pub(crate) fn killed(&mut self) {
        for event in self.events.values_mut() {
            event.heard = false;
        }
        for silence in &mut self.silence {
            *silence = silence.filter(|silence| silence.firm);
        }
    }

    /// The power went: what was not synced may be gone, and what was delivered since may come again.
    pub(crate) fn power_cut(&mut self) {
        self.killed();
        self.silence = [None; 2];
        self.batches.clear();
        self.ids.clear();
        for event in self.events.values_mut() {
            event.settled = false;
            if !event.durable && event.word == Word::Acknowledged {
                event.word = Word::Nothing;
            }
        }
    }

    /// All that was acknowledged is on the disk for good.
    pub(crate) fn synced(&mut self) {
        for event in self.events.values_mut() {
            event.durable |= event.word == Word::Acknowledged;
        }
    }

    /// Nothing of these that was written so far may be sent any more.
    pub(crate) fn forbid(&mut self, why: &'static str, which: impl Fn(&Event) -> bool) {
        for event in self.events.values_mut() {
            if event.forbidden.is_none() && which(event) {
                event.forbidden = Some(why);
            }
        }
    }
}
