//! `growth`: the figures that could grow, at three sizes of the queue, three numbers of connections and three of tools.
//!
//! The rule: *n* events, connections or tools may cost *n* log *n* in all, so one of them may cost `ln(1 + n)` times a
//! constant. From one size to the next the cost, which is the time, the CPU or the memory, or one over the rate, may grow
//! as that. Memory is of all of them and may be *n* ln(1 + *n*).
//! A start, a `status` and a client's wait are beside all that is queued or connected, and are held to ln(1 + *n*), which is stricter.

mod crowd;
mod plot;
mod queued;
mod width;

use anyhow::Result;

use super::Bench;
use crate::figure::{Figure, Wanted, median, number};
use crate::report::Report;

/// One figure at each size.
#[derive(Debug)]
struct Curve {
    name: &'static str,
    unit: &'static str,
    /// More is better: the cost is one over it.
    rate: bool,
    /// Of each size, the samples.
    points: Vec<Vec<f64>>,
}

/// The figures over what grows.
#[derive(Debug)]
struct Growth {
    /// `queued`, `connections`, `tools`.
    what: &'static str,
    sizes: Vec<u64>,
    curves: Vec<Curve>,
}

impl Growth {
    fn new(what: &'static str, sizes: &[u64]) -> Self {
        Self {
            what,
            sizes: sizes.to_vec(),
            curves: Vec::new(),
        }
    }

    /// A sample of a figure at one of the sizes.
    fn sample(&mut self, size: usize, name: &'static str, unit: &'static str, value: f64) {
        let at = self.curves.iter().position(|curve| curve.name == name);
        let at = at.unwrap_or_else(|| {
            self.curves.push(Curve {
                name,
                unit,
                rate: unit.ends_with("/s"),
                points: vec![Vec::new(); self.sizes.len()],
            });
            self.curves.len() - 1
        });
        self.curves[at].points[size].push(value);
    }

    /// A line for each figure and size, beside the size before.
    fn tell(&self, report: &mut Report) {
        for curve in &self.curves {
            for (at, samples) in curve.points.iter().enumerate() {
                let name = format!("{}, {} {}", curve.name, number(self.sizes[at] as f64), self.what);
                let mut figure = Figure::new(name, curve.unit, samples);
                if let Some(before) = at.checked_sub(1) {
                    let mut allowed = log(self.sizes[at]) / log(self.sizes[before]);
                    if curve.unit == "MB" {
                        // Of all of them, not of one.
                        allowed *= self.sizes[at] as f64 / self.sizes[before] as f64;
                    }
                    let of = median(&curve.points[before]);
                    figure = figure.beside("the one before", &vec![of; samples.len()]);
                    figure = figure.wanted(if curve.rate {
                        Wanted::RatioAtLeast(rounded(1.0 / allowed))
                    } else {
                        Wanted::RatioAtMost(rounded(allowed))
                    });
                }
                report.figure(figure);
            }
        }
    }
}

impl Curve {
    /// The cost at each size, as a multiple of that at the first.
    fn costs(&self) -> Vec<f64> {
        let cost = |samples: &Vec<f64>| match self.rate {
            true => 1.0 / median(samples),
            false => median(samples),
        };
        let first = self.points.first().map_or(1.0, cost);
        self.points.iter().map(|samples| cost(samples) / first).collect()
    }
}

fn log(size: u64) -> f64 {
    (size as f64).ln_1p()
}

fn rounded(ratio: f64) -> f64 {
    (ratio * 100.0).round() / 100.0
}

/// Measures the figures over one thing that grows.
type Part = fn(&Bench, &mut Report) -> Result<Growth>;

/// Runs it.
///
/// # Errors
/// When the daemon fails, or the curves cannot be drawn.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("growth");
    let parts: [(&str, Part); 3] = [
        ("queued", queued::measure),
        ("connections", width::connections),
        ("tools", width::tools),
    ];
    let mut grown = Vec::new();
    for (name, measure) in parts {
        if bench.wants(name) {
            grown.push(measure(bench, report)?);
        }
    }
    for growth in &grown {
        growth.tell(report);
    }
    if let Some(path) = &bench.curves {
        plot::draw(path, &grown)?;
    }
    report.note(
        "asked: the cost of one grows at most as ln(1 + n) from one size to the next; a rate falls at most as one over that",
    );
    report.note(queued::HOW);
    report.note(width::HOW);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_twice_as_much_at_a_hundred_times_the_size_has_missed_and_a_rate_is_one_over_a_cost() {
        let mut growth = Growth::new("queued", &[1000, 100_000]);
        growth.sample(0, "filled", "events/s", 200.0);
        growth.sample(1, "filled", "events/s", 100.0);
        growth.sample(0, "start", "ms", 10.0);
        growth.sample(1, "start", "ms", 16.0);
        assert_eq!(growth.curves[0].costs(), [1.0, 2.0]);
        assert_eq!(growth.curves[1].costs(), [1.0, 1.6]);
        assert_eq!(rounded(log(100_000) / log(1000)), 1.67);
    }
}
