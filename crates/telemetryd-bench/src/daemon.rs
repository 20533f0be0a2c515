//! The real daemon in a home of its own, which goes with it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use telemetry_protocol::place;
use tempfile::TempDir;

use crate::clock;
use crate::lines::TOOL;
use crate::process::Process;
use crate::scenario::neighbours;
pub(crate) use crate::settings::Settings;

/// A start, an answer or an end that takes longer is a failure of this program's run.
const PATIENCE: Duration = Duration::from_secs(90);

/// The file that moves the clock of a daemon with kill points, and the variable that names it.
const CLOCK: &str = "clock";
const CLOCK_VARIABLE: &str = "TELEMETRYD_CLOCK";

/// A directory with everything that the daemon looks for.
#[derive(Debug)]
pub(crate) struct Home {
    root: TempDir,
    system: bool,
    program: PathBuf,
}

impl Home {
    /// An empty one below `directory`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn new(directory: &Path, program: &Path, settings: &Settings) -> Result<Self> {
        let root = tempfile::Builder::new()
            .prefix("tmdb")
            .tempdir_in(directory)
            .with_context(|| format!("cannot make a directory in {}", directory.display()))?;
        let home = Self {
            root,
            program: program.to_owned(),
            system: settings.system,
        };
        for folder in ["config", "state", "machine"] {
            fs::create_dir_all(home.at(folder))?;
        }
        let root = if settings.system { 0o711 } else { 0o700 };
        for (folder, mode) in [("state", 0o700), (".", root)] {
            fs::set_permissions(home.at(folder), fs::Permissions::from_mode(mode))?;
        }
        let (tools_dir, tools) = match settings.system {
            true => ("config/tools.d", (0..64).map(neighbours::tool).collect()),
            false => ("data/telemetryd/tools.d", Vec::new()),
        };
        fs::create_dir_all(home.at(tools_dir))?;
        for tool in std::iter::once(TOOL.to_owned()).chain(tools) {
            fs::write(
                home.at(tools_dir).join(format!("{tool}.toml")),
                manifest(&tool, "events = \"any\"\n"),
            )?;
        }
        fs::write(home.at("config/config.toml"), settings.text())?;
        Ok(home)
    }

    /// Replaces the manifest of a user's daemon: what it says of events.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write_manifest(&self, events: &str) -> Result<()> {
        self.write_manifest_of(TOOL, events)
    }

    /// Writes the manifest of another tool of a user's daemon.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write_manifest_of(&self, tool: &str, events: &str) -> Result<()> {
        let file = self.at("data/telemetryd/tools.d").join(format!("{tool}.toml"));
        fs::write(file, manifest(tool, events))?;
        Ok(())
    }

    /// A path in this home.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// The directory.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The daemon's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.at("s")
    }

    /// The queue's file.
    pub(crate) fn queue_file(&self) -> PathBuf {
        self.at("state/queue.db")
    }

    /// Bytes of the queue on the disk: the file and its WAL.
    pub(crate) fn disk_bytes(&self) -> u64 {
        ["state/queue.db", "state/queue.db-wal"]
            .iter()
            .filter_map(|file| fs::metadata(self.at(file)).ok())
            .map(|file| file.len())
            .sum()
    }

    /// What the daemons of this home have logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    /// Starts a daemon and waits until it answers a `hello`.
    ///
    /// # Errors
    /// When it ends, or does not answer in time.
    pub(crate) fn start(&self) -> Result<Daemon<'_>> {
        let mut daemon = self.spawn(None)?;
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    /// Starts a daemon, which kills itself at a named point if it was built with those.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn(&self, kill_at: Option<&str>) -> Result<Daemon<'_>> {
        let mut command = Command::new(&self.program);
        command.envs(kill_at.map(|point| ("TELEMETRYD_KILL_AT", point)));
        self.spawn_by(command)
    }

    /// Starts a daemon under another program, which must become it: the words before the daemon's own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn_under(&self, words: &[&str]) -> Result<Daemon<'_>> {
        let [program, args @ ..] = words else {
            bail!("no program to start under");
        };
        let mut command = Command::new(program);
        command.args(args).arg(&self.program);
        self.spawn_by(command)
    }

    fn spawn_by(&self, mut command: Command) -> Result<Daemon<'_>> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.at("log"))?;
        for (name, _) in std::env::vars_os() {
            if name != "PATH" && name != "LD_LIBRARY_PATH" {
                command.env_remove(name);
            }
        }
        command
            .args(self.system.then_some("--system"))
            .env("HOME", self.root.path())
            .env("XDG_DATA_HOME", self.at("data"))
            .env(place::CONFIG_DIR_VARIABLE, self.at("config"))
            .env(place::STATE_DIR_VARIABLE, self.at("state"))
            .env(place::MACHINE_DIR_VARIABLE, self.at("machine"))
            .env(place::SOCKET_VARIABLE, self.socket())
            .env(CLOCK_VARIABLE, self.at(CLOCK))
            .current_dir(self.root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        Ok(Daemon { home: self, child })
    }

    /// Moves the wall clock of this home's daemons by so much, and lets the machine have slept for so long: for
    /// daemons that were built with kill points. Others do not notice.
    ///
    /// # Errors
    /// When the file that says so cannot be written.
    pub(crate) fn move_clock(&self, wall_ms: i64, slept_ms: u64) -> Result<()> {
        // At once or not at all: the daemon may read it any moment.
        let fresh = self.at("clock.new");
        fs::write(&fresh, format!("{wall_ms} {slept_ms}"))?;
        Ok(fs::rename(fresh, self.at(CLOCK))?)
    }
}

fn manifest(tool: &str, events: &str) -> String {
    format!(
        "name = \"{tool}\"\nabout = \"events of the bench\"\nconsent = \"opt-out\"\ndestination = \"default\"\n{events}"
    )
}

/// A daemon that runs. Dropping it kills and reaps it.
#[derive(Debug)]
pub(crate) struct Daemon<'h> {
    home: &'h Home,
    child: Child,
}

impl Daemon<'_> {
    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.home.socket()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the system says of it.
    pub(crate) fn process(&self) -> Process {
        Process::of(self.child.id())
    }

    /// Waits until it answers a `hello`, looking every 50 µs.
    ///
    /// # Errors
    /// When it ends, or does not answer in time.
    pub(crate) fn wait_until_ready(&mut self) -> Result<()> {
        let ready = clock::until(PATIENCE, Duration::from_micros(50), || {
            if let Some(status) = self.child.try_wait().ok().flatten() {
                return Some(Err(status));
            }
            let answer = self.ask(&json!({ "op": "hello", "protocol": 1, "client": "bench" }));
            answer.is_ok_and(|answer| answer["ok"] == true).then_some(Ok(()))
        });
        match ready {
            Some(Ok(())) => Ok(()),
            Some(Err(status)) => bail!(
                "telemetryd ended with {status} instead of getting ready:\n{}",
                self.home.log()
            ),
            None => bail!("telemetryd does not answer:\n{}", self.home.log()),
        }
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn ask(&self, request: &Value) -> Result<Value> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        stream.write_all(format!("{request}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("telemetryd answered {line:?}"))
    }

    /// A request that must go well.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn order(&self, request: &Value) -> Result<Value> {
        let answer = self.ask(request)?;
        ensure!(answer["ok"] == true, "{request} was answered with {answer}");
        Ok(answer)
    }

    /// The sums of its books.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn books(&self) -> Result<Books> {
        let status = self.order(&json!({ "op": "status" }))?;
        Books::of(&status).with_context(|| format!("no books in {status}"))
    }

    /// Flushes, and waits until everything has been delivered and booked.
    ///
    /// # Errors
    /// When that takes longer than `wait`.
    pub(crate) fn drained(&self, wait: Duration) -> Result<Books> {
        let mut books = self.books()?;
        let done = clock::until(wait, Duration::from_millis(2), || {
            if books.queued == 0 {
                return Some(());
            }
            self.ask(&json!({ "op": "flush", "wait": true, "timeout_ms": 5000 }))
                .ok()?;
            books = self.books().ok()?;
            (books.queued == 0).then_some(())
        });
        ensure!(
            done.is_some(),
            "{} events are still queued:\n{}",
            books.queued,
            self.home.log()
        );
        Ok(books)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It may have gone by itself.
        let _ = pid.map(|pid| kill_process(pid, signal));
    }

    /// Kills it in the middle of whatever it does, and reaps it.
    pub(crate) fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it as a service manager does.
    ///
    /// # Errors
    /// When it has not ended in time, or not well.
    pub(crate) fn term(mut self) -> Result<()> {
        self.signal(Signal::TERM);
        let status = self.ended(PATIENCE).context("telemetryd does not end on TERM")?;
        ensure!(
            status.success(),
            "telemetryd ended with {status}:\n{}",
            self.home.log()
        );
        Ok(())
    }

    /// How it ended, if it has within `wait`.
    pub(crate) fn ended(&mut self, wait: Duration) -> Option<ExitStatus> {
        clock::until(wait, Duration::from_micros(200), || {
            self.child.try_wait().ok().flatten()
        })
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The sums of the books over all lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) queued: u64,
    /// Parked, evicted, expired, purged, lost.
    pub(crate) elsewhere: u64,
    /// `accepted` is the sum of the others, in every lane.
    pub(crate) balanced: bool,
}

impl Books {
    fn of(status: &Value) -> Option<Self> {
        let mut sums = Self {
            balanced: true,
            ..Self::default()
        };
        for book in status["books"].as_array()? {
            let at = |name: &str| book[name].as_u64();
            let elsewhere: Option<u64> = ["parked", "evicted", "expired", "purged", "lost"]
                .iter()
                .map(|name| at(name))
                .sum();
            let (accepted, delivered, queued) = (at("accepted")?, at("delivered")?, at("queued")?);
            sums.balanced &= accepted == delivered + queued + elsewhere?;
            sums.accepted += accepted;
            sums.delivered += delivered;
            sums.queued += queued;
            sums.elsewhere += elsewhere?;
        }
        Some(sums)
    }
}
