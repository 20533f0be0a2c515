//! `fleet`: ten thousand simulated machines with the daemon's own trigger and backoff, against one endpoint with a
//! capacity: all switched on in one second, an hour as usual, an hour of trouble, the return.

use anyhow::Result;

use super::Bench;
use crate::figure::{Figure, Wanted};
use crate::fleet::{AFTER_MIN, BIN, COMING_MIN, Fleet, Lived, OUTAGE_MIN, STEADY_MIN, Weather, plot};
use crate::report::Report;

/// The seed of the published figures, and of the plot.
const SEED: u64 = 1;

/// A busy fleet, and one that has next to nothing to say, where every machine that comes back is seen.
const BETWEEN_MS: [(&str, u64); 2] = [("busy", 5 * 60_000), ("quiet", 60 * 60_000)];

/// Runs it.
///
/// # Errors
/// When the plot cannot be written.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("fleet");
    let rounds = bench.rounds(bench.scale.fleets);
    for (load, between_ms) in BETWEEN_MS {
        let fleet = Fleet {
            machines: bench.scale.machines,
            between_ms,
            // A third of all machines in ten seconds.
            capacity: bench.scale.machines / 30,
            seed: SEED,
        };
        let mut first = Vec::new();
        for weather in Weather::ALL {
            let lived: Vec<Lived> = (0..rounds as u64)
                .map(|round| {
                    Fleet {
                        seed: SEED + round,
                        ..fleet
                    }
                    .live(weather)
                })
                .collect();
            figures(report, &format!("{load}: {}", weather.name()), &lived);
            report.check(
                lived.iter().all(|lived| lived.bins.iter().any(|bin| *bin > 0)),
                || "nobody sent anything".to_owned(),
            );
            first.extend(lived.into_iter().next().map(|lived| (weather, lived)));
        }
        let starts: Vec<f64> = first.iter().map(|(_, lived)| lived.rates(0, 10).1).collect();
        let usual: Vec<f64> = first
            .iter()
            .map(|(_, lived)| lived.rates(STEADY_MIN / 2, STEADY_MIN).0)
            .collect();
        report.figure(Figure::new(
            format!("{load}: switched on in one second, peak"),
            "/s",
            &starts,
        ));
        report.figure(Figure::new(format!("{load}: as usual, mean"), "/s", &usual));
        if let Some(path) = bench.plot.as_deref().filter(|_| between_ms == BETWEEN_MS[0].1) {
            plot::draw(path, &fleet, &first)?;
        }
    }
    report.note(format!(
        "{} machines, each with an event every 5 minutes (busy) or every hour (quiet); the endpoint answers {} requests/s, \
         but for {OUTAGE_MIN} minutes",
        bench.scale.machines,
        bench.scale.machines / 30
    ));
    report.note(format!(
        "peaks are of bins of {BIN} s in the {AFTER_MIN} minutes after the return, the mean is of the first {COMING_MIN} of them, \
         in which all come back"
    ));
    Ok(())
}

fn figures(report: &mut Report, name: &str, lived: &[Lived]) {
    let of = |what: &dyn Fn(&Lived) -> f64| lived.iter().map(what).collect::<Vec<f64>>();
    let peaks = of(&|lived| lived.return_rates().1);
    let means = of(&|lived| lived.return_rates().0);
    report.figure(
        Figure::new(format!("{name}, peak"), "/s", &peaks)
            .beside("the mean", &means)
            .wanted(Wanted::RatioAtMost(3.0)),
    );
    let seconds = of(&|lived| f64::from(lived.worst_second));
    report.figure(Figure::new("  its busiest second", "/s", &seconds));
    let back = of(&|lived| lived.all_back_ms.map_or(f64::INFINITY, |ms| ms as f64 / 60_000.0));
    report.figure(Figure::new("  until all that waited were through", "min", &back));
    report.check(lived.iter().all(|lived| lived.all_back_ms.is_some()), || {
        format!("{name}: some of {} machines never got through", lived[0].awaited)
    });
}
