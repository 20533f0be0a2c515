//! How many events of a tool and user were admitted today (UTC): `max_per_day`.
//!
//! The books of the queue count for ever and outlive a crash; what is kept here is only what they said when the day
//! began, written once a day and tool. Of users and tools that have no limit nothing is kept.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use telemetry_queue::Book;
use tracing::warn;

/// Counted tools of all users (I6): past it the day's count of the one whose day is oldest begins anew.
const COUNTED: usize = 16 * 1024;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// One tool's day.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Day {
    /// Days since the epoch.
    day: i64,
    /// What the books had accepted when it began.
    base: u64,
    /// Admitted since.
    #[serde(skip)]
    used: u64,
}

/// The days of everybody, by uid and tool.
type Days = BTreeMap<String, Day>;

#[derive(Debug)]
pub(super) struct Quotas {
    file: PathBuf,
    days: Mutex<Days>,
    /// What the books said when the daemon began.
    accepted: BTreeMap<String, u64>,
}

fn key(uid: u32, tool: &str) -> String {
    format!("{uid} {tool}")
}

impl Quotas {
    pub(super) fn open(file: PathBuf, books: &[Book]) -> Self {
        let mut accepted: BTreeMap<String, u64> = BTreeMap::new();
        for book in books {
            *accepted.entry(key(book.lane.uid, &book.lane.tool)).or_default() += book.accepted;
        }
        let mut days: Days = crate::files::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        for (key, day) in &mut days {
            let accepted = accepted.get(key).copied().unwrap_or_default();
            day.used = accepted.saturating_sub(day.base);
        }
        Self {
            file,
            days: Mutex::new(days),
            accepted,
        }
    }

    /// How many were admitted today.
    pub(super) fn today(&self, uid: u32, tool: &str, wall_ms: i64) -> u64 {
        let days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        let day = days.get(&key(uid, tool));
        day.filter(|day| day.day == wall_ms.div_euclid(DAY_MS))
            .map_or(0, |day| day.used)
    }

    /// One more.
    pub(super) fn count(&self, uid: u32, tool: &str, wall_ms: i64) {
        let today = wall_ms.div_euclid(DAY_MS);
        let key = key(uid, tool);
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(day) = days.get_mut(&key).filter(|day| day.day == today) {
            day.used += 1;
            return;
        }
        let base = match days.get(&key) {
            Some(day) => day.base.saturating_add(day.used),
            None => self.accepted.get(&key).copied().unwrap_or_default(),
        };
        if days.len() >= COUNTED && !days.contains_key(&key) {
            let oldest = days
                .iter()
                .min_by_key(|(_, day)| day.day)
                .map(|(key, _)| key.clone());
            days.remove(&oldest.unwrap_or_default());
        }
        let day = Day {
            day: today,
            base,
            used: 1,
        };
        days.insert(key, day);
        let written = serde_json::to_vec(&*days)
            .map_err(std::io::Error::other)
            .and_then(|text| crate::files::replace(&self.file, &text));
        if let Err(error) = written {
            warn!(%error, "cannot keep when a tool's day began; max_per_day counts from the daemon's start");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use telemetry_queue::Lane;

    fn books(accepted: u64) -> Vec<Book> {
        let lane = Lane {
            uid: 7,
            destination: "default".into(),
            tool: Arc::from("t"),
        };
        vec![Book {
            lane,
            accepted,
            delivered: accepted,
            parked: 0,
            queued: 0,
            evicted: 0,
            expired: 0,
            purged: 0,
            lost: 0,
        }]
    }

    #[test]
    fn a_day_is_counted_across_a_restart_and_ends_at_midnight() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("quotas.json");
        let noon = 20_000 * DAY_MS + DAY_MS / 2;
        let quotas = Quotas::open(file.clone(), &books(100));
        assert_eq!(quotas.today(7, "t", noon), 0);
        for _ in 0..5 {
            quotas.count(7, "t", noon);
        }
        assert_eq!(
            (
                quotas.today(7, "t", noon),
                quotas.today(7, "u", noon),
                quotas.today(8, "t", noon)
            ),
            (5, 0, 0)
        );
        let again = Quotas::open(file.clone(), &books(105));
        assert_eq!(again.today(7, "t", noon), 5);
        assert_eq!(again.today(7, "t", noon + DAY_MS), 0);
        again.count(7, "t", noon + DAY_MS);
        let third = Quotas::open(file, &books(106));
        assert_eq!(third.today(7, "t", noon + DAY_MS), 1);
    }
}
