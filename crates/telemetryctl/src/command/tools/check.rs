//! `tools check`: a manifest's mistakes with their lines; and events tried on it, by the very code that the daemon runs.
//! Needs no daemon.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use telemetry_policy::policy::Parts;
use telemetry_policy::pseudonym::Pseudonyms;
use telemetry_policy::redact::Subject;
use telemetry_policy::{
    Admission, Keeper, MachineFacts, Manifest, Occasion, Origin, Policy, Registered, Report, UserConsent,
    admit, describe,
};
use telemetry_protocol::event::{Event, Rejected};
use telemetry_protocol::time::Rfc3339;
use telemetry_protocol::{json as wire, limits};

use super::told;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::words::{counted, plain};

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The manifest
    file: PathBuf,
    /// Try these events on it (one JSON object a line; `-` is standard input)
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

/// Keeps nothing: ids in what is shown are examples.
struct Example(Pseudonyms);

impl Keeper for Example {
    fn pseudonyms(&mut self, _: &str, _: u64) -> &mut Pseudonyms {
        &mut self.0
    }

    fn today(&mut self, _: &str) -> u64 {
        0
    }

    fn admitted(&mut self, _: &str) {}
}

impl Check {
    pub(super) fn run(&self, screen: &mut Screen) -> Result<Exit, Failure> {
        let manifest = match read_text(&self.file).map(|text| Manifest::parse(&text))? {
            Ok(manifest) => manifest,
            Err(mistakes) => {
                for mistake in &mistakes {
                    let file = self.file.display().to_string();
                    if screen.json {
                        screen.value(
                            &json!({ "file": file, "line": mistake.line, "message": mistake.message }),
                        )?;
                    } else {
                        screen.line(&plain(&format!("{file}:{}: {}", mistake.line, mistake.message)))?;
                    }
                }
                let many = counted(mistakes.len() as u64, "mistake");
                return Err(Failure::new(
                    Exit::BadConfig,
                    format!("{many} in {}", self.file.display()),
                ));
            }
        };
        if let Some(events) = &self.events {
            return try_events(&manifest, events, screen);
        }
        if !screen.json {
            screen.line(&plain(&format!(
                "{}: a good manifest. Users are told:",
                self.file.display()
            )))?;
            told::show(&describe::sections(&manifest), screen)?;
        }
        Ok(Exit::Done)
    }
}

/// Holds each line against the manifest, as if its tool were allowed.
fn try_events(manifest: &Manifest, path: &Path, screen: &mut Screen) -> Result<Exit, Failure> {
    let text = match path.as_os_str() == "-" {
        true => std::io::stdin()
            .lock()
            .lines()
            .collect::<Result<Vec<_>, _>>()
            .map(|lines| lines.join("\n")),
        false => std::fs::read_to_string(path),
    };
    let text = text
        .map_err(|error| Failure::failed(format!("cannot read {}", path.display())).caused_by_io(&error))?;
    let registered = Registered {
        manifest: manifest.clone(),
        origin: Origin::User,
        source: "the manifest".to_owned(),
    };
    let manifests = [(manifest.name.clone(), registered)].into_iter().collect();
    let agreed = telemetry_policy::Agreed {
        noticed: [manifest.name.clone()].into_iter().collect(),
        ..telemetry_policy::Agreed::default()
    };
    let policy = Policy::new(Parts {
        manifests: std::sync::Arc::new(manifests),
        user: UserConsent::parse("-", &format!("[tools]\n\"{}\" = true\n", manifest.name)),
        agreed,
        default_destination: "default".to_owned(),
        ..Parts::default()
    });
    let mut all_whole = true;
    for (number, line) in (1_u64..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
    {
        all_whole &= try_event(&policy, manifest, (number, line), screen)?;
    }
    Ok(if all_whole { Exit::Done } else { Exit::Failed })
}

/// Shows what becomes of one event; whether nothing had to be taken out of it.
fn try_event(
    policy: &Policy,
    manifest: &Manifest,
    (number, line): (u64, &str),
    screen: &mut Screen,
) -> Result<bool, Failure> {
    let mut members = Vec::new();
    let scanned =
        wire::scan(line.as_bytes(), limits::MAX_DEPTH_CEILING, &mut members).map_err(Rejected::from);
    let event = scanned.and_then(|object| Event::parse(&object));
    let mut out = Vec::new();
    let mut report = Report::default();
    let verdict = match &event {
        Err(rejected) => format!("refused: {rejected}"),
        Ok(event) if event.tool != manifest.name => format!("refused: its tool is not {}", manifest.name),
        Ok(event) => {
            let occasion = Occasion {
                id: event.id.unwrap_or_default().into_bytes(),
                received: Rfc3339(crate::clock::wall_ms()).bytes(),
                subject: &Subject::default(),
                machine: &MachineFacts::default(),
            };
            let mut keeper = Example(Pseudonyms::new([0; 32], true));
            match admit(event, policy, &occasion, &mut keeper, &mut report, &mut out) {
                Admission::Admitted { .. } => "taken".to_owned(),
                Admission::Declined { by, .. } => format!("declined by {by}"),
                Admission::SampledOut => "not of the sample".to_owned(),
                Admission::UnknownTool => "refused: it has no manifest".to_owned(),
                Admission::UnlistedEvent { .. } => {
                    "refused: the manifest does not list this event".to_owned()
                }
            }
        }
    };
    let stored = serde_json::from_slice(&out).unwrap_or(Value::Null);
    if screen.json {
        let removed = report.names().iter().map(|removed| {
            json!({ "name": removed.name, "why": removed.why.as_str(),
                    "expected": removed.expected.map(|e| e.0), "found": removed.expected.map(|e| e.1) })
        });
        screen.value(&json!({
            "line": number, "verdict": verdict, "removed": removed.collect::<Value>(), "masked": report.masked,
            "stored": stored,
        }))?;
    } else {
        screen.line(&plain(&format!("line {number}: {verdict}")))?;
        for removed in report.names() {
            let why = match removed.expected {
                Some((expected, found)) => format!("expected {expected}, found {found}"),
                None => removed.why.as_str().replace('_', " "),
            };
            screen.line(&plain(&format!("  removed  {}: {why}", removed.name)))?;
        }
        if report.masked > 0 {
            let many = counted(u64::from(report.masked), "text");
            screen.line(&format!("  masked   secrets, paths or names in {many}"))?;
        }
        if !stored.is_null() {
            // As it will be, in its order.
            let stored = String::from_utf8_lossy(&out);
            screen.line(&plain(&format!("  stored   {stored}")))?;
        }
    }
    Ok(verdict == "taken" && report.is_empty())
}

/// The manifest in this file.
pub(super) fn read(file: &Path) -> Result<Manifest, Failure> {
    Manifest::parse(&read_text(file)?).map_err(|mistakes| {
        let all: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        Failure::new(Exit::BadConfig, format!("{}: {}", file.display(), all.join("; ")))
    })
}

fn read_text(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::failed(format!("cannot read {}", file.display())).caused_by_io(&error))
}
