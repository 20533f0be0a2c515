//! Counters: written anywhere, read by control alone. They begin at zero with each start; what must
//! survive is in the books.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use telemetry_policy::{Report, Why};
use telemetry_protocol::reason::ErrorCode;

/// One number.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The number so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was declined, by layer.
pub type Declined = BTreeMap<&'static str, u64>;

/// What was taken out of one tool's events, as its manifest says (or the events themselves).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many values, by reason.
    pub values: BTreeMap<&'static str, u64>,
    /// The listed properties that came with a wrong type, as the manifest names them.
    pub wrong: BTreeMap<String, u64>,
    /// Events that the manifest does not list.
    pub events: u64,
}

impl Removed {
    fn add(&mut self, report: &Report) {
        /// Names of one tool that are remembered (I6).
        const NAMES: usize = 32;
        for why in Why::ALL {
            let count = report.count(why);
            if count > 0 {
                *self.values.entry(why.as_str()).or_default() += u64::from(count);
            }
        }
        for removed in report
            .names()
            .iter()
            .filter(|removed| removed.why == Why::WrongType)
        {
            if let Some(count) = self.wrong.get_mut(&removed.name) {
                *count += 1;
            } else if self.wrong.len() < NAMES {
                self.wrong.insert(removed.name.clone(), 1);
            }
        }
    }

    fn sum(&mut self, other: &Self) {
        self.events += other.events;
        for (why, count) in &other.values {
            *self.values.entry(why).or_default() += count;
        }
        for (name, count) in &other.wrong {
            *self.wrong.entry(name.clone()).or_default() += count;
        }
    }
}

/// All counters.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub connections: Counter,
    /// Clients cut off because they did not read.
    pub cut_off: Counter,
    /// Last lines without a newline.
    pub truncated: Counter,
    /// Events that were queued already.
    pub duplicates: Counter,
    /// Events taken over from the spool, whatever became of them.
    pub spool_taken: Counter,
    /// Events that clients removed from a full spool.
    pub spool_dropped: Counter,
    /// Events that were in the spool for too long.
    pub spool_expired: Counter,
    /// Requests sent to endpoints.
    pub requests: Counter,
    /// Requests that did not deliver.
    pub failures: Counter,
    cancelled: Mutex<BTreeMap<u32, u64>>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    declined: Mutex<BTreeMap<u32, BTreeMap<String, Declined>>>,
    removed: Mutex<BTreeMap<u32, BTreeMap<String, Removed>>>,
}

impl Counters {
    /// Counts an answer `ok: false`.
    pub fn refuse(&self, code: ErrorCode) {
        if let Ok(mut refused) = self.refused.lock() {
            *refused.entry(code.as_str()).or_default() += 1;
        }
    }

    /// Counts a request of this user's events that a withdrawal of consent, or the end, stopped.
    pub fn cancel(&self, uid: u32) {
        if let Ok(mut cancelled) = self.cancelled.lock() {
            // Whoever has rows that are sent: as many as the queue knows users.
            *cancelled.entry(uid).or_default() += 1;
        }
    }

    /// Requests that were stopped, of this user's events or of everybody's.
    #[must_use]
    pub fn cancelled(&self, whose: Option<u32>) -> u64 {
        let Ok(cancelled) = self.cancelled.lock() else {
            return 0;
        };
        match whose {
            Some(uid) => cancelled.get(&uid).copied().unwrap_or_default(),
            None => cancelled.values().sum(),
        }
    }

    /// Counts an event that was declined.
    pub fn decline(&self, uid: u32, tool: &str, by: &'static str) {
        of(&self.declined, uid, tool, |counts| {
            *counts.entry(by).or_default() += 1
        });
    }

    /// Counts what was taken out of an event.
    pub fn remove(&self, uid: u32, tool: &str, report: &Report) {
        of(&self.removed, uid, tool, |removed| removed.add(report));
    }

    /// Counts an event that its tool's manifest does not list.
    pub fn unlisted(&self, uid: u32, tool: &str) {
        of(&self.removed, uid, tool, |removed| removed.events += 1);
    }

    /// What was taken out, by tool, of one uid or of all.
    #[must_use]
    pub fn removed(&self, whose: Option<u32>) -> BTreeMap<String, Removed> {
        let mut sum: BTreeMap<String, Removed> = BTreeMap::new();
        let Ok(removed) = self.removed.lock() else {
            return sum;
        };
        let theirs = removed.iter().filter(|(uid, _)| whose.is_none_or(|w| w == **uid));
        for (tool, counts) in theirs.flat_map(|(_, tools)| tools) {
            sum.entry(tool.clone()).or_default().sum(counts);
        }
        sum
    }

    /// Refusals by code.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused.lock().map(|map| map.clone()).unwrap_or_default()
    }

    /// Declined events by tool and layer, of one uid or of all.
    #[must_use]
    pub fn declined(&self, whose: Option<u32>) -> BTreeMap<String, Declined> {
        let mut sum: BTreeMap<String, Declined> = BTreeMap::new();
        let Ok(declined) = self.declined.lock() else {
            return sum;
        };
        let theirs = declined
            .iter()
            .filter(|(uid, _)| whose.is_none_or(|w| w == **uid));
        for (tool, layers) in theirs.flat_map(|(_, tools)| tools) {
            let own = sum.entry(tool.clone()).or_default();
            for (layer, count) in layers {
                *own.entry(layer).or_default() += count;
            }
        }
        sum
    }
}

/// Counts something of a user's tool. Tools are named by strangers, so their number is bounded, for each user apart
/// (I6, I13).
fn of<C: Default>(
    counts: &Mutex<BTreeMap<u32, BTreeMap<String, C>>>,
    uid: u32,
    tool: &str,
    count: impl FnOnce(&mut C),
) {
    /// Twice as many names as the queue would ever take of one user.
    const TOOLS: usize = 128;
    /// As many users as may be connected by default.
    const USERS: usize = 1024;
    let Ok(mut users) = counts.lock() else {
        return;
    };
    if users.len() >= USERS && !users.contains_key(&uid) {
        return;
    }
    let tools = users.entry(uid).or_default();
    if let Some(counts) = tools.get_mut(tool) {
        count(counts);
    } else if tools.len() < TOOLS {
        count(tools.entry(tool.to_owned()).or_default());
    }
}
