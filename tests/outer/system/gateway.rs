//! The gateway of a machine-wide daemon: a Unix socket, each request its sender's own.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use telemetry_testkit::{DEADLINE, Daemon, Home};

use super::{ANN, BEN, ROOT, builder, connect_as, machine};

fn path(home: &Home) -> PathBuf {
    home.runtime_dir().join("gateway.sock")
}

fn daemon(home: &Home, more: &str) -> Daemon {
    let listen = path(home).display().to_string();
    builder(home, &format!("[gateway]\nlisten = \"{listen}\"\n{more}")).start()
}

/// A connection that this user made.
#[track_caller]
fn http_as(path: &Path, uid: u32) -> UnixStream {
    let become_and_connect = || {
        let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(group, group, group).unwrap();
        set_thread_res_uid(user, user, user).unwrap();
        UnixStream::connect(path).unwrap()
    };
    let stream = std::thread::scope(|scope| scope.spawn(become_and_connect).join()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends one event; the status that is answered, none where the connection is closed.
fn post(stream: &mut UnixStream) -> Option<String> {
    let body = r#"{"event":"e","userId":"u"}"#;
    let head = "POST /t/demo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[9..]).into_owned())
}

#[test]
fn each_users_requests_are_its_own() {
    let Some(home) = machine() else { return };
    let daemon = daemon(&home, "");
    for (uid, events) in [(ANN, 2), (BEN, 1)] {
        for _ in 0..events {
            assert_eq!(post(&mut http_as(&path(&home), uid)).as_deref(), Some("200"));
        }
        let status = connect_as(&daemon.socket(), uid).ask(&serde_json::json!({"op": "status"}));
        assert_eq!(status["queue"]["events"], events, "{uid}");
    }
    let listen = serde_json::json!({"op": "status"});
    let status = connect_as(&daemon.socket(), ROOT).ask(&listen);
    assert_eq!(status["gateway"]["listen"], path(&home).display().to_string());
}

#[test]
fn one_users_connections_crowd_out_nobody_else() {
    let Some(home) = machine() else { return };
    let _daemon = daemon(&home, "[limits]\nmax_connections_per_user = 4\n");
    let mut held: Vec<UnixStream> = (0..4).map(|_| http_as(&path(&home), ANN)).collect();
    for stream in &mut held {
        assert_eq!(post(stream).as_deref(), Some("200"), "it is one of four");
    }
    assert_eq!(post(&mut http_as(&path(&home), ANN)), None, "a fifth is closed");
    assert_eq!(post(&mut http_as(&path(&home), BEN)).as_deref(), Some("200"));
}
