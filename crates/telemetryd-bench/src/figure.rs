//! A figure: what was measured, round by round, and beside which limit of the machine.

use serde_json::{Value, json};

/// What the project asks of a figure. Missing it is shown and is no failure: machines differ, and are busy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wanted {
    /// The median of the ratios is at least this.
    RatioAtLeast(f64),
    /// The median of the ratios is at most this.
    RatioAtMost(f64),
    /// The median is at most this.
    AtMost(f64),
}

/// One line of a table.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    samples: Vec<f64>,
    beside: Option<(String, Vec<f64>)>,
    wanted: Option<Wanted>,
}

impl Figure {
    /// Measured once a round.
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, samples: &[f64]) -> Self {
        Self {
            name: name.into(),
            unit,
            samples: samples.to_vec(),
            beside: None,
            wanted: None,
        }
    }

    /// Divided by what was measured beside it in the same round.
    pub(crate) fn beside(mut self, what: &str, samples: &[f64]) -> Self {
        let ratios = self
            .samples
            .iter()
            .zip(samples)
            .map(|(ours, theirs)| ours / theirs)
            .collect();
        self.beside = Some((what.to_owned(), ratios));
        self
    }

    /// What is asked of it.
    pub(crate) fn wanted(mut self, wanted: Wanted) -> Self {
        self.wanted = Some(wanted);
        self
    }

    fn ratio(&self) -> Option<f64> {
        self.beside.as_ref().map(|(_, ratios)| median(ratios))
    }

    fn holds(&self) -> Option<bool> {
        let ratio = self.ratio();
        self.wanted.map(|wanted| match wanted {
            Wanted::RatioAtLeast(least) => ratio.is_some_and(|ratio| ratio >= least),
            Wanted::RatioAtMost(most) => ratio.is_some_and(|ratio| ratio <= most),
            Wanted::AtMost(most) => median(&self.samples) <= most,
        })
    }

    /// The cells of its line: name, median and unit, least to most, ratio, its least to most, what is wanted.
    pub(crate) fn cells(&self) -> [String; 6] {
        let range = |samples: &[f64]| match spread(samples) {
            Some((least, most)) if samples.len() > 1 => format!("{}..{}", number(least), number(most)),
            _ => String::new(),
        };
        let (ratio, ratios) = match &self.beside {
            None => (String::new(), String::new()),
            Some((what, ratios)) => {
                let (least, most) = spread(ratios).unwrap_or_default();
                let ratios = if ratios.len() > 1 {
                    format!("{least:.2}..{most:.2}")
                } else {
                    String::new()
                };
                (
                    format!("{:.2} of {what}", self.ratio().unwrap_or_default()),
                    ratios,
                )
            }
        };
        let wanted = match self.wanted {
            None => String::new(),
            Some(Wanted::RatioAtLeast(least)) => format!(">= {least}"),
            Some(Wanted::RatioAtMost(most)) => format!("<= {most}"),
            Some(Wanted::AtMost(most)) => format!("<= {}", number(most)),
        };
        let verdict = match self.holds() {
            None => "",
            Some(true) => " ok",
            Some(false) => " MISSED",
        };
        let value = format!("{} {}", number(median(&self.samples)), self.unit);
        [
            self.name.clone(),
            value,
            range(&self.samples),
            ratio,
            ratios,
            wanted + verdict,
        ]
    }

    /// One object of `--json`.
    pub(crate) fn json(&self, scenario: &str) -> Value {
        let (least, most) = spread(&self.samples).unwrap_or_default();
        let mut line = json!({
            "scenario": scenario, "figure": self.name, "unit": self.unit, "rounds": self.samples.len(),
            "median": median(&self.samples), "min": least, "max": most,
        });
        if let Some((what, ratios)) = &self.beside {
            let (least, most) = spread(ratios).unwrap_or_default();
            line["beside"] = json!({ "what": what, "median": median(ratios), "min": least, "max": most });
        }
        if let (Some(wanted), Some(holds)) = (self.wanted, self.holds()) {
            line["wanted"] = match wanted {
                Wanted::RatioAtLeast(least) => json!({ "ratio_at_least": least, "holds": holds }),
                Wanted::RatioAtMost(most) => json!({ "ratio_at_most": most, "holds": holds }),
                Wanted::AtMost(most) => json!({ "at_most": most, "holds": holds }),
            };
        }
        line
    }
}

/// The middle one; the mean of the two middle ones where their number is even. 0 for none.
pub(crate) fn median(samples: &[f64]) -> f64 {
    percentile(samples, 0.5)
}

/// The value below which that share of the samples lies, between two of them by proportion. 0 for none.
pub(crate) fn percentile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = share * (sorted.len().saturating_sub(1)) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => low + (high - low) * at.fract(),
        _ => 0.0,
    }
}

fn spread(samples: &[f64]) -> Option<(f64, f64)> {
    let least = samples.iter().copied().reduce(f64::min)?;
    let most = samples.iter().copied().reduce(f64::max)?;
    Some((least, most))
}

/// A number as people read it: three digits that matter, thousands apart.
pub(crate) fn number(value: f64) -> String {
    if value.abs() >= 1000.0 {
        let digits = format!("{value:.0}");
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) && !text.ends_with('-') {
                text.push(',');
            }
            text.push(digit);
        }
        text
    } else if value.fract() == 0.0 || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[5.0]), 5.0);
        assert_eq!(median(&[]), 0.0);
        assert_eq!(percentile(&[1.0, 2.0, 3.0], 1.0), 3.0);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let figure = Figure::new("a", "/s", &[10.0, 30.0, 20.0])
            .beside("bare", &[20.0, 30.0, 20.0])
            .wanted(Wanted::RatioAtLeast(0.9));
        assert_eq!(figure.ratio(), Some(1.0));
        assert_eq!(figure.holds(), Some(true));
        assert_eq!(figure.json("t")["beside"]["min"], 0.5);
        assert_eq!(figure.cells()[3], "1.00 of bare");
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(number(1_234_567.8), "1,234,568");
        assert_eq!(number(123.4), "123");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(0.0), "0");
        assert_eq!(number(-1500.0), "-1,500");
    }
}
