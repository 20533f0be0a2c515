//! The receiver of `docs/at-scale/receiver/`, as a team of ten would run it: the daemon delivers into it, a resend changes
//! nothing, strangers get nowhere, and the questions of the page are answered.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use telemetry_testkit::{DEADLINE, Daemon, eventually};

use crate::stage::{TOLD, TOOL, ask, home, id, queue, skipped};

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/at-scale")
        .join(name)
}

/// The receiver, its database and its token.
struct Receiver {
    place: tempfile::TempDir,
    port: u16,
    running: Child,
}

impl Receiver {
    /// Started; `None`, said aloud, where there is no Python.
    fn start() -> Option<Self> {
        if Command::new("python3").arg("--version").output().is_err() {
            skipped("there is no python3");
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("token"), "s3cret-token\n").unwrap();
        // Free a moment ago: the receiver sets no SO_REUSEPORT, so it cannot be held for it.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let running = Command::new("python3")
            .arg(page("receiver/receiver.py"))
            .args([place.path().join("events.db"), place.path().join("token")])
            .arg(port.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the receiver listens", DEADLINE, || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Some(Self { place, port, running })
    }

    /// The status of a request.
    fn post(&self, token: &str, body: &str) -> u16 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "POST / HTTP/1.0\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // It may answer before it has read all.
        let _ = stream.write_all(body.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0)
    }

    /// The rows of a statement, a line each.
    fn sql(&self, statement: &str) -> Vec<String> {
        let program = "import sqlite3, sys\n\
                       for statement in sys.argv[2].split(';'):\n\
                       \tfor row in sqlite3.connect(sys.argv[1]).execute(statement): print(*row, sep='|')";
        let output = Command::new("python3")
            .args(["-c", program])
            .arg(self.place.path().join("events.db"))
            .arg(statement)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}

fn event(n: u64) -> Value {
    json!({
        "tool": TOOL, "event": "ran", "id": id(n), "version": "1.7.0", "time": "2026-11-21T10:00:00Z",
        "properties": {"command": format!("run {}", n % 3), "success": n.is_multiple_of(2)},
        "context": {"os": {"name": "linux"}, "arch": "x86_64"},
    })
}

#[test]
fn a_teams_receiver_takes_what_the_daemon_delivers_once_and_answers_its_questions() {
    let Some(receiver) = Receiver::start() else { return };
    let home = home();
    let token = receiver.place.path().join("token");
    let config = fs::read_to_string(page("receiver/telemetryd.toml")).unwrap();
    let config = config
        .replace(
            "https://telemetry.example.org",
            &format!("http://127.0.0.1:{}", receiver.port),
        )
        .replace("/etc/telemetryd/token", &token.display().to_string());
    let daemon = Daemon::start(&home, &format!("{config}{TOLD}"));
    for round in 0..2 {
        queue(&daemon, (round * 600..round * 600 + 600).map(event));
        let flushed = ask(
            &daemon,
            &json!({"op": "flush", "wait": true, "timeout_ms": 30_000}),
        );
        assert_eq!(flushed["left"], 0, "{flushed}");
    }
    assert_eq!(
        receiver.sql("SELECT count(*), count(DISTINCT id) FROM events"),
        ["1200|1200"]
    );
    let again = json!({"batch_id": "b", "events": [event(7), event(5000)]}).to_string();
    assert_eq!(receiver.post("s3cret-token", &again), 204);
    assert_eq!(receiver.sql("SELECT count(*) FROM events"), ["1201"]);
    let answers = receiver.sql(&fs::read_to_string(page("receiver/questions.sql")).unwrap());
    for line in ["2026-11-21|demo|1201", "demo|1.7.0|1", "run 0|400|1"] {
        assert!(answers.iter().any(|answer| answer == line), "{line}: {answers:?}");
    }
}

#[test]
fn strangers_and_what_is_no_batch_get_nowhere() {
    let Some(receiver) = Receiver::start() else { return };
    let good = json!({"events": [event(1)]}).to_string();
    assert_eq!(receiver.post("wrong", &good), 401);
    assert_eq!(receiver.post("s3cret-token", "{"), 400);
    assert_eq!(receiver.post("s3cret-token", "[]"), 400);
    assert_eq!(receiver.post("s3cret-token", r#"{"events":[7]}"#), 400);
    // It does not read such a body, so that the answer may be lost with the connection.
    let large = receiver.post("s3cret-token", &"x".repeat((1 << 20) + 1));
    assert!([413, 0].contains(&large), "{large}");
    assert_eq!(receiver.sql("SELECT count(*) FROM events"), ["0"]);
    assert_eq!(receiver.post("s3cret-token", &good), 204);
}

#[test]
fn every_destination_of_the_page_is_one_that_the_daemon_takes() {
    for name in ["receiver", "clickhouse", "otel"] {
        let home = home();
        let config = fs::read_to_string(page(&format!("{name}/telemetryd.toml"))).unwrap();
        let place = tempfile::tempdir().unwrap();
        let secret = place.path().join("secret");
        fs::write(&secret, "user:password\n").unwrap();
        let config = config
            .replace("/etc/telemetryd/token", &secret.display().to_string())
            .replace("/etc/telemetryd/clickhouse-user", &secret.display().to_string());
        let daemon = Daemon::start(&home, &config);
        assert_eq!(ask(&daemon, &json!({"op": "status"}))["ok"], true, "{name}");
    }
}
