//! The comparison at the end: what the tools were told, what the daemon has booked, what has arrived.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use telemetry_sink::Counts;

use super::stage::Stage;
use crate::failure::Failure;
use crate::screen::{GREEN, RED, Screen, styled};

/// The numbers that must agree.
#[derive(Debug)]
pub(super) struct Sum {
    /// Events that a tool was told to be safe.
    acknowledged: u64,
    /// Of those, the ones that have not arrived, or have arrived twice after batches were told apart.
    missing: u64,
    twice: u64,
    /// Booked by the daemon.
    accepted: u64,
    delivered: u64,
    /// At the endpoint.
    arrived: u64,
    repeated_batches: u64,
}

impl Sum {
    /// Whether nothing was lost and nothing counts twice.
    pub(super) fn holds(&self) -> bool {
        self.missing == 0
            && self.twice == 0
            && self.acknowledged > 0
            && self.accepted == self.delivered
            && self.delivered == self.arrived
            && self.accepted >= self.acknowledged
    }

    pub(super) fn json(&self, seconds: f32) -> Value {
        json!({
            "ok": self.holds(),
            "acknowledged": self.acknowledged,
            "accepted": self.accepted,
            "delivered": self.delivered,
            "arrived": self.arrived,
            "missing": self.missing,
            "twice": self.twice,
            "repeated_batches": self.repeated_batches,
            "seconds": f64::from((seconds * 10.0).round()) / 10.0,
        })
    }
}

/// A sum over the books.
pub(super) fn booked(status: &Value, column: &str) -> u64 {
    let rows = status["books"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().filter_map(|row| row[column].as_u64()).sum()
}

pub(super) fn compare(status: &Value, stage: &Stage, acknowledged: &BTreeSet<String>) -> Sum {
    let Counts {
        unique,
        repeated_batches,
        ..
    } = stage.counts();
    let (mut missing, mut twice) = (0, 0);
    for id in acknowledged {
        match stage.times(id) {
            0 => missing += 1,
            1 => {}
            _ => twice += 1,
        }
    }
    Sum {
        acknowledged: acknowledged.len() as u64,
        missing,
        twice,
        accepted: booked(status, "accepted"),
        delivered: booked(status, "delivered"),
        arrived: unique,
        repeated_batches,
    }
}

pub(super) fn show(status: &Value, sum: &Sum, screen: &mut Screen) -> Result<(), Failure> {
    const COLUMNS: [&str; 9] = [
        "tool",
        "accepted",
        "delivered",
        "parked",
        "queued",
        "evicted",
        "expired",
        "purged",
        "lost",
    ];
    let rows = status["books"].as_array().map(Vec::as_slice).unwrap_or_default();
    let list = rows
        .iter()
        .map(|row| {
            let cell = |key: &&str| match &row[*key] {
                Value::String(text) => format!("   {text}"),
                other => other.to_string(),
            };
            COLUMNS.iter().map(cell).collect()
        })
        .collect();
    let mut head = COLUMNS;
    head[0] = "   tool";
    screen.table(&head, &[1, 2, 3, 4, 5, 6, 7, 8], list)?;
    screen.line("")?;
    for (what, number) in [
        ("acknowledged to the tools", sum.acknowledged),
        ("booked as accepted", sum.accepted),
        ("booked as delivered", sum.delivered),
        ("arrived at the endpoint", sum.arrived),
        ("acknowledged and not arrived", sum.missing),
        ("arrived and counted twice", sum.twice),
    ] {
        screen.line(&format!("   {what:<29} {number:>7}"))?;
    }
    if sum.repeated_batches > 0 {
        let batches = match sum.repeated_batches {
            1 => "1 batch".to_owned(),
            more => format!("{more} batches"),
        };
        screen.line(&format!(
            "   {batches} came a second time, known by its id: delivered at least once, counted once."
        ))?;
    }
    if sum.accepted > sum.acknowledged {
        let more = crate::words::counted(sum.accepted - sum.acknowledged, "event");
        screen.line(&format!(
            "   {more} had been stored when the crash swallowed the answer."
        ))?;
    }
    let verdict = match sum.holds() {
        true => styled(GREEN, "Every acknowledged event has arrived, once."),
        false => styled(RED, "The numbers do not agree."),
    };
    screen.line(&format!("   {verdict}"))?;
    Ok(())
}
