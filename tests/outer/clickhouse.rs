//! `ndjson` into a real ClickHouse, started here on the loopback: the table, the destination and the questions are those
//! of `docs/at-scale/clickhouse/`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use telemetry_testkit::{DEADLINE, Daemon, Port, eventually};

use crate::stage::{TOOL, ask, booked, home, id, queue, skipped, status};

/// As Debian's package installs it.
const PROGRAM: &str = "/usr/sbin/clickhouse-server";

/// A server with a place, a port and a user of its own.
struct ClickHouse {
    place: tempfile::TempDir,
    port: Port,
    running: Option<Child>,
}

impl ClickHouse {
    /// Started; `None`, said aloud, where there is none on this machine.
    fn start() -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            skipped("there is no clickhouse-server (Debian's package of that name)");
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        let port = Port::reserve();
        let at = place.path().display();
        let number = port.address().port();
        let config = format!(
            "<yandex><logger><level>warning</level><log>{at}/log</log><errorlog>{at}/errors</errorlog></logger>\
             <http_port>{number}</http_port><listen_host>127.0.0.1</listen_host>\
             <listen_reuse_port>1</listen_reuse_port><path>{at}/data/</path><tmp_path>{at}/tmp/</tmp_path>\
             <users_config>{at}/users.xml</users_config><default_profile>default</default_profile>\
             <default_database>default</default_database><mark_cache_size>1048576</mark_cache_size></yandex>"
        );
        let users = "<yandex><profiles><default/></profiles><quotas><default/></quotas><users><default>\
                     <password>s3cret</password><networks><ip>127.0.0.1</ip></networks>\
                     <profile>default</profile><quota>default</quota></default></users></yandex>";
        fs::write(place.path().join("config.xml"), config).unwrap();
        fs::write(place.path().join("users.xml"), users).unwrap();
        let mut server = Self {
            place,
            port,
            running: None,
        };
        server.resume();
        Some(server)
    }

    fn resume(&mut self) {
        let output = || Stdio::from(fs::File::create(self.place.path().join("output")).unwrap());
        let child = Command::new(PROGRAM)
            .arg(format!(
                "--config-file={}",
                self.place.path().join("config.xml").display()
            ))
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output())
            .spawn();
        self.running = Some(child.unwrap());
        let answers = || {
            self.try_ask("SELECT 1")
                .filter(|answer| answer == "1\n")
                .map(|_| ())
        };
        eventually("ClickHouse answers", 2 * DEADLINE, answers);
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The answer to a statement; `None` while nobody answers.
    fn try_ask(&self, statement: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.port.address()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
        // default:s3cret
        let head = format!(
            "POST / HTTP/1.0\r\nAuthorization: Basic ZGVmYXVsdDpzM2NyZXQ=\r\nContent-Length: {}\r\n\r\n",
            statement.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(statement.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        assert!(
            head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200"),
            "{statement}: {answer}"
        );
        Some(body.to_owned())
    }

    #[track_caller]
    fn ask(&self, statement: &str) -> String {
        self.try_ask(statement)
            .expect("ClickHouse answers")
            .trim_end()
            .to_owned()
    }

    /// A daemon whose events go there, with the destination of the page.
    fn daemon(&self, home: &telemetry_testkit::Home, more: &str) -> Daemon {
        let user = self.place.path().join("user");
        fs::write(&user, "default:s3cret\n").unwrap();
        let config = page("telemetryd.toml")
            .replace(
                "https://clickhouse.example.org:8443",
                &format!("http://{}", self.port.address()),
            )
            .replace("/etc/telemetryd/clickhouse-user", &user.display().to_string())
            .replace("max_events = 5000", "max_events = 50");
        Daemon::start(home, &format!("{config}{more}"))
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        self.kill();
    }
}

fn page(name: &str) -> String {
    let place: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/at-scale/clickhouse");
    fs::read_to_string(place.join(name)).unwrap()
}

/// An event with what a table may stumble over.
fn event(n: u64) -> Value {
    json!({
        "tool": TOOL, "event": "ran \"it\" \\", "id": id(n), "version": "1.7.0",
        "time": format!("2026-11-21T10:{:02}:{:02}.250+02:00", n / 60 % 60, n % 60),
        "properties": {"command": "kedro run \\ 'x' \"y\"\n\t🦆", "n": n, "nested": {"list": [1, null]}},
        "context": {"os": {"name": "linux"}},
    })
}

#[test]
fn rows_arrive_in_clickhouse_as_they_were_and_a_question_of_the_page_is_answered() {
    let Some(server) = ClickHouse::start() else { return };
    server.ask(&page("events.sql"));
    let home = home();
    let daemon = server.daemon(&home, "");
    queue(&daemon, (1..=120).map(event));
    let flushed = ask(
        &daemon,
        &json!({"op": "flush", "wait": true, "timeout_ms": 60_000}),
    );
    assert_eq!(flushed["left"], 0, "{flushed}");
    assert_eq!(server.ask("SELECT count() FROM events FINAL"), "120");
    let row = server.ask(&format!(
        "SELECT tool, event, tool_version, properties, context, at, time FROM events WHERE id = '{}' FORMAT JSONCompact",
        id(61)
    ));
    let row: Value = serde_json::from_str(&row).unwrap();
    let row = &row["data"][0];
    let sent = event(61);
    assert_eq!(
        (&row[0], &row[1], &row[2]),
        (&json!(TOOL), &sent["event"], &json!("1.7.0"))
    );
    let parsed = |text: &Value| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap();
    assert_eq!(parsed(&row[3]), sent["properties"]);
    assert!(
        parsed(&row[4])["os"]["name"].is_string(),
        "the machine's facts are there"
    );
    assert_eq!(row[6], sent["time"]);
    let instant = server.ask(&format!(
        "SELECT toUInt32(at) FROM events WHERE id = '{}'",
        id(61)
    ));
    // 2026-11-21T08:01:01Z
    assert_eq!(instant, "1795248061");
    for question in page("questions.sql")
        .split(';')
        .filter(|one| one.contains("SELECT"))
    {
        let answer = server.ask(question);
        assert!(!answer.contains("Exception"), "{question}: {answer}");
    }
}

#[test]
fn a_clickhouse_that_is_killed_in_the_middle_loses_nothing_and_doubles_nothing() {
    let Some(mut server) = ClickHouse::start() else {
        return;
    };
    server.ask(&page("events.sql"));
    let home = home();
    let daemon = server.daemon(
        &home,
        "retry = { initial = \"50ms\", max = \"500ms\", spread = \"100ms\" }\n",
    );
    let all: u64 = 3000;
    for (round, from) in (1..=all).step_by(1000).enumerate() {
        queue(&daemon, (from..from + 1000).map(event));
        ask(&daemon, &json!({"op": "flush"}));
        let some = (round as u64 * 1000) + 150;
        eventually("some rows are there", DEADLINE, || {
            let count: u64 = server.ask("SELECT count() FROM events").parse().unwrap();
            (count >= some).then_some(())
        });
        server.kill();
        server.resume();
    }
    eventually("everything is settled", 2 * DEADLINE, || {
        ask(&daemon, &json!({"op": "flush"}));
        (booked(&status(&daemon), "delivered") == all).then_some(())
    });
    assert_eq!(server.ask("SELECT uniqExact(id) FROM events"), all.to_string());
    assert_eq!(server.ask("SELECT count() FROM events FINAL"), all.to_string());
    server.ask("OPTIMIZE TABLE events PARTITION 202611 FINAL");
    assert_eq!(server.ask("SELECT count() FROM events"), all.to_string());
    assert!(crate::stage::parked(&daemon).is_empty());
}
