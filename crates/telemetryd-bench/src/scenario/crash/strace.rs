//! strace at work on a daemon: calls that fail, calls that are written down.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::trial::Trial;
use crate::clock;

/// Whether strace can be started here.
pub(super) fn works() -> bool {
    let tried = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// A strace that makes calls of a daemon fail, until it is dropped.
#[derive(Debug)]
pub(super) struct Failing {
    child: Child,
}

impl Failing {
    /// Makes these calls of the daemon that runs fail with that error.
    ///
    /// # Errors
    /// When strace cannot attach.
    pub(super) fn calls(trial: &mut Trial<'_>, calls: &str, error: &str) -> Result<Self> {
        let said: PathBuf = trial.home.at("strace");
        let pid = trial.daemon()?.pid().to_string();
        let child = Command::new("strace")
            .args(["-f", "-p", &pid, "-o", "/dev/null"])
            .args(["-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:error={error}")])
            .stderr(File::create(&said)?)
            .spawn()
            .context("cannot start strace")?;
        let mut failing = Self { child };
        let attached = clock::until(Duration::from_secs(10), Duration::from_millis(1), || {
            if failing.child.try_wait().ok().flatten().is_some() {
                return Some(false);
            }
            let said = std::fs::read_to_string(&said).ok()?;
            said.contains("attached").then_some(true)
        });
        if attached != Some(true) {
            bail!(
                "strace may not attach: {}",
                std::fs::read_to_string(&said).unwrap_or_default()
            );
        }
        Ok(failing)
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // Asked to, it lets go of the daemon; killed, it might leave it stopped.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::INT));
        let _ = self.child.wait();
    }
}
