//! A vector played: against a socket that is there, or against a daemon of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use telemetry_sink::Script;

use super::matching::Remembered;
use super::{Case, Line, Setup, Step};
use crate::collector::Collector;
use crate::daemon::Daemon;
use crate::eventually::DEADLINE;
use crate::home::Home;
use crate::tool::{Heard, Tool};

/// How long nothing must be heard to count as nothing.
const SILENCE: Duration = Duration::from_millis(200);

/// Runs a vector against the built daemon in a home of its own.
///
/// # Panics
/// When the daemon was not built or does not start, or an answer is not the expected one: with file, line,
/// what was wanted and what was found.
pub fn run(case: &Case) {
    let home = Home::new();
    let script = case.setup.iter().find_map(|setup| match setup {
        Setup::Endpoint(text) => Some(
            text.parse()
                .unwrap_or_else(|error| panic!("{}: {error}", case.file)),
        ),
        _ => None,
    });
    let collector = Collector::builder()
        .script(script.unwrap_or_else(Script::new))
        .expect_any_tool()
        .expect_duplicates()
        .expect_undecodable()
        .start();
    home.write_config(&collector.destination());
    for setup in &case.setup {
        match setup {
            Setup::Config(text) => home.write_config(&text.replace("${endpoint}", &collector.url())),
            Setup::Manifest { tool, text } => home.write_manifest(tool, text),
            Setup::File { path, text } => home.write(place(&home, path), text),
            Setup::Env(name, value) => home.set_env(name, value),
            Setup::Flag(_) | Setup::Endpoint(_) => {}
        }
    }
    let flags = case.setup.iter().filter_map(|setup| match setup {
        Setup::Flag(flag) => Some(flag),
        _ => None,
    });
    let mut daemon = flags
        .fold(Daemon::builder(&home), |builder, flag| builder.arg(flag))
        .start();
    play(case, &daemon.socket(), Some(&collector));
    if case.steps.iter().any(stops) {
        // It may have ended by now, and well.
        let ended = daemon.ended();
        daemon.kill9();
        assert!(
            ended.is_none_or(|exit| exit.code == Some(0)),
            "{}: the daemon was stopped and failed",
            case.file
        );
    }
}

/// Whether a step asks the daemon to end.
fn stops(line: &Line) -> bool {
    matches!(&line.step, Step::Send(value) if value["op"] == "stop")
}

/// Where a set-up's file belongs.
fn place(home: &Home, path: &str) -> std::path::PathBuf {
    let (folder, rest) = path.split_once('/').unwrap_or((path, ""));
    match folder {
        "config" => home.config_dir().join(rest),
        "state" => home.state_dir().join(rest),
        "machine" => home.machine_dir().join(rest),
        _ => home.home_dir().join(rest),
    }
}

/// Plays a vector's steps against a socket; its set-up is the caller's.
///
/// # Panics
/// When an answer is not the expected one: with file, line, what was wanted and what was found.
pub fn play(case: &Case, socket: &Path, collector: Option<&Collector>) {
    let mut player = Player {
        socket,
        collector,
        tools: BTreeMap::new(),
        remembered: Remembered::default(),
    };
    for line in &case.steps {
        if let Err(reason) = player.step(line) {
            panic!(
                "{}.ndjson:{}: {reason}\n  in: {}",
                case.file, line.number, case.name
            );
        }
    }
    if let Err(reason) = player.nothing_left() {
        panic!("{}.ndjson: at the end: {reason}\n  in: {}", case.file, case.name);
    }
}

struct Player<'a> {
    socket: &'a Path,
    collector: Option<&'a Collector>,
    /// By name. A closed one is `None`.
    tools: BTreeMap<String, Option<Tool>>,
    remembered: Remembered,
}

impl Player<'_> {
    fn step(&mut self, line: &Line) -> Result<(), String> {
        match &line.step {
            Step::Send(value) => {
                let value = self.remembered.put_in(value)?;
                self.send(&line.on, &format!("{value}\n"))
            }
            Step::SendRaw(text) => self.send(&line.on, text),
            Step::Expect(wanted) => match self.tool(&line.on)?.hear(DEADLINE) {
                Heard::Line(heard) => {
                    let found: Value = serde_json::from_str(&heard)
                        .map_err(|error| format!("not JSON: {error}: {heard}"))?;
                    self.remembered
                        .matches(wanted, &found)
                        .map_err(|reason| format!("{reason}\n  of: {heard}"))
                }
                other => Err(format!("wanted {wanted}, heard {other:?}")),
            },
            Step::ExpectNothing => match self.tool(&line.on)?.hear(SILENCE) {
                Heard::Nothing => Ok(()),
                other => Err(format!("wanted nothing, heard {other:?}")),
            },
            Step::ExpectClosed => match self.tool(&line.on)?.hear(DEADLINE) {
                Heard::Closed => Ok(()),
                other => Err(format!("wanted the daemon to close, heard {other:?}")),
            },
            Step::Finish => {
                self.tool(&line.on)?.finish_sending();
                Ok(())
            }
            Step::Close => {
                self.tool(&line.on)?;
                self.tools.insert(line.on.clone(), None);
                Ok(())
            }
            Step::ExpectDelivered(wanted) => self.delivered(wanted, DEADLINE),
            Step::ExpectNotDelivered(wanted) => match self.delivered(wanted, Duration::ZERO) {
                Ok(()) => Err(format!("an event that matches {wanted} has arrived")),
                Err(_) => Ok(()),
            },
        }
    }

    fn tool(&mut self, name: &str) -> Result<&mut Tool, String> {
        if !self.tools.contains_key(name) {
            let tool = Tool::try_connect(self.socket).map_err(|error| format!("cannot connect: {error}"))?;
            self.tools.insert(name.to_owned(), Some(tool));
        }
        let open = self.tools.get_mut(name).and_then(Option::as_mut);
        open.ok_or_else(|| format!("the connection {name:?} was closed"))
    }

    fn send(&mut self, name: &str, text: &str) -> Result<(), String> {
        self.tool(name)?
            .try_send_bytes(text.as_bytes())
            .map_err(|error| format!("cannot send: {error}"))
    }

    fn delivered(&mut self, wanted: &Value, wait: Duration) -> Result<(), String> {
        let collector = self.collector.ok_or("there is no endpoint")?;
        let remembered = &mut self.remembered;
        let found = collector.memory().wait(wait, |seen| {
            let mut events = seen.stored().flat_map(|received| received.events());
            events
                .any(|event| remembered.matches(wanted, event).is_ok())
                .then_some(())
        });
        found.ok_or_else(|| {
            format!(
                "no event that matches {wanted} has arrived; {:?}",
                collector.counts()
            )
        })
    }

    /// Answers that no step asked for.
    fn nothing_left(&mut self) -> Result<(), String> {
        for (name, tool) in &mut self.tools {
            if let Some(tool) = tool
                && let Heard::Line(line) = tool.hear(Duration::from_millis(1))
            {
                return Err(format!("an answer on {name:?} that no step expected: {line}"));
            }
        }
        Ok(())
    }
}
