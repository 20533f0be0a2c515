//! Counters: written anywhere, read by control alone. They begin at zero with each start; what must
//! survive is in the books.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Requests sent to endpoints.
    pub requests: Counter,
    /// Requests that did not deliver.
    pub failures: Counter,
    /// Requests that a withdrawal of consent, or the end, stopped.
    pub cancelled: Counter,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    declined: Mutex<BTreeMap<u32, BTreeMap<String, Declined>>>,
}

impl Counters {
    /// Counts an answer `ok: false`.
    pub fn refuse(&self, code: ErrorCode) {
        if let Ok(mut refused) = self.refused.lock() {
            *refused.entry(code.as_str()).or_default() += 1;
        }
    }

    /// Counts an event that consent declined. Tools are named by strangers, so their number is bounded, for each
    /// user apart (I6, I13).
    pub fn decline(&self, uid: u32, tool: &str, by: &'static str) {
        /// Twice as many names as the queue would ever take of one user.
        const TOOLS: usize = 128;
        /// As many users as may be connected by default.
        const USERS: usize = 1024;
        let Ok(mut declined) = self.declined.lock() else {
            return;
        };
        if declined.len() >= USERS && !declined.contains_key(&uid) {
            return;
        }
        let declined = declined.entry(uid).or_default();
        let tools = declined.len();
        if let Some(counts) = declined.get_mut(tool) {
            *counts.entry(by).or_default() += 1;
        } else if tools < TOOLS {
            declined.insert(tool.to_owned(), BTreeMap::from([(by, 1)]));
        }
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
