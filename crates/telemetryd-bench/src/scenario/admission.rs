//! `admission`: what the policy's door costs an event, without a socket or a disk: a line of 350 bytes with 8 properties,
//! with every event let through, and against a manifest that lists all of it.

use anyhow::{Context, Result, anyhow};
use telemetry_policy::policy::Parts;
use telemetry_policy::pseudonym::Pseudonyms;
use telemetry_policy::redact::Subject;
use telemetry_policy::{
    Keeper, MachineFacts, Manifest, Occasion, Origin, Policy, Registered, Report as Removed, admit,
};
use telemetry_protocol::event::Event;
use telemetry_protocol::json;
use telemetry_protocol::time::Rfc3339;

use super::Bench;
use crate::clock;
use crate::figure::{Figure, Wanted};
use crate::report::Report;

/// An event as a tool sends it: 350 bytes.
const LINE: &str = r#"{"tool":"bench","event":"CLI command","id":"019aa6c2-7a41-7c3e-9f61-6a2c0d6b3a10","version":"1.7.0","context":{"ci":false,"runtime":{"name":"python","version":"3.11.7"}},"properties":{"command":"kedro run --pipeline *****","main":"run","nodes":12,"share":0.25,"quick":true,"tools":"lint, test, docs","type":"kedro.io.MemoryDataset","level":"low"}}"#;

const LISTED: &str = r#"
[events."CLI command"]
properties.command = { type = "string", mask = "command", max = 512 }
properties.main = "string"
properties.nodes = "integer"
properties.share = "number"
properties.quick = "boolean"
properties.tools = { type = "string", max = 64 }
properties.type = { type = "string", max = 128 }
properties.level = { type = "string", enum = ["low", "high"], else = "other" }
"#;

/// Runs it.
///
/// # Errors
/// When a manifest or the line is not what it should be.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.begin("admission");
    let rounds = bench.rounds(9);
    let any = rounds_of(rounds, "events = \"any\"")?;
    let listed = rounds_of(rounds, LISTED)?;
    for (name, both) in [("any event", &any), ("a full manifest", &listed)] {
        let name = |what: &str| format!("{what}, {name}");
        report.figure(Figure::new(name("admitted"), "µs", &both.0).wanted(Wanted::AtMost(3.0)));
        report.figure(Figure::new(name("scanned, parsed and admitted"), "µs", &both.1));
    }
    report.note(format!(
        "a line of {} bytes with 8 properties; one thread, no queue",
        LINE.len()
    ));
    Ok(())
}

/// Keeps one secret and counts nothing.
struct One(Pseudonyms);

impl Keeper for One {
    fn pseudonyms(&mut self, _: &str, _: u64) -> &mut Pseudonyms {
        &mut self.0
    }

    fn today(&mut self, _: &str) -> u64 {
        0
    }

    fn admitted(&mut self, _: &str) {}
}

/// Microseconds of an event, a sample a round: of the door alone, and with the line's scan.
fn rounds_of(rounds: usize, manifest: &str) -> Result<(Vec<f64>, Vec<f64>)> {
    const EVENTS: u32 = 50_000;
    let text = format!("name = \"bench\"\nconsent = \"opt-out\"\n{manifest}");
    let manifest = Manifest::parse(&text).map_err(|mistakes| anyhow!("{mistakes:?}"))?;
    let registered = Registered {
        manifest,
        origin: Origin::Admin,
        source: "bench.toml".to_owned(),
    };
    let policy = Policy::new(Parts {
        manifests: std::sync::Arc::new([("bench".to_owned(), registered)].into_iter().collect()),
        default_destination: "default".to_owned(),
        ..Parts::default()
    });
    let subject = Subject::new(["alice"], ["/home/alice"]);
    let machine = MachineFacts::new("linux", Some("6.18"), Some("debian"), "x86_64", Some(8));
    let occasion = Occasion {
        id: [7; 16],
        received: Rfc3339(1_764_000_000_000).bytes(),
        subject: &subject,
        machine: &machine,
    };
    let mut keeper = One(Pseudonyms::new([3; 32], true));
    let (mut removed, mut out, mut members) = (Removed::default(), Vec::with_capacity(4096), Vec::new());
    let mut own_members = Vec::new();
    let scanned = json::scan(LINE.as_bytes(), 32, &mut own_members).context("the line is JSON")?;
    let event = Event::parse(&scanned).context("the line is an event")?;
    let (mut door, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begun = clock::now();
        for _ in 0..EVENTS {
            out.clear();
            admit(&event, &policy, &occasion, &mut keeper, &mut removed, &mut out);
        }
        door.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(EVENTS));
        let begun = clock::now();
        for _ in 0..EVENTS {
            out.clear();
            let scanned = json::scan(LINE.as_bytes(), 32, &mut members).context("the line is JSON")?;
            let event = Event::parse(&scanned).context("the line is an event")?;
            admit(&event, &policy, &occasion, &mut keeper, &mut removed, &mut out);
        }
        whole.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(EVENTS));
    }
    anyhow::ensure!(
        removed.is_empty() && out.len() > 300,
        "the event was not admitted whole: {removed:?}"
    );
    Ok((door, whole))
}
