//! A home of its own for each test, and the daemon of it, which is a thread of the test.

use std::fs::DirEntry;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use telemetry_client::{Client, Surroundings, clock};

pub(crate) const MANIFEST: &str = "name = \"mytool\"\nconsent = \"opt-out\"\nnotice = \"It is on.\"\nnotice_required = \"tool\"\n\
    opt_out_env = [\"MYTOOL_OFF\"]\nproject_files = [{ path = \".telemetry\", format = \"yaml\", key = \"consent\" }]\n\
    events = \"any\"\n";

/// A home of its own, and what is set in it.
pub(crate) struct Home {
    directory: tempfile::TempDir,
    pub(crate) variables: Vec<(String, String)>,
}

impl Home {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a home");
        let at = |name: &str| directory.path().join(name).display().to_string();
        let variables = [
            ("HOME", at("")),
            ("TELEMETRYD_CONFIG_DIR", at("config")),
            ("TELEMETRYD_STATE_DIR", at("state")),
            ("TELEMETRYD_SOCKET", at("d.sock")),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Self { directory, variables }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    pub(crate) fn surroundings(&self) -> Surroundings {
        let variables = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let uid = rustix::process::getuid().as_raw();
        let mut found = Surroundings::read(variables.collect(), None, uid, &|_| false);
        // The developer's own machine may have opted out: that is not what is asked here.
        found.machine = vec![self.path("machine")];
        found.working = Some(self.directory.path().to_owned());
        found
    }

    pub(crate) fn client(&self) -> Client {
        let client = Client::from_manifest(MANIFEST);
        assert_eq!(client.problems(), [""; 0]);
        client.in_surroundings(self.surroundings())
    }

    /// A daemon that reads; what it heard, line by line.
    pub(crate) fn daemon(&self) -> Receiver<Value> {
        let listener = UnixListener::bind(self.path("d.sock")).expect("a socket");
        let (said, heard) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut answers = stream.try_clone().expect("a socket");
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let line: Value = serde_json::from_str(&line).expect("a line is JSON");
                    if line["ack"] != "none" {
                        let _ = answers.write_all(b"{\"ok\":true}\n");
                    }
                    if said.send(line).is_err() {
                        return;
                    }
                }
            }
        });
        heard
    }

    pub(crate) fn names(&self) -> Vec<String> {
        names(std::fs::read_dir(self.directory.path()).expect("a home"))
    }
}

/// The names of a directory's entries, in order.
pub(crate) fn names(entries: impl Iterator<Item = io::Result<DirEntry>>) -> Vec<String> {
    let name = |entry: io::Result<DirEntry>| {
        let name = entry.expect("an entry").file_name();
        name.to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

pub(crate) fn next(heard: &Receiver<Value>) -> Value {
    heard
        .recv_timeout(Duration::from_secs(10))
        .expect("a line in time")
}

/// Fills the backlog of a listener that takes nobody.
pub(crate) fn full(path: &Path) -> (UnixListener, Vec<telemetry_client::Connection>) {
    let listener = UnixListener::bind(path).expect("a socket");
    rustix::net::listen(&listener, 0).expect("a backlog of none");
    let mut held = Vec::new();
    let soon = || clock::after(Duration::from_millis(5));
    while let Ok(connection) = telemetry_client::connect::connect(&[path.to_owned()], soon()) {
        held.push(connection);
        assert!(held.len() < 64, "a backlog of 0 holds a few at most");
    }
    (listener, held)
}
