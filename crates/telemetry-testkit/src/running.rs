//! A child process whose output goes to files, so that it never blocks on a pipe, and that never outlives
//! its test.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::eventually::eventually;

/// How a process ended and what it said.
#[derive(Clone, Debug)]
pub struct Exit {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// All of its stdout, lossy UTF-8.
    pub stdout: String,
    /// All of its stderr, lossy UTF-8.
    pub stderr: String,
}

impl Exit {
    /// Itself, if it ended with that code.
    ///
    /// # Panics
    /// Otherwise, with all that it said.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert!(
            self.code == Some(code),
            "exit code {:?} (signal {:?}) instead of {code}\nstdout:\n{}\nstderr:\n{}",
            self.code,
            self.signal,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Its stdout as one JSON value.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not one JSON value: {error}\n{}", self.stdout))
    }

    /// Its stdout as one JSON value a line.
    ///
    /// # Panics
    /// When a line is none.
    #[must_use]
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let line =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON: {error}\n{line}"));
        self.stdout.lines().map(line).collect()
    }
}

/// A process that runs. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    output: TempDir,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts a command with an empty or given stdin.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command, stdin: Option<&[u8]>) -> Self {
        let name = PathBuf::from(command.get_program())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let output = TempDir::with_prefix("tmd-out").expect("a temporary directory can be made");
        let file =
            |name: &str| File::create(output.path().join(name)).expect("a file in a temporary directory");
        command.stdout(file("stdout")).stderr(file("stderr"));
        match stdin {
            None => command.stdin(Stdio::null()),
            Some(bytes) => {
                let path = output.path().join("stdin");
                fs::write(&path, bytes).expect("a file in a temporary directory");
                command.stdin(File::open(path).expect("the file was just written"))
            }
        };
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self {
            name,
            child,
            output,
            ended: None,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.said("stdout")
    }

    /// What it wrote to stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.said("stderr")
    }

    fn said(&self, name: &str) -> String {
        let bytes = fs::read(self.output.path().join(name)).expect("the file was made when it started");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends it a signal; nothing happens when it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.poll().is_none() {
            let pid = i32::try_from(self.child.id())
                .ok()
                .and_then(Pid::from_raw)
                .expect("a child has a pid");
            kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
        }
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<Exit> {
        let status = self.poll()?;
        Some(Exit {
            code: status.code(),
            signal: status.signal(),
            stdout: self.stdout(),
            stderr: self.stderr(),
        })
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// When it has not after `wait`, with what it said.
    #[track_caller]
    pub fn wait(&mut self, wait: Duration) -> Exit {
        let what = format!("{} (pid {}) ends", self.name, self.pid());
        eventually(&what, wait, || self.exited())
    }

    /// Kills it with SIGKILL and reaps it.
    pub fn kill(&mut self) {
        if self.poll().is_none() {
            // A child that ended meanwhile is reaped all the same.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }

    fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("our own child can be waited for");
        }
        self.ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventually::DEADLINE;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_process_ends_with_its_code_and_what_it_said() {
        let exit = Running::start(shell("cat; echo talk >&2; exit 3"), Some(b"data\n")).wait(DEADLINE);
        let exit = exit.expect_code(3);
        assert_eq!((exit.stdout.as_str(), exit.stderr.as_str()), ("data\n", "talk\n"));
    }

    #[test]
    fn a_signal_is_told_from_a_code() {
        let mut running = Running::start(shell("echo ready; exec sleep 60"), None);
        eventually("it runs", DEADLINE, || {
            running.stdout().contains("ready").then_some(())
        });
        running.signal(Signal::TERM);
        let exit = running.wait(DEADLINE);
        assert_eq!((exit.code, exit.signal), (None, Some(15)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_dropped_process_is_gone() {
        let running = Running::start(shell("exec sleep 60"), None);
        let process = PathBuf::from(format!("/proc/{}", running.pid()));
        drop(running);
        assert!(!process.exists());
    }
}
