//! Ten thousand machines against one endpoint, by events and not by time: the daemon's own `trigger`, `again`, `State`
//! and, behind them, `backoff` and `spread` decide when each of them asks; nothing of that is written again here.

mod machine;
pub(crate) mod plot;
mod weather;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

pub(crate) use self::machine::Machine;
pub(crate) use self::weather::Weather;

/// A bin of the rates, in seconds: short enough to see a herd, long enough that chance is not one.
pub(crate) const BIN: u64 = 10;

/// Minutes: from the start to the outage, of the outage, and from the return to the end.
pub(crate) const STEADY_MIN: u64 = 60;
/// See [`STEADY_MIN`].
pub(crate) const OUTAGE_MIN: u64 = 60;
/// See [`STEADY_MIN`].
pub(crate) const AFTER_MIN: u64 = 60;
/// Minutes after the return in which every machine comes back, `retry.max`: the mean is of these. (Of the whole hour it
/// would be the less, the longer one looks.)
pub(crate) const COMING_MIN: u64 = 30;

const MINUTE_MS: u64 = 60_000;

/// How many machines, how busy, and what their endpoint can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    /// Machines.
    pub(crate) machines: u32,
    /// Milliseconds between two events of one machine, at the mean (exponential).
    pub(crate) between_ms: u64,
    /// Requests that the endpoint answers in one second; the others are told 503.
    pub(crate) capacity: u32,
    /// All chance comes from it.
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Lived {
    /// Requests in each bin of [`BIN`] seconds, from the start.
    pub(crate) bins: Vec<u32>,
    /// Requests of the busiest second after the return.
    pub(crate) worst_second: u32,
    /// Machines on which something waited at the return.
    pub(crate) awaited: usize,
    /// Milliseconds from the return until all of them had got through.
    pub(crate) all_back_ms: Option<u64>,
}

impl Lived {
    /// After the return: the mean of the time in which all come back, and the busiest bin of the hour.
    pub(crate) fn return_rates(&self) -> (f64, f64) {
        let back = STEADY_MIN + OUTAGE_MIN;
        (
            self.rates(back, back + COMING_MIN).0,
            self.rates(back, back + AFTER_MIN).1,
        )
    }

    /// Requests a second, of these minutes: the mean, and the busiest bin.
    pub(crate) fn rates(&self, from_min: u64, to_min: u64) -> (f64, f64) {
        let at = |minute: u64| usize::try_from(minute * 60 / BIN).unwrap_or(usize::MAX);
        let bins = self
            .bins
            .get(at(from_min)..at(to_min).min(self.bins.len()))
            .unwrap_or_default();
        let sum: u64 = bins.iter().map(|&bin| u64::from(bin)).sum();
        let peak = bins.iter().copied().max().unwrap_or_default();
        let a_second = 1.0 / BIN as f64;
        (
            sum as f64 / bins.len().max(1) as f64 * a_second,
            f64::from(peak) * a_second,
        )
    }
}

/// What happens next to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A tool writes an event.
    Event,
    /// A timer that was set so many decisions ago goes off.
    Timer(u32),
}

impl Fleet {
    /// Lives through the three hours.
    pub(crate) fn live(&self, weather: Weather) -> Lived {
        let end_ms = (STEADY_MIN + OUTAGE_MIN + AFTER_MIN) * MINUTE_MS;
        let back_ms = (STEADY_MIN + OUTAGE_MIN) * MINUTE_MS;
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut endpoint = weather.endpoint(self.capacity);
        let mut machines: Vec<Machine> = (0..self.machines).map(|_| Machine::new(random.u64(..))).collect();
        let mut next: BinaryHeap<Reverse<(u64, u32, What)>> = BinaryHeap::new();
        // All of them are switched on in the same second, and each has something to say.
        for number in 0..self.machines {
            next.push(Reverse((random.u64(0..1000), number, What::Event)));
        }
        let mut lived = Lived {
            bins: vec![0; usize::try_from(end_ms / 1000 / BIN).unwrap_or_default()],
            worst_second: 0,
            awaited: 0,
            all_back_ms: None,
        };
        let (mut second, mut in_second) = (0, 0);
        let (mut returned, mut away) = (false, 0);
        while let Some(Reverse((now_ms, number, what))) = next.pop() {
            if now_ms >= end_ms {
                break;
            }
            if now_ms >= back_ms && !returned {
                returned = true;
                for machine in &mut machines {
                    machine.away = machine.waiting() > 0;
                    away += usize::from(machine.away);
                }
                lived.awaited = away;
            }
            let Some(machine) = machines.get_mut(number as usize) else {
                continue;
            };
            match what {
                What::Event => {
                    machine.event(now_ms);
                    let wait = -(1.0 - random.f64()).ln() * self.between_ms as f64;
                    next.push(Reverse((now_ms + wait as u64 + 1, number, What::Event)));
                }
                What::Timer(of) if of != machine.decisions => continue,
                What::Timer(_) => {}
            }
            let was_away = machine.away;
            let timer = machine.decide(now_ms, |now_ms| {
                if let Some(bin) = lived.bins.get_mut((now_ms / 1000 / BIN) as usize) {
                    *bin += 1;
                }
                if now_ms >= back_ms {
                    (second, in_second) = match second == now_ms / 1000 {
                        true => (second, in_second + 1),
                        false => (now_ms / 1000, 1),
                    };
                    lived.worst_second = lived.worst_second.max(in_second);
                }
                endpoint.asked(now_ms)
            });
            if let Some(wait) = timer {
                let wait = u64::try_from(wait.max(Duration::from_millis(1)).as_millis()).unwrap_or(u64::MAX);
                next.push(Reverse((
                    now_ms.saturating_add(wait),
                    number,
                    What::Timer(machine.decisions),
                )));
            }
            if was_away && !machine.away {
                away -= 1;
                lived.all_back_ms = (away == 0).then_some(now_ms - back_ms);
            }
        }
        lived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tenth of the fleet that is published, with the same load for each machine.
    #[test]
    fn a_smaller_fleet_comes_back_from_an_outage_without_a_herd() {
        let fleet = Fleet {
            machines: 1000,
            between_ms: 5 * MINUTE_MS,
            capacity: 30,
            seed: 1,
        };
        for weather in Weather::ALL {
            let lived = fleet.live(weather);
            let (mean, peak) = lived.return_rates();
            let ratio = peak / mean;
            assert!(ratio < 3.0, "{weather:?}: {ratio}");
            assert!(lived.all_back_ms.is_some(), "{weather:?}: somebody is still away");
        }
    }
}
