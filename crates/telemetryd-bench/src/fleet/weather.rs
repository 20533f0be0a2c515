//! The endpoint of a fleet: what it can do, and what goes wrong with it for an hour.

use std::time::Duration;

use super::{OUTAGE_MIN, STEADY_MIN};

const MINUTE_MS: u64 = 60_000;

/// What goes wrong for an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Nobody answers: the connection is refused.
    Outage,
    /// A maintenance page: 503, with a `Retry-After` that tells everybody the same end, as a date does.
    Maintenance,
    /// Nobody answers, and for ten minutes after that the endpoint does a sixtieth of what it can, less than comes as
    /// usual: the others are told 503 and `Retry-After: 300`.
    Storm,
}

impl Weather {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Outage, Self::Maintenance, Self::Storm];

    /// In words.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Outage => "connections refused",
            Self::Maintenance => "503, Retry-After names the end",
            Self::Storm => "refused, then overload with Retry-After: 300",
        }
    }

    pub(super) const fn endpoint(self, capacity: u32) -> Endpoint {
        Endpoint {
            weather: self,
            capacity,
            second: 0,
            in_second: 0,
        }
    }
}

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200.
    Taken,
    /// No answer, or 503, with a `Retry-After` perhaps.
    Failed(Option<Duration>),
}

/// The endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint {
    weather: Weather,
    capacity: u32,
    second: u64,
    in_second: u32,
}

impl Endpoint {
    /// A request comes.
    pub(super) fn asked(&mut self, now_ms: u64) -> Answer {
        if self.second != now_ms / 1000 {
            (self.second, self.in_second) = (now_ms / 1000, 0);
        }
        self.in_second += 1;
        let (from, to) = (STEADY_MIN * MINUTE_MS, (STEADY_MIN + OUTAGE_MIN) * MINUTE_MS);
        let weak = (to..to + 10 * MINUTE_MS).contains(&now_ms) && self.weather == Weather::Storm;
        if (from..to).contains(&now_ms) {
            let end = Duration::from_millis(to - now_ms);
            return Answer::Failed((self.weather == Weather::Maintenance).then_some(end));
        }
        let capacity = if weak { self.capacity / 60 } else { self.capacity };
        match self.in_second <= capacity {
            true => Answer::Taken,
            false => Answer::Failed(weak.then_some(Duration::from_secs(300))),
        }
    }
}
