//! Requests that mean no good: each is refused within bounded memory, and the socket's clients do not notice.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::json;
use telemetry_testkit::{DEADLINE, eventually};

use super::http::{Answer, connect, gzip};
use super::{Gate, Request};
use crate::stage::{id, peak_kib, skipped, status};

/// Short, so that a test sees the end of it.
const IMPATIENT: &str = "[limits]\nanswer_timeout = \"300ms\"\n";

/// An event over the socket, answered.
#[track_caller]
fn the_socket_answers(gate: &Gate, n: u64) {
    let mut tool = gate.daemon.connect();
    let answer = tool.ask(&json!({"tool": "demo", "event": "ran", "id": id(n)}));
    assert_eq!(answer["status"], "queued");
}

#[test]
fn a_gzip_bomb_is_413_and_takes_no_memory() {
    let gate = Gate::new();
    let before = peak_kib(&gate.daemon);
    // A gigabyte in a megabyte.
    let bomb = gzip(&vec![b' '; 256 * 1024 * 1024]);
    assert!(bomb.len() < 1024 * 1024, "{}", bomb.len());
    for _ in 0..4 {
        let request = Request::raw("/t/demo", bomb.clone()).header("Content-Encoding", "gzip");
        let answer = gate.ask(&request);
        assert_eq!((answer.status, &answer.body["error"]), (413, &json!("too_large")));
    }
    // (The system tells a peak to within some pages.)
    let grown = peak_kib(&gate.daemon).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB for four bombs");
    the_socket_answers(&gate, 1);
}

#[test]
fn slow_headers_and_a_body_that_stops_are_given_up() {
    let gate = Gate::with(IMPATIENT);
    let mut slow = connect(gate.address());
    slow.write_all(b"POST /t/demo HTTP/1.1\r\nHost: loc").unwrap();
    let mut stopped = connect(gate.address());
    let head = "POST /t/demo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    stopped.write_all(head.as_bytes()).unwrap();
    let answer = Answer::of(&mut stopped);
    assert_eq!((answer.status, &answer.body["error"]), (408, &json!("timeout")));
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("200"), "{rest:?}");
    assert_eq!(gate.queued(), 0);
    the_socket_answers(&gate, 1);
}

#[test]
fn a_body_that_never_ends_is_cut_off() {
    let gate = Gate::with(IMPATIENT);
    let before = peak_kib(&gate.daemon);
    let mut endless = connect(gate.address());
    let head = "POST /t/demo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    endless.write_all(head.as_bytes()).unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    // Until it is not taken any more.
    let mut sent = 0_u64;
    while endless.write_all(&chunk).is_ok() {
        sent += 1;
        assert!(sent < 4096, "256 MiB were taken");
    }
    let grown = peak_kib(&gate.daemon).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB for a body without an end");
    the_socket_answers(&gate, 1);
}

#[test]
fn a_head_that_is_too_long_or_no_head_is_refused() {
    let gate = Gate::new();
    let long = Request::post("/t/demo", &json!({})).header("X-Long", &"x".repeat(64 * 1024));
    let answer = gate.ask(&long);
    assert_eq!(answer.status, 431);
    let mut many = Request::post("/t/demo", &json!({}));
    many.headers
        .extend((0..200).map(|n| (format!("X-{n}"), "x".to_owned())));
    assert_eq!(gate.ask(&many).status, 431);
    for nonsense in [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "CONNECT example.org:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut stream = connect(gate.address());
        stream.write_all(nonsense.as_bytes()).unwrap();
        let mut rest = Vec::new();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut rest);
        assert!(
            !String::from_utf8_lossy(&rest).contains("success\":true"),
            "{nonsense:?}"
        );
    }
    the_socket_answers(&gate, 1);
}

#[test]
fn ten_thousand_connections_are_held_back_and_nobody_at_the_socket_notices() {
    let gate = Gate::with("[limits]\nanswer_timeout = \"2s\"\n");
    let address = gate.address();
    let before = peak_kib(&gate.daemon);
    // Half of them say something and then nothing more. What the backlog has no room for waits, or is refused.
    let open = |n: usize| {
        let timeout = std::time::Duration::from_millis(20);
        let mut stream = TcpStream::connect_timeout(&address, timeout).ok()?;
        if n.is_multiple_of(2) {
            let _ = stream.write_all(b"POST /t/demo HTTP/1.1\r\n");
        }
        Some(stream)
    };
    let mut held = Vec::new();
    let mut refused = 0;
    for n in 0..10_000 {
        // Of those that were let go in the meantime only as many are kept as this process has descriptors for.
        if held.len() > 3000 {
            held.drain(..1000);
        }
        match open(n) {
            Some(stream) => held.push(stream),
            None => refused += 1,
        }
        if n.is_multiple_of(500) {
            the_socket_answers(&gate, u64::try_from(n).unwrap());
        }
        if refused > 50 {
            break; // The backlog is full, and stays so.
        }
    }
    the_socket_answers(&gate, 20_001);
    let grown = peak_kib(&gate.daemon).saturating_sub(before);
    assert!(grown < 48 * 1024, "{grown} KiB for {} connections", held.len());
    drop(held);
    // And who comes after them is served.
    let request = Request::post("/t/demo", &json!({"event": "e", "userId": "u"}));
    eventually("a request is taken again", DEADLINE, || {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        stream.write_all(&request.bytes()).ok()?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).ok()?;
        (&answer == b"HTTP/1.1 200").then_some(())
    });
}

#[test]
fn another_users_process_is_refused_and_the_owners_is_not() {
    if !rustix::process::geteuid().is_root() {
        return skipped("root is needed to be somebody else");
    }
    let gate = Gate::new();
    let url = format!("http://{}/t/demo", gate.address());
    let curl = |uid: &str| {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            uid,
            "--regid",
            uid,
            "--clear-groups",
            "curl",
            "--silent",
            "--noproxy",
            "*",
        ]);
        command.args([
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-H",
            "Content-Type: application/json",
        ]);
        command.args(["-d", "{\"event\":\"e\"}", &url]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(curl("65534"), "403");
    assert_eq!(gate.queued(), 0);
    assert_eq!(curl("0"), "200");
    assert_eq!(gate.queued(), 1);
}

#[test]
fn large_requests_at_once_are_bounded_together() {
    let gate = Gate::new();
    let before = peak_kib(&gate.daemon);
    // A megabyte each, but for its last byte: twelve of them are more than all may have.
    let body = vec![b' '; 1024 * 1024];
    let request = Request::raw("/t/demo", body);
    let bytes = request.bytes();
    let mut streams: Vec<TcpStream> = (0..12).map(|_| connect(gate.address())).collect();
    for stream in &mut streams {
        let _ = stream.write_all(&bytes[..bytes.len() - 1]);
    }
    // Those that there is no room for are answered before their end.
    eventually("some are refused", DEADLINE, || {
        let answered = streams.iter().filter(|stream| {
            stream.set_nonblocking(true).unwrap();
            let peeked = stream.peek(&mut [0]);
            stream.set_nonblocking(false).unwrap();
            peeked.is_ok()
        });
        (answered.count() >= 4).then_some(())
    });
    for stream in &mut streams {
        let _ = stream.write_all(b" ");
        let status = Answer::of(stream).status;
        assert!(matches!(status, 400 | 503), "{status}");
    }
    let grown = peak_kib(&gate.daemon).saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB");
    assert_eq!(status(&gate.daemon)["daemon"]["phase"], "running");
    the_socket_answers(&gate, 1);
}
