//! The real `telemetryd`, running in a test's home.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::ctl::Ctl;
use crate::eventually::{DEADLINE, eventually};
use crate::home::Home;
use crate::programs;
use crate::running::{Exit, Running};
use crate::tool::{Heard, Tool};

/// How a daemon is started.
#[derive(Clone, Debug)]
pub struct DaemonBuilder {
    home: Home,
    program: Option<PathBuf>,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
}

impl DaemonBuilder {
    /// Writes the configuration file first.
    #[must_use]
    pub fn config(self, text: &str) -> Self {
        self.home.write_config(text);
        self
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// With one more variable, for this process alone.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Another program in place of the built one.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Starts it and waits until it answers a `hello`.
    ///
    /// # Panics
    /// When it was not built, ends, or does not answer within [`DEADLINE`]; with its log.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Daemon {
        let running = self.spawn();
        let mut daemon = Daemon {
            builder: self,
            running,
            earlier: String::new(),
            end_was_asked: false,
        };
        daemon.wait_until_ready();
        daemon
    }

    /// Starts it without waiting for anything: for a start that fails, or is too early to be ready.
    ///
    /// # Panics
    /// When it was not built.
    #[must_use]
    pub fn spawn(&self) -> Running {
        let mut command = self
            .home
            .command(self.program.clone().unwrap_or_else(programs::telemetryd));
        command
            .args(&self.args)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        Running::start(command, None)
    }

    /// Starts it and waits until it ends.
    ///
    /// # Panics
    /// When it was not built, or has not ended within [`DEADLINE`].
    #[track_caller]
    pub fn run(&self) -> Exit {
        self.spawn().wait(DEADLINE)
    }
}

/// A daemon that runs. Dropping it kills and reaps it; its log is printed when the test has failed, and the
/// test fails when the daemon ended unasked or panicked.
#[derive(Debug)]
pub struct Daemon {
    builder: DaemonBuilder,
    running: Running,
    /// The log of the processes before the last restart.
    earlier: String,
    /// A test that ended it, or waited for its end, knows.
    end_was_asked: bool,
}

impl Daemon {
    /// To be started in that home.
    #[must_use]
    pub fn builder(home: &Home) -> DaemonBuilder {
        DaemonBuilder {
            home: home.clone(),
            program: None,
            args: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// Started in that home with that configuration, and ready.
    ///
    /// # Panics
    /// As [`DaemonBuilder::start`].
    #[must_use]
    #[track_caller]
    pub fn start(home: &Home, config: &str) -> Self {
        Self::builder(home).config(config).start()
    }

    /// Where it runs.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.builder.home
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.home().socket()
    }

    /// Everything it logged, restarts included.
    #[must_use]
    pub fn log(&self) -> String {
        format!("{}{}", self.earlier, self.running.stderr())
    }

    /// A new connection to it.
    #[must_use]
    #[track_caller]
    pub fn connect(&self) -> Tool {
        Tool::connect(&self.socket())
    }

    /// The command line beside it.
    #[must_use]
    pub fn ctl(&self) -> Ctl {
        Ctl::new(self.home())
    }

    /// Sends it a signal that does not end it: HUP, USR1, STOP, CONT.
    pub fn signal(&mut self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Ends it with TERM, as a service manager does, and waits.
    ///
    /// # Panics
    /// When it has not ended within [`DEADLINE`].
    #[track_caller]
    pub fn term(&mut self) -> Exit {
        self.signal(Signal::TERM);
        self.wait(DEADLINE)
    }

    /// Ends it with KILL, in the middle of whatever it does, and reaps it.
    pub fn kill9(&mut self) {
        self.end_was_asked = true;
        self.running.kill();
    }

    /// How it ended, if it has. That is still wrong unless it was asked to.
    pub fn ended(&mut self) -> Option<Exit> {
        self.running.exited()
    }

    /// Waits until it ends, as it was asked to by other ways.
    ///
    /// # Panics
    /// When it has not after `wait`.
    #[track_caller]
    pub fn wait(&mut self, wait: Duration) -> Exit {
        self.end_was_asked = true;
        self.running.wait(wait)
    }

    /// Starts it again after [`kill9`](Self::kill9) or [`term`](Self::term), or kills and starts it.
    ///
    /// # Panics
    /// As [`DaemonBuilder::start`].
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill9();
        self.earlier = self.log();
        self.running = self.builder.spawn();
        self.end_was_asked = false;
        self.wait_until_ready();
    }

    #[track_caller]
    fn wait_until_ready(&mut self) {
        let socket = self.socket();
        eventually("telemetryd answers a hello", DEADLINE, || {
            if let Some(exit) = self.running.exited() {
                self.end_was_asked = true;
                panic!(
                    "telemetryd ended instead of getting ready, with code {:?}, signal {:?}",
                    exit.code, exit.signal
                );
            }
            let mut tool = Tool::try_connect(&socket).ok()?;
            let hello = json!({"op": "hello", "protocol": telemetry_protocol::PROTOCOL, "client": "testkit"});
            tool.try_send_bytes(format!("{hello}\n").as_bytes()).ok()?;
            match tool.hear(Duration::from_secs(1)) {
                // Another daemon's socket would be an error of the home; this one's pid tells.
                Heard::Line(line) => line.contains("\"ok\":true").then_some(()),
                Heard::Nothing | Heard::Closed => None,
            }
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let unasked = if self.end_was_asked {
            None
        } else {
            self.running.exited()
        };
        self.running.kill();
        let log = self.log();
        if std::thread::panicking() {
            print_log(&log);
            return;
        }
        if let Some(exit) = unasked {
            panic!(
                "telemetryd ended unasked, with code {:?}, signal {:?}; its log:\n{log}",
                exit.code, exit.signal
            );
        }
        assert!(
            !log.contains("panicked at"),
            "telemetryd panicked; its log:\n{log}"
        );
    }
}

#[expect(clippy::print_stderr, reason = "a failed test shows what the daemon said")]
fn print_log(log: &str) {
    eprintln!("---- the log of telemetryd ----\n{log}---- end of the log ----");
}
