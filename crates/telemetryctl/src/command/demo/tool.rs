//! A tool's process: `telemetryctl send --stdin`, which records events as a library would. What it was told
//! about each event is read as it comes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use serde_json::Value;

use super::stage::Stage;
use crate::failure::Failure;

/// What became of one tool's events.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How many it recorded.
    pub(super) sent: usize,
    /// Those that were acknowledged.
    pub(super) ids: Vec<String>,
    /// Of those, the ones that were sent again and known already.
    pub(super) again: usize,
    /// The last answer.
    pub(super) last: Option<Value>,
}

impl Outcome {
    pub(super) fn acknowledged(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn unacknowledged(&self) -> usize {
        self.sent.saturating_sub(self.ids.len())
    }

    fn hear(&mut self, answer: Value) -> bool {
        let safe = matches!(answer["status"].as_str(), Some("queued" | "synced" | "duplicate"));
        if let (true, Some(id)) = (safe, answer["id"].as_str()) {
            self.ids.push(id.to_owned());
            self.again += usize::from(answer["status"] == "duplicate");
        }
        self.last = Some(answer);
        safe
    }
}

/// A tool that runs.
#[derive(Debug)]
pub(super) struct Running {
    name: &'static str,
    child: Child,
    acknowledged: Arc<AtomicUsize>,
    gate: Option<Sender<()>>,
    writer: JoinHandle<()>,
    reader: JoinHandle<Outcome>,
}

/// Starts a tool that records these lines; with a `stop` it waits after so many of them until it is told to
/// go on.
pub(super) fn start(
    stage: &Stage,
    name: &'static str,
    lines: Vec<String>,
    stop: Option<usize>,
) -> Result<Running, Failure> {
    let failed = |error: &std::io::Error| {
        Failure::failed(format!("cannot start the process of {name}")).caused_by_io(error)
    };
    let own = std::env::current_exe().map_err(|error| failed(&error))?;
    let mut command = Command::new(own);
    stage.dress(&mut command);
    let mut child = command
        .args(["send", name, "--stdin", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&error))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let sent = lines.len();
    let (gate, opened) = channel::<()>();
    let writer = std::thread::spawn(move || {
        if let Some(mut stdin) = stdin {
            for (number, line) in lines.into_iter().enumerate() {
                if stop == Some(number) {
                    // Opened by being dropped.
                    let _ = opened.recv();
                }
                // A tool that has ended is noticed by its answers.
                if stdin.write_all(line.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&acknowledged);
    let reader = std::thread::spawn(move || {
        let mut outcome = Outcome {
            sent,
            ..Outcome::default()
        };
        let lines = stdout.map(|stdout| BufReader::new(stdout).lines());
        for line in lines.into_iter().flatten().map_while(Result::ok) {
            if let Ok(answer) = serde_json::from_str::<Value>(&line) {
                counter.fetch_add(usize::from(outcome.hear(answer)), Ordering::Relaxed);
            }
        }
        outcome
    });
    Ok(Running {
        name,
        child,
        acknowledged,
        gate: Some(gate),
        writer,
        reader,
    })
}

impl Running {
    /// How many were acknowledged so far.
    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets it go on.
    pub(super) fn go_on(&mut self) {
        self.gate = None;
    }

    /// Waits for the tool's end. `send` gives up on a daemon that does not answer, so it ends.
    pub(super) fn finish(mut self) -> Result<Outcome, Failure> {
        self.go_on();
        let broken = |what: &str| Failure::failed(format!("the process of {} {what}", self.name));
        let (Ok(()), Ok(outcome)) = (self.writer.join(), self.reader.join()) else {
            return Err(broken("could not be read"));
        };
        let status = self
            .child
            .wait()
            .map_err(|error| broken("was lost").caused_by_io(&error))?;
        if !status.success() {
            return Err(broken("failed").caused_by(status));
        }
        Ok(outcome)
    }
}
