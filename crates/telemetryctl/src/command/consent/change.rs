//! `consent allow`, `deny` and `reset`, also as `opt-in` and `opt-out`. The daemon does it where one answers:
//! it writes the user's file, erases what is queued, cancels what is on its way, and says what it did. A
//! word against sending never depends on one: then the file is written here, and the queue is purged by
//! `telemetryd --purge`.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Args;
use rustix::process::geteuid;
use serde_json::{Map, Value, json};
use telemetry_protocol::consent::{Fact, Verdict};
use telemetry_protocol::limits::is_tool_name;
use telemetry_protocol::place::{Dirs, Mode};

use super::machine::Told;
use super::{explain, file, machine, notice, spool};
use crate::Context;
use crate::daemon::{Daemon, PATIENCE};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::policy;
use crate::programs;
use crate::screen::{Screen, is_watched};
use crate::words::{counted, plain};

/// About whom.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// This tool alone; default: all of them
    #[arg(long, value_name = "TOOL", value_parser = tool)]
    tool: Option<String>,
    /// For every user of this machine (as root)
    #[arg(long)]
    system: bool,
}

/// A tool's name, for clap.
pub(crate) fn tool(text: &str) -> Result<String, String> {
    if is_tool_name(text) {
        return Ok(text.to_owned());
    }
    Err(
        "a tool's name is 1 to 64 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit"
            .to_owned(),
    )
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// It may be sent.
    Allow,
    /// It may not.
    Deny,
    /// Nothing is said any more.
    Reset,
}

impl Word {
    fn action(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Reset => "reset",
        }
    }

    fn value(self) -> Option<bool> {
        match self {
            Self::Allow => Some(true),
            Self::Deny => Some(false),
            Self::Reset => None,
        }
    }
}

/// What a withdrawal has done.
#[derive(Debug, Default)]
pub(super) struct Receipt {
    /// Events that were erased.
    purged: u64,
    /// Events that were left for the next daemon, and erased.
    spooled: u64,
    /// Requests that were cancelled.
    cancelled: u64,
    /// Whom it has reached.
    pub(super) reached: Vec<String>,
    /// Whom it has not, and why.
    pub(super) not_reached: Vec<String>,
}

impl Receipt {
    /// What a daemon answered.
    pub(super) fn add(&mut self, answer: &Map<String, Value>) {
        let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
        self.purged += number("purged");
        self.spooled += number("spooled");
        self.cancelled += number("cancelled");
        for (key, list) in [
            ("reached", &mut self.reached),
            ("not_reached", &mut self.not_reached),
        ] {
            if let Some(Value::Array(names)) = answer.get(key) {
                list.extend(names.iter().filter_map(Value::as_str).map(ToOwned::to_owned));
            }
        }
    }

    /// What was counted before and after.
    pub(super) fn count(&mut self, purged: u64, cancelled: u64) {
        self.purged += purged;
        self.cancelled += cancelled;
    }

    fn json(&self) -> Value {
        json!({
            "purged": self.purged + self.spooled,
            "cancelled": self.cancelled,
            "reached": self.reached,
            "not_reached": self.not_reached,
        })
    }
}

impl Change {
    /// About one tool, for this user.
    pub(super) fn of_tool(tool: &str) -> Self {
        let tool = Some(tool.to_owned());
        Self { tool, system: false }
    }

    pub(crate) fn run(self, word: Word, context: &Context, screen: &mut Screen) -> Result<Exit, Failure> {
        let receipt = self.make(word, context)?;
        if word == Word::Allow && !self.system {
            self.show_notice(context, screen);
        }
        self.report(word, context, &receipt, screen)?;
        Ok(Exit::Done)
    }

    /// Who turns a tool on at a terminal is told now what it has to tell first: from then on its events count.
    fn show_notice(&self, context: &Context, screen: &Screen) {
        let tool = self.tool.as_deref().filter(|_| is_watched());
        let Some(notice) = tool.and_then(|tool| policy::gathered(context).notice(tool)) else {
            return;
        };
        // What cannot be remembered is shown again.
        let _ = notice::show(&notice, context, screen, PATIENCE);
    }

    /// Says the word wherever it belongs; answers with the receipt.
    pub(super) fn make(&self, word: Word, context: &Context) -> Result<Receipt, Failure> {
        let mut receipt = Receipt::default();
        let told = if self.system {
            let daemons = machine::daemons(context);
            let path = machine::write(context, self.tool.as_deref(), word)?;
            receipt.reached.push(path.display().to_string());
            machine::tell(daemons, &mut receipt)
        } else {
            let own = self.for_user(word, context, &mut receipt)?;
            Told { own, machines: true }
        };
        if word == Word::Deny {
            receipt.spooled += spool::erase(context, self.tool.as_deref());
            let one_queue = self.system && told.machines && is_the_machines(context);
            if !told.own && !one_queue {
                purge(context, &mut receipt);
            }
            if !told.machines {
                purge_machine(context, &mut receipt);
            }
            if self.system {
                receipt.not_reached.push(OTHERS.to_owned());
            }
        }
        Ok(receipt)
    }

    /// The user's own word. Answers whether a daemon has heard it.
    fn for_user(&self, word: Word, context: &Context, receipt: &mut Receipt) -> Result<bool, Failure> {
        let heard = match Daemon::reach(context) {
            Err(_) => false,
            Ok(mut daemon) => {
                let request = json!({ "op": "consent", "action": word.action(), "tool": self.tool });
                let place = daemon.path().display().to_string();
                // Erasing a large queue takes its time.
                match daemon.ask(&request, PATIENCE * 12) {
                    Ok(answer) => {
                        receipt.add(&answer.value);
                        if receipt.reached.is_empty() {
                            receipt.reached.push(place);
                        }
                        true
                    }
                    Err(failure) => {
                        receipt.not_reached.push(format!("{place}: {failure}"));
                        false
                    }
                }
            }
        };
        // The daemon has written it, unless it has another user's or another place's file: then so do we.
        let (path, changed) = file::write(context, self.tool.as_deref(), word.value())?;
        if changed || !heard {
            receipt.reached.push(path.display().to_string());
        }
        Ok(heard)
    }

    fn report(
        &self,
        word: Word,
        context: &Context,
        receipt: &Receipt,
        screen: &mut Screen,
    ) -> Result<(), Failure> {
        if screen.json {
            screen.value(&receipt.json())?;
            return Ok(());
        }
        for line in self.outcome(word, context) {
            screen.line(&line)?;
        }
        if word == Word::Deny {
            let (purged, cancelled) = (
                counted(receipt.purged + receipt.spooled, "queued event"),
                counted(receipt.cancelled, "request"),
            );
            screen.line(&format!("  erased: {purged}; cancelled: {cancelled}"))?;
        }
        // Whom a withdrawal has reached is its receipt; of the others only what went wrong is news.
        let reached: &[String] = if word == Word::Deny { &receipt.reached } else { &[] };
        for (what, list) in [("reached", reached), ("not reached", &receipt.not_reached)] {
            for one in list {
                screen.line(&format!("  {what}: {}", plain(one)))?;
            }
        }
        Ok(())
    }

    /// What holds now, which need not be what was said.
    fn outcome(&self, word: Word, context: &Context) -> Vec<String> {
        match &self.tool {
            Some(tool) => {
                let Some(explained) = explain::about(context, tool) else {
                    return vec![format!("{tool}: off")];
                };
                let (verdict, by, source) = explained.effective();
                let decides = explained.decision.chain.iter().find(|link| link.decides);
                let state = if verdict == Verdict::Allow { "on" } else { "off" };
                let stays = if word == Word::Allow && state == "off" {
                    "stays "
                } else {
                    ""
                };
                let why = match decides {
                    _ if by == "notice" => plain(&format!(
                        ", by notice: {source} (not shown yet; 'telemetryctl opt-in --tool {tool}' at a terminal shows it)"
                    )),
                    Some(link) => because(&link.fact),
                    None => String::new(),
                };
                vec![format!("{tool}: {stays}{state}{why}")]
            }
            None => match policy::local(context).denies_everything() {
                Some(fact) if word == Word::Allow => {
                    vec![format!("telemetry stays off{}", because(&fact))]
                }
                Some(fact) => vec![format!("telemetry is off for every tool{}", because(&fact))],
                None => vec![
                    "telemetry is on for the tools that are allowed ('telemetryctl consent show')".to_owned(),
                ],
            },
        }
    }
}

fn because(fact: &Fact) -> String {
    let place = match fact.line {
        Some(line) => format!("{}:{line}", fact.source),
        None => fact.source.clone(),
    };
    plain(&format!(", by {}: {place} ({})", fact.layer, fact.detail))
}

/// What an opt-out of the machine cannot do by itself.
const OTHERS: &str =
    "queues of users whose daemon does not run: each is purged before its daemon opens its socket again";

/// Erases what consent no longer covers where no daemon runs. `telemetryd` takes the lock, applies consent
/// and ends; nothing here opens the queue.
fn purge(context: &Context, receipt: &mut Receipt) {
    let state = context.surroundings.user.as_ref().map(|dirs| dirs.state.clone());
    // Where the state directory is on a network, the daemon keeps the queue here instead.
    let local = format!("/var/tmp/telemetryd-{}", geteuid().as_raw());
    let has_queue = state
        .into_iter()
        .chain([PathBuf::from(local)])
        .any(|directory| directory.join("queue.db").exists());
    if has_queue {
        run_purge(&["--purge"], "the queue", receipt);
    }
}

/// Whether this user's state is the machine's: then there is one queue.
fn is_the_machines(context: &Context) -> bool {
    let users = context.surroundings.user.as_ref().map(|dirs| &dirs.state);
    let variables = &context.surroundings.variables;
    let machines = Dirs::find(Mode::System, &|name| variables.get(name).map(Into::into)).ok();
    machines.is_some_and(|dirs| users == Some(&dirs.state))
}

/// The same for the queue of a machine-wide daemon that does not run: as the user whose it is, whom root can be, so that
/// what is written there stays the daemon's.
fn purge_machine(context: &Context, receipt: &mut Receipt) {
    let Ok(dirs) = Dirs::find(Mode::System, &|name| {
        context.surroundings.variables.get(name).map(Into::into)
    }) else {
        return;
    };
    let users = context.surroundings.user.as_ref().map(|dirs| &dirs.state);
    let queue = dirs.state.join("queue.db");
    if users == Some(&dirs.state) {
        return;
    }
    match std::fs::metadata(&queue) {
        Ok(found) => {
            let owner = (found.uid() != geteuid().as_raw()).then(|| (found.uid(), found.gid()));
            run_purge_as(owner, &["--system", "--purge"], "the machine's queue", receipt);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => receipt.not_reached.push(format!(
            "the machine's queue: {} cannot be looked at ({}); it is purged before its daemon opens its socket",
            queue.display(),
            error.kind()
        )),
    }
}

fn run_purge(flags: &[&str], what: &str, receipt: &mut Receipt) {
    run_purge_as(None, flags, what, receipt);
}

fn run_purge_as(owner: Option<(u32, u32)>, flags: &[&str], what: &str, receipt: &mut Receipt) {
    let program = programs::telemetryd();
    let mut command = Command::new(&program);
    if let Some((uid, gid)) = owner {
        command.uid(uid).gid(gid);
    }
    let ended = command
        .args(flags)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    match ended {
        Ok(output) if output.status.success() => {
            receipt.purged += purged(&String::from_utf8_lossy(&output.stdout));
            receipt
                .reached
                .push(format!("{what}, through telemetryd {}", flags.join(" ")));
        }
        Ok(_) => receipt.not_reached.push(format!(
            "{what}: telemetryd {} failed; it is purged before the next daemon opens its socket",
            flags.join(" ")
        )),
        Err(error) => receipt.not_reached.push(format!(
            "{what}: cannot start {}: {}; it is purged before the next daemon opens its socket",
            program.display(),
            error.kind()
        )),
    }
}

/// The number in what `telemetryd --purge` prints: `{"purged":12}`.
fn purged(text: &str) -> u64 {
    serde_json::from_str::<Value>(text)
        .ok()
        .and_then(|receipt| receipt.get("purged")?.as_u64())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_has_the_keys_that_scripts_read() {
        let mut receipt = Receipt::default();
        receipt.add(
            json!({"ok":true,"purged":12,"cancelled":1,"reached":["daemon"]})
                .as_object()
                .unwrap(),
        );
        assert_eq!(
            receipt.json(),
            json!({"purged":12,"cancelled":1,"reached":["daemon"],"not_reached":[]})
        );
    }

    #[test]
    fn the_purging_programs_number_is_found() {
        assert_eq!(purged("{\"purged\":12,\"sent_bodies\":1}\n"), 12);
        assert_eq!(purged(""), 0);
    }
}
