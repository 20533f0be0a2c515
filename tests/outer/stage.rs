//! What most outer tests begin with: a home whose tools are announced, an endpoint, and a daemon between; and what they
//! ask of it, over the socket.

use serde_json::{Value, json};
use telemetry_testkit::sink::Script;
use telemetry_testkit::{Collector, DEADLINE, Daemon, Home, eventually};

/// The tool of most tests. `other` is announced too.
pub(crate) const TOOL: &str = "demo";

/// Retries at once, and sends at once.
pub(crate) const SOON: &str =
    "batch = { max_wait = \"50ms\" }\nretry = { initial = \"20ms\", max = \"200ms\", spread = \"50ms\" }\n";

/// Sends when told to, and does not try again before the test is over.
pub(crate) const TOLD: &str =
    "batch = { max_wait = \"1h\" }\nretry = { initial = \"1h\", max = \"2h\", spread = \"1h\" }\n";

/// A manifest that is on unless denied.
pub(crate) fn manifest(tool: &str) -> String {
    format!("name = \"{tool}\"\nconsent = \"opt-out\"\nevents = \"any\"\n")
}

/// A home where `demo` and `other` are on.
pub(crate) fn home() -> Home {
    let home = Home::new();
    for tool in [TOOL, "other"] {
        home.write_manifest(tool, &manifest(tool));
    }
    home
}

/// A `[destinations.default]` at that endpoint, with more settings of it.
pub(crate) fn destination(url: &str, more: &str) -> String {
    format!("[destinations.default]\nurl = \"{url}\"\n{more}")
}

/// An id that is told from others by its number.
pub(crate) fn id(n: u64) -> String {
    format!("0199aaaa-0000-7000-8000-{n:012x}")
}

/// The smallest event of that number.
pub(crate) fn event(n: u64) -> Value {
    json!({"tool": TOOL, "event": "ran", "id": id(n)})
}

/// An endpoint that does as the script says, and expects what the tools of these tests send.
pub(crate) fn endpoint(script: Script) -> Collector {
    Collector::builder()
        .script(script)
        .expect_tool(TOOL)
        .expect_tool("other")
        .start()
}

/// A home, an endpoint and a daemon. The daemon goes first, then the endpoint says what it did not expect.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) daemon: Daemon,
    pub(crate) endpoint: Collector,
    pub(crate) home: Home,
}

impl Stage {
    /// With an endpoint that does as the script says, and settings of the destination.
    #[track_caller]
    pub(crate) fn new(script: Script, more: &str) -> Self {
        Self::before(endpoint(script), more)
    }

    /// Before that endpoint, with settings of the destination.
    #[track_caller]
    pub(crate) fn before(endpoint: Collector, more: &str) -> Self {
        let home = home();
        let daemon = Daemon::start(&home, &destination(&endpoint.url(), more));
        Self {
            daemon,
            endpoint,
            home,
        }
    }

    /// Sends events and has each answered `queued`, in order.
    #[track_caller]
    pub(crate) fn queue(&self, events: impl IntoIterator<Item = Value>) -> Vec<String> {
        queue(&self.daemon, events)
    }

    /// `flush` that waits; what was answered.
    #[track_caller]
    pub(crate) fn flush(&self) -> Value {
        ask(
            &self.daemon,
            &json!({"op": "flush", "wait": true, "timeout_ms": 15_000}),
        )
    }

    /// Waits until the one destination sends nothing: a flush is answered when the rows are settled, a moment before.
    #[track_caller]
    pub(crate) fn is_at_rest(&self) {
        eventually("the destination is at rest", DEADLINE, || {
            (self.destination()["state"] == "idle").then_some(())
        });
    }

    /// The one destination, as `status` shows it.
    #[track_caller]
    pub(crate) fn destination(&self) -> Value {
        status(&self.daemon)["destinations"][0].clone()
    }
}

/// Sends events on one connection and has each answered `queued`, in order; their ids.
#[track_caller]
pub(crate) fn queue(daemon: &Daemon, events: impl IntoIterator<Item = Value>) -> Vec<String> {
    let events: Vec<Value> = events.into_iter().collect();
    let mut tool = daemon.connect();
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    std::thread::scope(|scope| {
        let mut writing = tool.stream().try_clone().expect("a socket of our own");
        scope.spawn(move || {
            std::io::Write::write_all(&mut writing, lines.as_bytes()).expect("the daemon reads")
        });
        let queued = |_: &Value| {
            let answer = tool.answer();
            assert_eq!(answer["status"], "queued", "{answer}");
            answer["id"].as_str().expect("an id").to_owned()
        };
        events.iter().map(queued).collect()
    })
}

/// One request and its one answer, on a connection of its own.
#[track_caller]
pub(crate) fn ask(daemon: &Daemon, request: &Value) -> Value {
    daemon.connect().ask(request)
}

/// The lines that a listing request is answered with, its end aside.
#[track_caller]
pub(crate) fn list(daemon: &Daemon, request: &Value) -> Vec<Value> {
    let mut tool = daemon.connect();
    tool.send(request);
    let mut lines = Vec::new();
    loop {
        let line = tool.answer();
        assert_ne!(line["ok"], false, "{line}");
        if line["status"] == "end" {
            assert_eq!(line["count"], lines.len(), "the end counts the lines");
            return lines;
        }
        lines.push(line);
    }
}

/// `status`.
#[track_caller]
pub(crate) fn status(daemon: &Daemon) -> Value {
    let status = ask(daemon, &json!({"op": "status"}));
    assert_eq!(status["ok"], true, "{status}");
    books_balance(&status);
    status
}

/// What is parked.
#[track_caller]
pub(crate) fn parked(daemon: &Daemon) -> Vec<Value> {
    list(daemon, &json!({"op": "queue", "action": "parked"}))
}

/// What waits or is on its way.
#[track_caller]
pub(crate) fn waiting(daemon: &Daemon) -> Vec<Value> {
    list(daemon, &json!({"op": "queue", "action": "list"}))
}

/// One number of the books, over all of them.
pub(crate) fn booked(status: &Value, column: &str) -> u64 {
    let books = status["books"].as_array().expect("a list of books");
    books
        .iter()
        .map(|book| book[column].as_u64().expect("a number"))
        .sum()
}

/// I5, of every book.
#[track_caller]
pub(crate) fn books_balance(status: &Value) {
    for book in status["books"].as_array().expect("a list of books") {
        let number = |column: &str| {
            book[column]
                .as_u64()
                .unwrap_or_else(|| panic!("no {column} in {book}"))
        };
        let left = [
            "delivered",
            "parked",
            "queued",
            "evicted",
            "expired",
            "purged",
            "lost",
        ]
        .map(number);
        assert_eq!(
            number("accepted"),
            left.iter().sum::<u64>(),
            "the books do not balance: {book}"
        );
    }
}

/// Says that a test cannot run here, and fails where it must (`CI=true`).
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
#[track_caller]
pub(crate) fn skipped(why: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "it must run here: {why}"
    );
    eprintln!("SKIPPED: {why}");
}

/// The most memory that the daemon ever had resident, in KiB.
#[cfg(target_os = "linux")]
pub(crate) fn peak_kib(daemon: &Daemon) -> u64 {
    let said =
        std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("a process that runs");
    let line = said
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("the kernel says it");
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

/// The memory that the daemon has resident now, in KiB: what macOS keeps of the most is not told to others.
#[cfg(not(target_os = "linux"))]
pub(crate) fn peak_kib(daemon: &Daemon) -> u64 {
    let asked = std::process::Command::new("ps")
        .args(["-o", "rss=", "-p", &daemon.pid().to_string()])
        .output()
        .expect("ps can be started");
    String::from_utf8_lossy(&asked.stdout)
        .trim()
        .parse()
        .expect("a number")
}
