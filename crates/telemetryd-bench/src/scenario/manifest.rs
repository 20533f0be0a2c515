//! `manifest`: what a manifest that lists everything costs the whole way, beside one that lets every event through: the
//! same events, the same connections, round by round in turn.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Bench;
use crate::client::send_over;
use crate::clock;
use crate::daemon::Settings;
use crate::endpoint::Endpoint;
use crate::figure::{Figure, Wanted};
use crate::lines::{Ack, Lines};
use crate::report::Report;

/// Connections, and events in flight on each, as in `throughput`.
const CONNECTIONS: u64 = 4;
const WINDOW: u64 = 256;

/// Events before anything is measured.
const WARM_UP: u64 = 2000;

/// What is asked: of what every event's way costs, checking it against a manifest may take a seventh.
const WANTED: Wanted = Wanted::RatioAtLeast(0.85);

/// Accepted and delivered events a second.
type Rates = (f64, f64);

/// Runs it.
///
/// # Errors
/// When the daemon fails.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("manifest");
    let listed = listed()?;
    let (mut any, mut full): (Vec<Rates>, Vec<Rates>) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds(bench.scale.rounds) {
        // Each is first in turn: whoever comes second finds the disk as the other left it.
        for turn in 0..2 {
            match (round + turn) % 2 {
                0 => any.push(once(bench, report, "events = \"any\"\n")?),
                _ => full.push(once(bench, report, &listed)?),
            }
        }
    }
    let accepted = |rates: &[Rates]| rates.iter().map(|rates| rates.0).collect::<Vec<f64>>();
    let delivered = |rates: &[Rates]| rates.iter().map(|rates| rates.1).collect::<Vec<f64>>();
    for (what, any, full) in [
        ("accepted", accepted(&any), accepted(&full)),
        ("delivered", delivered(&any), delivered(&full)),
    ] {
        report.figure(Figure::new(format!("{what}, any event"), "events/s", &any));
        let full = Figure::new(format!("{what}, a full manifest"), "events/s", &full);
        report.figure(full.beside("any event", &any).wanted(WANTED));
    }
    report.note(format!(
        "{CONNECTIONS} x {WINDOW} in flight, gzip; the manifest lists the event and every property of it"
    ));
    Ok(())
}

/// A manifest that lists the events of this bench, each property by its type, and the command by its mask.
fn listed() -> Result<String> {
    let mut line = Vec::new();
    Lines::new(Ack::Queued).push(&mut line);
    let event: Value = serde_json::from_slice(&line).context("a line is JSON")?;
    let properties = event["properties"].as_object().context("it has properties")?;
    let mut text = format!("[events.{}]\n", event["event"]);
    for (name, value) in properties {
        let kind = match value {
            Value::Number(_) => json!("integer").to_string(),
            _ if name == "command" => r#"{ type = "string", mask = "command", max = 512 }"#.to_owned(),
            _ => r#"{ type = "string", max = 512 }"#.to_owned(),
        };
        text.push_str(&format!("properties.{name} = {kind}\n"));
    }
    Ok(text)
}

fn once(bench: &Bench, report: &mut Report, events_of_manifest: &str) -> Result<Rates> {
    let events = bench.scale.events / CONNECTIONS * CONNECTIONS;
    let endpoint = Endpoint::new()?;
    let home = bench.home(&Settings::to(&endpoint.url()))?;
    home.write_manifest(events_of_manifest)?;
    let daemon = home.start()?;
    let socket = daemon.socket();
    send_over(&socket, CONNECTIONS, WARM_UP, WINDOW, Ack::Queued)?;
    daemon.drained(Duration::from_secs(60))?;

    let begun = clock::now();
    send_over(&socket, CONNECTIONS, events, WINDOW, Ack::Queued)?;
    let accepted = begun.elapsed();
    // The last batch is not full: it would wait for its time.
    daemon.order(&json!({ "op": "flush", "wait": false }))?;
    let arrived = endpoint.wait_for(WARM_UP + events, Duration::from_secs(120));
    let delivered = begun.elapsed();
    report.check(arrived, || {
        "an event that was acknowledged did not arrive".to_owned()
    });
    let status = daemon.order(&json!({ "op": "status" }))?;
    let removed = status["tools"][0]["removed"].clone();
    let nothing = removed
        .as_object()
        .is_none_or(|reasons| reasons.values().all(|count| *count == 0));
    report.check(nothing, || {
        format!("the manifest does not list everything: {removed}")
    });
    daemon.drained(Duration::from_secs(60))?;
    daemon.term()?;
    Ok((
        events as f64 / accepted.as_secs_f64(),
        events as f64 / delivered.as_secs_f64(),
    ))
}
