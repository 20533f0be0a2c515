//! A temporary home, a fake daemon on a socket in it, and the program with an environment of its own.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value;

/// What a fake daemon does with a request's line.
pub(crate) enum Reply {
    /// These lines, each without its newline.
    Lines(Vec<String>),
    /// Nothing: it goes on reading.
    Silence,
    /// It closes the connection.
    HangUp,
}

/// One line as the answer.
pub(crate) fn line(text: &str) -> Reply {
    Reply::Lines(vec![text.to_owned()])
}

/// A temporary home.
pub(crate) struct World {
    home: tempfile::TempDir,
    more: Vec<(String, String)>,
}

/// What a finished program has left.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// stdout as JSON values, a line each; anything else on it is a failure.
    pub(crate) fn values(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        self.out.lines().map(parse).collect()
    }

    /// The one JSON value on stdout.
    pub(crate) fn value(&self) -> Value {
        let mut values = self.values();
        assert_eq!(values.len(), 1, "{}", self.out);
        values.remove(0)
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let home = tempfile::Builder::new().prefix("ctl").tempdir().unwrap();
        for directory in ["config", "state", "machine", "run"] {
            std::fs::create_dir(home.path().join(directory)).unwrap();
        }
        Self {
            home,
            more: Vec::new(),
        }
    }

    /// With a variable more.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.more.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    pub(crate) fn write(&self, below: &str, text: &str) {
        std::fs::write(self.path(below), text).unwrap();
    }

    /// Kedro is on unless denied, and its project's `.telemetry` counts.
    pub(crate) fn write_kedros_manifest(&self) {
        std::fs::create_dir_all(self.path("data/telemetryd/tools.d")).unwrap();
        self.write(
            "data/telemetryd/tools.d/kedro.toml",
            "name = \"kedro\"\nevents = \"any\"\nconsent = \"opt-out\"\n\
             project_files = [{ path = \".telemetry\", format = \"yaml\", key = \"consent\" }]\n",
        );
    }

    pub(crate) fn read(&self, below: &str) -> String {
        std::fs::read_to_string(self.path(below)).unwrap()
    }

    /// A manifest of the user's.
    pub(crate) fn manifest(&self, tool: &str, consent: &str) {
        std::fs::create_dir_all(self.path("data/telemetryd/tools.d")).unwrap();
        let text = format!("name = \"{tool}\"\nevents = \"any\"\nconsent = \"{consent}\"\n");
        self.write(&format!("data/telemetryd/tools.d/{tool}.toml"), &text);
    }

    /// A program in the daemon's place.
    pub(crate) fn telemetryd(self, script: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path("telemetryd");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = path.display().to_string();
        self.with("TELEMETRYD_BIN", &path)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_telemetryctl"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.home.path())
            .env("TELEMETRYD_CONFIG_DIR", self.path("config"))
            .env("TELEMETRYD_STATE_DIR", self.path("state"))
            .env("TELEMETRYD_MACHINE_DIR", self.path("machine"))
            .env("TELEMETRYD_SOCKET", self.path("run/d.sock"))
            .env("TELEMETRYD_BIN", self.path("no-such-program"))
            .env("XDG_DATA_HOME", self.path("data"))
            .envs(self.more.iter().cloned())
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        ended(&self.command(arguments).output().unwrap())
    }

    /// With bytes on stdin. That all of them are taken is part of every test that uses it.
    pub(crate) fn run_with(&self, arguments: &[&str], stdin: &[u8]) -> Ended {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let bytes = stdin.to_vec();
        let writer = std::thread::spawn(move || input.write_all(&bytes).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().expect("stdin is taken to its end");
        ended(&output)
    }

    /// A daemon that answers each line by `answer`, for each connection anew. Its requests can be asked for.
    pub(crate) fn daemon(&self, answer: impl Fn(&Value) -> Reply + Send + Sync + Clone + 'static) -> Fake {
        let path = self.path("run/d.sock");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let (heard, requests) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (heard, answer) = (heard.clone(), answer.clone());
                std::thread::spawn(move || serve(&stream, &heard, &answer));
            }
        });
        Fake { requests }
    }
}

/// What a fake daemon has heard.
pub(crate) struct Fake {
    requests: Receiver<Value>,
}

impl Fake {
    /// The next request.
    pub(crate) fn next(&self) -> Value {
        self.requests
            .recv_timeout(Duration::from_secs(10))
            .expect("a request comes")
    }

    /// All requests so far; the program has ended.
    pub(crate) fn all(&self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Ok(request) = self.requests.recv_timeout(Duration::from_millis(200)) {
            all.push(request);
        }
        all
    }
}

fn serve(stream: &UnixStream, heard: &Sender<Value>, answer: &impl Fn(&Value) -> Reply) {
    let mut out = stream.try_clone().unwrap();
    for request in BufReader::new(stream).lines().map_while(Result::ok) {
        let request: Value = serde_json::from_str(&request).expect("a request is JSON");
        let reply = answer(&request);
        let _ = heard.send(request);
        match reply {
            Reply::Silence => {}
            Reply::HangUp => return,
            Reply::Lines(lines) => {
                for line in lines {
                    if writeln!(out, "{line}").is_err() {
                        return;
                    }
                }
            }
        }
    }
}

fn ended(output: &Output) -> Ended {
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout.clone()).unwrap(),
        err: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}
