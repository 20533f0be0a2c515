//! What the demo is played on: a temporary directory, an endpoint in this process, a real daemon with an
//! environment that points into the directory and nowhere else. All of it goes when the stage goes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use telemetry_client::Surroundings;
use telemetry_protocol::consent::Verdict;
use telemetry_sink::{Counts, Deduplicate, Keep, Script, Sink, SinkThread, Step};
use tempfile::TempDir;

use super::LONG;
use super::events::TOOLS;
use super::verdict::booked;
use crate::Context;
use crate::clock;
use crate::daemon::{Daemon, PATIENCE};
use crate::failure::Failure;
use crate::policy;
use crate::programs;

/// How often a condition is looked at again.
const LOOK: Duration = Duration::from_millis(1);

/// Where the daemon listens.
const SOCKET: &str = "run/telemetryd.sock";

/// The stage.
pub(super) struct Stage {
    environment: Vec<(&'static str, OsString)>,
    context: Context,
    endpoint: Sink,
    listening: Option<SinkThread>,
    address: SocketAddr,
    daemon: Option<Child>,
    interrupted: Arc<AtomicBool>,
    /// Removed last.
    home: Option<TempDir>,
    path: PathBuf,
}

impl Stage {
    /// Makes the directory, the endpoint and the settings; starts no daemon yet.
    pub(super) fn set(interrupted: Arc<AtomicBool>) -> Result<Self, Failure> {
        let failed = |error: &io::Error| Failure::failed("cannot set up the demo").caused_by_io(error);
        let home = home().map_err(|error| failed(&error))?;
        let path = home.path().canonicalize().map_err(|error| failed(&error))?;
        let endpoint = Sink::new(Script::new().deduplicate(Deduplicate::Batch), Keep::Last(1));
        let listening = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| endpoint.start_in_thread(listener))
            .map_err(|error| failed(&error))?;
        let address = listening.address();
        furnish(&path, address).map_err(|error| failed(&error))?;
        let environment = environment(&path);
        let uid = rustix::process::getuid().as_raw();
        let context = Context {
            surroundings: Surroundings::read(environment.iter().cloned().collect(), None, uid, &|_| false),
        };
        Ok(Self {
            environment,
            context,
            endpoint,
            listening: Some(listening),
            address,
            daemon: None,
            interrupted,
            home: Some(home),
            path,
        })
    }

    pub(super) fn home(&self) -> &Path {
        &self.path
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A tool that something on this machine keeps off (an admin's `opt-out.d` or manifest), and what.
    pub(super) fn tool_that_is_off(&self) -> Option<String> {
        let policy = policy::local(&self.context);
        TOOLS.iter().find_map(|tool| {
            let decision = policy.tool_with_rows(tool).decision;
            (decision.verdict == Verdict::Deny)
                .then(|| format!("{tool} is off, by {}: {}", decision.by, decision.source))
        })
    }

    /// Gives a child this stage's environment, and none of the caller's.
    pub(super) fn dress(&self, command: &mut Command) {
        command
            .env_clear()
            .envs(self.environment.iter().cloned())
            .current_dir(&self.path);
    }

    /// Starts the daemon and waits until it answers. Its process's number.
    pub(super) fn start(&mut self) -> Result<u32, Failure> {
        let program = programs::telemetryd();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path.join("telemetryd.log"))
            .map_err(|error| Failure::failed("cannot write the daemon's log").caused_by_io(&error))?;
        let mut command = Command::new(&program);
        self.dress(&mut command);
        let child = command
            .arg("--config")
            .arg(self.path.join("demo.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| programs::cannot_start(&program, &error))?;
        let pid = child.id();
        self.daemon = Some(child);
        let ready = self.wait_for("the daemon to start", |stage| {
            let dead = stage
                .daemon
                .as_mut()
                .is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            let answers = || {
                stage
                    .ask(&json!({ "op": "hello", "protocol": 1 }), PATIENCE)
                    .is_ok()
            };
            if dead {
                Some(false)
            } else {
                answers().then_some(true)
            }
        })?;
        if ready {
            return Ok(pid);
        }
        let log = fs::read_to_string(self.path.join("telemetryd.log")).unwrap_or_default();
        let failure = Failure::failed(format!("{} has ended at once", program.display()));
        Err(log
            .lines()
            .rev()
            .take(5)
            .fold(failure, |failure, line| failure.caused_by(line)))
    }

    /// SIGKILL: no drain, no goodbye.
    pub(super) fn kill(&mut self) -> Result<u32, Failure> {
        let Some(mut child) = self.daemon.take() else {
            return Err(Failure::failed("there is no daemon to kill"));
        };
        let pid = child.id();
        child
            .kill()
            .and_then(|()| child.wait())
            .map_err(|error| Failure::failed("cannot kill the daemon").caused_by_io(&error))?;
        Ok(pid)
    }

    /// One request to the daemon.
    pub(super) fn ask(&self, request: &Value, patience: Duration) -> Result<Value, Failure> {
        let answer = Daemon::connect(&self.context)?.ask(request, patience)?;
        Ok(Value::Object(answer.value))
    }

    pub(super) fn status(&self) -> Result<Value, Failure> {
        self.ask(&json!({ "op": "status" }), PATIENCE)
    }

    /// Events that wait, and their bytes.
    pub(super) fn queued(&self) -> Result<(u64, u64), Failure> {
        let status = self.status()?;
        let number = |key: &str| status["queue"][key].as_u64().unwrap_or(0);
        Ok((number("events"), number("bytes")))
    }

    /// A sum over the books.
    pub(super) fn booked(&self, column: &str) -> Result<u64, Failure> {
        Ok(booked(&self.status()?, column))
    }

    /// Why the destination cannot be reached, once the daemon has noticed that nobody listens there.
    pub(super) fn unreachable(&mut self) -> Option<String> {
        let status = self.status().ok()?;
        let destination = &status["destinations"][0];
        let why = destination["last_error"].as_str()?;
        let noticed = destination["state"] == "backoff" && why.to_lowercase().contains("refused");
        noticed.then(|| why.to_owned())
    }

    /// Asks for a flush and does not wait.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        self.ask(&json!({ "op": "flush", "wait": false }), PATIENCE)
            .map(drop)
    }

    /// Flushes until nothing is left or the time is over: settled and left.
    pub(super) fn flush_and_wait(&self, patience: Duration) -> Result<(u64, u64), Failure> {
        let request = json!({ "op": "flush", "wait": true, "timeout_ms": crate::words::millis(patience) });
        let answer = self.ask(&request, patience + PATIENCE)?;
        let number = |key: &str| answer[key].as_u64().unwrap_or(0);
        Ok((number("settled"), number("left")))
    }

    /// What the endpoint has counted.
    pub(super) fn counts(&self) -> Counts {
        self.endpoint.memory().counts()
    }

    /// How often an event counts as arrived.
    pub(super) fn times(&self, id: &str) -> u32 {
        self.endpoint.memory().with(|seen| seen.times(id))
    }

    /// Waits until so many events have arrived.
    pub(super) fn wait_until_arrived(&mut self, expected: u64) -> Result<u64, Failure> {
        self.wait_for("the events to arrive", |stage| {
            let arrived = stage.counts().unique;
            (arrived >= expected).then_some(arrived)
        })
    }

    /// From now on the endpoint acts like this.
    pub(super) fn play(&self, steps: Vec<Step>) {
        let script = Script::new().deduplicate(Deduplicate::Batch);
        self.endpoint.play(steps.into_iter().fold(script, Script::then));
    }

    /// Nobody listens at its port any more.
    pub(super) fn take_endpoint_away(&mut self) {
        self.listening = None;
    }

    /// It listens at its port again, and behaves.
    pub(super) fn give_endpoint_back(&mut self) -> Result<(), Failure> {
        self.play(Vec::new());
        let (address, endpoint) = (self.address, self.endpoint.clone());
        let listening = TcpListener::bind(address)
            .and_then(|listener| endpoint.start_in_thread(listener))
            .map_err(|error| {
                Failure::failed(format!("cannot listen at {address} again")).caused_by_io(&error)
            })?;
        self.listening = Some(listening);
        Ok(())
    }

    /// The admin's file.
    pub(super) fn opt_out(&self) -> Result<PathBuf, Failure> {
        let file = self.path.join("machine/opt-out");
        File::create(&file)
            .map(|_| file)
            .map_err(|error| Failure::failed("cannot write the opt-out").caused_by_io(&error))
    }

    /// Looks again and again until there is something, for as long as anything here may take.
    pub(super) fn wait_for<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, Failure> {
        let began = clock::after(Duration::ZERO);
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Failure::failed("interrupted"));
            }
            if clock::since(began) > LONG {
                return Err(Failure::failed(format!("waited for {what} in vain")));
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// Ends the daemon as a service manager would, and removes the directory.
    pub(super) fn strike(&mut self) -> Result<(), Failure> {
        self.ask(&json!({ "op": "stop", "drain_ms": 0 }), PATIENCE)?;
        self.wait_for("the daemon to end", |stage| {
            let ended = stage
                .daemon
                .as_mut()
                .is_none_or(|child| matches!(child.try_wait(), Ok(Some(_))));
            ended.then_some(())
        })?;
        self.daemon = None;
        self.listening = None;
        match self.home.take().map(TempDir::close) {
            Some(Err(error)) => {
                let what = format!("cannot remove {}", self.path.display());
                Err(Failure::failed(what).caused_by_io(&error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            // It ends either way, and the directory after it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A directory where the system wants temporary ones, or in `/tmp` where that place is too deep for the path
/// of a Unix socket.
fn home() -> io::Result<TempDir> {
    let make = |place: &Path| {
        tempfile::Builder::new()
            .prefix("telemetryd-demo-")
            .tempdir_in(place)
    };
    let home = make(&std::env::temp_dir())?;
    let socket = home.path().canonicalize()?.join(SOCKET);
    match telemetry_protocol::place::check_socket_path(&socket) {
        Ok(()) => Ok(home),
        Err(_) => make(Path::new("/tmp")),
    }
}

/// The directories, the configuration and the three manifests.
fn furnish(home: &Path, address: SocketAddr) -> io::Result<()> {
    for directory in ["config", "state", "run", "machine", "data/telemetryd/tools.d"] {
        fs::create_dir_all(home.join(directory))?;
    }
    let tools: String = TOOLS
        .iter()
        .map(|tool| format!("[tools.{tool}]\ndestination = \"demo\"\n"))
        .collect();
    let config = format!(
        "[defaults]\ndestination = \"demo\"\n\n\
         [destinations.demo]\nurl = \"http://{address}/v1/events\"\nencoding = \"json\"\n\
         batch = {{ max_events = 200, max_wait = \"200ms\" }}\n\
         retry = {{ initial = \"30s\", spread = \"0s\" }}\n\n{tools}"
    );
    fs::write(home.join("demo.toml"), config)?;
    for tool in TOOLS {
        let manifest = format!(
            "name = \"{tool}\"\nabout = \"Events of {tool}, for the demo\"\nconsent = \"opt-out\"\nevents = \"any\"\n"
        );
        fs::write(
            home.join(format!("data/telemetryd/tools.d/{tool}.toml")),
            manifest,
        )?;
    }
    Ok(())
}

/// Everything that a program may look at, below `home`. `PATH` alone is the caller's.
fn environment(home: &Path) -> Vec<(&'static str, OsString)> {
    let at = |below: &str| home.join(below).into_os_string();
    let mut environment = vec![
        ("HOME", home.as_os_str().to_owned()),
        ("TMPDIR", home.as_os_str().to_owned()),
        ("XDG_CONFIG_HOME", at("config")),
        ("XDG_STATE_HOME", at("state")),
        ("XDG_DATA_HOME", at("data")),
        ("XDG_RUNTIME_DIR", at("run")),
        ("TELEMETRYD_CONFIG_DIR", at("config")),
        ("TELEMETRYD_STATE_DIR", at("state")),
        ("TELEMETRYD_MACHINE_DIR", at("machine")),
        ("TELEMETRYD_SOCKET", at(SOCKET)),
    ];
    environment.extend(std::env::var_os("PATH").map(|path| ("PATH", path)));
    environment
}
