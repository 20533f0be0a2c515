//! The service manager, spoken to through its own command: `systemctl`, `launchctl`.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;
use telemetry_client::Surroundings;

use super::Done;
use super::place::Place;
use crate::Context;
use crate::daemon::{Daemon, PATIENCE};
use crate::failure::Failure;

const UNITS: [&str; 2] = ["telemetryd.socket", "telemetryd.service"];
const LABEL: &str = "org.telemetryd.telemetryd";

/// Who runs services here.
#[derive(Debug)]
pub(super) enum Manager {
    /// The machine's systemd, or the user's.
    Systemd { user: bool },
    /// launchd, and which of its domains.
    Launchd { domain: String },
}

impl Manager {
    /// The one of this system.
    pub(super) fn of_this_machine(system: bool) -> Self {
        if !cfg!(target_os = "macos") {
            return Self::Systemd { user: !system };
        }
        let uid = rustix::process::geteuid().as_raw();
        let domain = if system {
            "system".to_owned()
        } else {
            format!("gui/{uid}")
        };
        Self::Launchd { domain }
    }

    /// A daemon that was started by hand would lose its socket to the manager's, and keep the queue to itself.
    ///
    /// # Errors
    /// When there is one.
    pub(super) fn refuse_a_daemon_of_somebody_else(&self, place: &Place) -> Result<(), Failure> {
        if self.runs() || UnixStream::connect(&place.socket).is_err() {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "a daemon that no service manager has started listens at {}",
            place.socket.display()
        ))
        .hint("end it with 'telemetryctl stop', then try again"))
    }

    /// Has it read what was written, and start.
    pub(super) fn start(&self, place: &Place, done: &mut Done) -> Result<(), Failure> {
        match self {
            Self::Systemd { .. } => {
                if done
                    .written
                    .iter()
                    .any(|path| path.starts_with("/etc/sysusers.d"))
                {
                    self.tell(&["systemd-sysusers", "telemetryd.conf"], done)?;
                    self.tell(&["systemd-tmpfiles", "--create", "telemetryd.conf"], done)?;
                }
                self.tell_units("daemon-reload", &[], done)?;
                self.tell_units("enable", &UNITS, done)?;
                // What runs already runs on, unless it is told otherwise by what was just written.
                let verb = if done.written.is_empty() {
                    "start"
                } else {
                    "restart"
                };
                self.tell_units(verb, &["telemetryd.service"], done)
            }
            Self::Launchd { domain } => {
                let plist = place.definitions.join(format!("{LABEL}.plist"));
                if let Some(directory) = place.socket.parent().filter(|_| !place.system) {
                    // launchd makes the socket, not the directory around it.
                    std::fs::create_dir_all(directory)
                        .map_err(|error| super::definitions::refused("make", directory, &error))?;
                }
                if self.runs() {
                    if done.written.is_empty() {
                        return Ok(());
                    }
                    self.tell(&["launchctl", "bootout", &format!("{domain}/{LABEL}")], done)?;
                }
                self.tell(
                    &["launchctl", "bootstrap", domain, &plist.to_string_lossy()],
                    done,
                )
            }
        }
    }

    /// Ends the daemon and what would start it again. What is queued is not sent: it is about to be erased, and
    /// whoever removes a program does not ask it to call home first.
    pub(super) fn stop(&self, place: &Place, done: &mut Done) -> Result<(), Failure> {
        if self.runs() {
            without_a_drain(&place.socket);
        }
        match self {
            Self::Systemd { .. } if self.knows() => {
                self.tell_units("disable", &UNITS, done)?;
                self.tell_units("stop", &UNITS, done)
            }
            Self::Launchd { domain } if self.knows() => {
                self.tell(&["launchctl", "bootout", &format!("{domain}/{LABEL}")], done)
            }
            // No such service, or no such manager: nothing runs.
            _ => Ok(()),
        }
    }

    /// Has it forget what was removed. It need not be there.
    pub(super) fn forget(&self, done: &mut Done) {
        if matches!(self, Self::Systemd { .. }) && !done.removed.is_empty() {
            let _ = self.tell_units("daemon-reload", &[], done);
            let _ = self.systemctl("reset-failed", &UNITS).output();
        }
    }

    /// Whether it has started the service, or listens for it.
    fn runs(&self) -> bool {
        match self {
            Self::Systemd { .. } => says_yes(self.systemctl("is-active", &["--quiet"]).args(UNITS)),
            Self::Launchd { .. } => self.knows(),
        }
    }

    /// Whether it has heard of the service.
    fn knows(&self) -> bool {
        match self {
            Self::Systemd { .. } => {
                let mut asked = self.systemctl("show", &["--property=LoadState", "--value"]);
                let states = asked
                    .args(UNITS)
                    .output()
                    .map(|output| output.stdout)
                    .unwrap_or_default();
                String::from_utf8_lossy(&states)
                    .lines()
                    .any(|state| !["", "not-found"].contains(&state))
            }
            Self::Launchd { domain } => {
                says_yes(Command::new("launchctl").args(["print", &format!("{domain}/{LABEL}")]))
            }
        }
    }

    fn systemctl(&self, verb: &str, rest: &[&str]) -> Command {
        let mut command = Command::new("systemctl");
        if let Self::Systemd { user: true } = self {
            command.arg("--user");
        }
        command.arg(verb).args(rest).stdin(Stdio::null());
        command
    }

    fn tell_units(&self, verb: &str, units: &[&str], done: &mut Done) -> Result<(), Failure> {
        run(&mut self.systemctl(verb, units), done)
    }

    fn tell(&self, words: &[&str], done: &mut Done) -> Result<(), Failure> {
        let (program, rest) = words.split_first().unwrap_or((&"true", &[]));
        run(Command::new(program).args(rest).stdin(Stdio::null()), done)
    }
}

/// Asks the daemon itself to end at once. One that does not answer is ended by its manager.
fn without_a_drain(socket: &Path) {
    let context = Context {
        surroundings: Surroundings::of_this_process(Some(socket.to_owned())),
    };
    let Ok(mut daemon) = Daemon::reach(&context) else {
        return;
    };
    if daemon
        .ask(&json!({ "op": "stop", "drain_ms": 0 }), PATIENCE)
        .is_ok()
    {
        // Until it has gone: the manager would let it drain otherwise.
        while daemon.receive(PATIENCE).is_ok() {}
    }
}

fn says_yes(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn run(command: &mut Command, done: &mut Done) -> Result<(), Failure> {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .collect();
    let shown = words
        .join(std::ffi::OsStr::new(" "))
        .to_string_lossy()
        .into_owned();
    let output: Output = command.output().map_err(|error| {
        Failure::failed(format!("cannot run '{shown}'"))
            .caused_by_io(&error)
            .hint("without a service manager: 'telemetryd --background'")
    })?;
    if output.status.success() {
        done.told.push(shown);
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let mut failure = Failure::failed(format!("'{shown}' failed"));
    for line in said.lines().filter(|line| !line.trim().is_empty()).take(3) {
        failure = failure.caused_by(line.trim());
    }
    if said.contains("bus") {
        failure =
            failure.hint("log in as that user first: systemd runs a user's services in a session of theirs");
    }
    Err(failure)
}
