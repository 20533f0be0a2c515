//! Memory over time: samples of a process, a line through them, and a verdict.

use crate::figure::median;

/// Resident memory of the daemon at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Seconds since the run began.
    pub(super) at: f64,
    /// Which process: it is killed and started again.
    pub(super) life: u32,
    /// MB that are resident.
    pub(super) resident: f64,
}

/// What the samples say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flatness {
    /// MB a minute, by least squares over the last life but its first tenth.
    pub(super) slope: f64,
    /// MB that the median of its last quarter is above that of its second.
    pub(super) gained: f64,
    /// Minutes of it.
    pub(super) minutes: f64,
    /// Samples in each of its quarters.
    pub(super) quarter: usize,
    /// The most of any life.
    pub(super) peak: f64,
}

impl Flatness {
    /// Whether there is enough of it to be judged: a daemon that has just been started grows, and the median of one sample
    /// is that sample. (The smoke run is too short; on a busy machine its last life may be of half a second.)
    pub(super) fn tells(&self) -> bool {
        self.quarter >= 3
    }
}

/// Looks at the last life, which nobody ends.
pub(super) fn flatness(samples: &[Sample]) -> Flatness {
    let last = samples.iter().map(|sample| sample.life).max().unwrap_or_default();
    let of_it: Vec<Sample> = samples
        .iter()
        .filter(|sample| sample.life == last)
        .copied()
        .collect();
    let settled = of_it.get(of_it.len() / 10..).unwrap_or_default();
    let quarter = settled.len() / 4;
    let mb = |of: &[Sample]| median(&of.iter().map(|sample| sample.resident).collect::<Vec<_>>());
    let second = mb(settled.get(quarter..2 * quarter).unwrap_or_default());
    let fourth = mb(settled.get(3 * quarter..).unwrap_or_default());
    let begun = settled.first().map_or(0.0, |sample| sample.at);
    let ended = settled.last().map_or(0.0, |sample| sample.at);
    Flatness {
        slope: slope(settled) * 60.0,
        gained: fourth - second,
        minutes: (ended - begun) / 60.0,
        quarter,
        peak: samples.iter().map(|sample| sample.resident).fold(0.0, f64::max),
    }
}

/// MB a second.
fn slope(samples: &[Sample]) -> f64 {
    let n = samples.len().max(1) as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / n;
    let (at, resident) = (mean(&|sample| sample.at), mean(&|sample| sample.resident));
    let both: f64 = samples
        .iter()
        .map(|sample| (sample.at - at) * (sample.resident - resident))
        .sum();
    let of_at: f64 = samples.iter().map(|sample| (sample.at - at).powi(2)).sum();
    if of_at > 0.0 { both / of_at } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_has_a_slope_and_a_saw_has_none() {
        let samples = |resident: &dyn Fn(f64) -> f64| -> Vec<Sample> {
            (0..600)
                .map(|at| Sample {
                    at: f64::from(at),
                    life: 1,
                    resident: resident(f64::from(at)),
                })
                .collect()
        };
        let leak = flatness(&samples(&|at| 20.0 + at / 60.0));
        assert!((leak.slope - 1.0).abs() < 0.01 && leak.gained > 3.0, "{leak:?}");
        let saw = flatness(&samples(&|at| 20.0 + at % 10.0));
        assert!(saw.slope.abs() < 0.05 && saw.gained.abs() < 0.5, "{saw:?}");
        assert!(leak.tells() && saw.tells());
    }

    #[test]
    fn a_life_of_half_a_second_tells_nothing_of_a_leak() {
        let sample = |at: f64, life, resident| Sample { at, life, resident };
        let before = (0..40).map(|at| sample(f64::from(at), 1, 25.0));
        let last = (0..5).map(|at| sample(40.0 + f64::from(at) / 10.0, 2, 3.0 + 5.0 * f64::from(at)));
        let seen = flatness(&before.chain(last).collect::<Vec<_>>());
        assert!(seen.gained > 4.0 && !seen.tells(), "{seen:?}");
    }
}
