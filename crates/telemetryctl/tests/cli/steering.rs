//! Commands that change what the daemon does: what they ask, what they answer with.

use serde_json::json;

use crate::world::{Reply, World, line};

const STATUS: &str = r#"{"ok":true,"daemon":{"version":"0.1.0","pid":7,"mode":"user","phase":"running","socket":"/s"},"telemetry":{"verdict":"deny","by":"machine","source":"/etc/telemetryd/opt-out"},"queue":{"events":3,"bytes":1536,"max_bytes":67108864,"oldest":"2026-11-21T10:00:00.000Z"},"destinations":[{"name":"default","encoding":"json","state":"held","reason":"401","next_try":null,"last_error":"the endpoint answered 401","queued":3,"max_bytes_learned":null}],"tools":[{"tool":"kedro","verdict":"deny","by":"machine","source":"/etc/telemetryd/opt-out","queued":3,"delivered":5,"lost":{"expired":2},"declined":{"machine":4}}],"books":[{"uid":1000,"destination":"default","tool":"kedro","accepted":10,"delivered":5,"parked":0,"queued":3,"evicted":0,"expired":2,"purged":0,"lost":0}]}"#;

#[test]
fn status_json_is_the_daemons_object_without_ok() {
    let world = World::new();
    let daemon = world.daemon(|_| line(STATUS));
    let ended = world.run(&["status", "--json"]);
    assert_eq!(ended.out, STATUS.replacen("\"ok\":true,", "", 1) + "\n");
    assert_eq!(daemon.next(), json!({"op":"status"}));
}

#[test]
fn status_is_one_screen_that_says_what_is_off_and_why() {
    let world = World::new();
    let _daemon = world.daemon(|_| line(STATUS));
    let screen = world.run(&["status"]).out;
    for part in [
        "telemetryd 0.1.0",
        "user mode, pid 7, running",
        "off, by machine: /etc/telemetryd/opt-out",
        "3 events, 1.5 KiB of 64.0 MiB",
        "default: 401",
        "2 expired",
        "4 machine",
        "the books balance",
    ] {
        assert!(screen.contains(part), "{part}\n{screen}");
    }
    let unbalanced = World::new();
    let _daemon = unbalanced.daemon(|_| line(&STATUS.replace("\"accepted\":10", "\"accepted\":11")));
    assert!(unbalanced.run(&["status"]).out.contains("do not balance"));
}

#[test]
fn pause_resume_and_stop_ask_for_what_was_said() {
    let world = World::new();
    let daemon = world.daemon(|request| match request["op"].as_str() {
        Some("stop") => line(r#"{"ok":true,"status":"stopping"}"#),
        Some("pause") => line(r#"{"ok":true,"status":"paused"}"#),
        _ => line(r#"{"ok":true,"status":"resumed"}"#),
    });
    let ended = world.run(&["pause", "--for", "2h", "--destination", "d", "--json"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "{\"status\":\"paused\"}\n"));
    assert_eq!(
        daemon.next(),
        json!({"op":"pause","destination":"d","for_ms":7_200_000})
    );
    assert_eq!(world.run(&["resume"]).code, 0);
    assert_eq!(daemon.next(), json!({"op":"resume","destination":null}));
}

#[test]
fn stop_waits_until_the_daemon_has_gone() {
    let world = World::new();
    // The answer, and then the end of the connection: what a daemon that ends looks like.
    let socket = world.path("run/d.sock");
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    let server = std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = String::new();
        BufReader::new(stream.try_clone().unwrap())
            .read_line(&mut request)
            .unwrap();
        writeln!(stream, r#"{{"ok":true,"status":"stopping"}}"#).unwrap();
        request
    });
    let ended = world.run(&["stop", "--drain", "250ms"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, "stopped\n"));
    assert!(server.join().unwrap().contains("\"drain_ms\":250"));
}

#[test]
fn flush_tells_done_from_stuck_and_from_too_slow() {
    for (answer, code, said) in [
        (
            r#"{"ok":true,"settled":3,"left":0,"timed_out":false,"why":[]}"#,
            0,
            "3 events settled, nothing is left",
        ),
        (
            r#"{"ok":true,"settled":1,"left":2,"timed_out":false,"why":[{"destination":"d","state":"held","reason":"401"}]}"#,
            1,
            "destination d is held: 401",
        ),
        (
            r#"{"ok":true,"settled":1,"left":2,"timed_out":true,"why":[{"destination":"d","state":"backoff","last_error":"refused"}]}"#,
            5,
            "the time was over",
        ),
        (
            r#"{"ok":true,"settled":0,"left":2}"#,
            5,
            "0 events settled, 2 left",
        ),
    ] {
        let world = World::new();
        let daemon = world.daemon(move |_| line(answer));
        let ended = world.run(&["flush", "--wait", "--timeout", "1s"]);
        assert_eq!(ended.code, code, "{answer}");
        assert!(ended.err.contains(said), "{said}\n{}", ended.err);
        let request = json!({"op":"flush","destination":null,"wait":true,"timeout_ms":1000});
        assert_eq!(daemon.next(), request);
        let value = world.run(&["flush", "--wait", "--json"]).value();
        assert!(value["settled"].is_u64() && value["left"].is_u64() && value.get("ok").is_none());
    }
}

#[test]
fn without_wait_flush_only_asks() {
    let world = World::new();
    let daemon = world.daemon(|_| line(r#"{"ok":true,"settled":0,"left":9}"#));
    assert_eq!(world.run(&["flush"]).code, 0);
    assert_eq!(daemon.next()["wait"], false);
}

#[test]
fn a_bad_configuration_is_told_with_its_lines_and_is_78() {
    let world = World::new();
    let _daemon = world.daemon(|_| {
        line(r#"{"ok":false,"error":"invalid_event","message":"bad","problems":[{"file":"/c.toml","line":3,"key":"queue.max_age","message":"found 3","hint":"say 3d"}]}"#)
    });
    let ended = world.run(&["reload"]);
    assert_eq!((ended.code, ended.out.as_str()), (78, ""));
    assert!(
        ended
            .err
            .starts_with("error: /c.toml:3: queue.max_age: found 3\n  hint: say 3d\n"),
        "{}",
        ended.err
    );
    let ended = world.run(&["reload", "--json"]);
    assert_eq!((ended.code, ended.value()["line"].as_u64()), (78, Some(3)));
}

#[test]
fn queue_changes_say_how_many() {
    let world = World::new();
    let daemon = world.daemon(|request| match request["action"].as_str() {
        Some("purge") => line(r#"{"ok":true,"purged":12}"#),
        _ => line(r#"{"ok":true,"requeued":1}"#),
    });
    let ended = world.run(&["queue", "purge", "--all", "--json"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "{\"purged\":12}\n"));
    assert_eq!(daemon.next()["action"], "purge");
    assert_eq!(world.run(&["queue", "requeue"]).err, "1 event requeued\n");
}

#[test]
fn doctor_tells_a_daemon_that_hangs_from_one_that_is_not_there() {
    let world = World::new();
    let ended = world.run(&["doctor", "--json"]);
    assert_eq!(ended.code, 3, "{}", ended.out);
    let failed = |values: &[serde_json::Value]| -> Vec<String> {
        let failed = values.iter().filter(|check| check["state"] == "fail");
        failed
            .map(|check| check["check"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(failed(&ended.values()), ["socket"]);

    let _daemon = world.daemon(|_| Reply::Silence);
    let ended = world.run(&["doctor", "--json"]);
    assert_eq!(ended.code, 1);
    let wedged = &ended.values()[0];
    assert!(
        wedged["detail"].as_str().unwrap().contains("does not answer"),
        "{wedged}"
    );
    assert!(wedged["hint"].is_string());
}

#[test]
fn doctor_adds_the_daemons_half() {
    let world = World::new();
    let _daemon = world.daemon(|request| match request["op"].as_str() {
        Some("hello") => line(r#"{"ok":true,"protocol":1,"server":"telemetryd/0.0.9","mode":"user","pid":7}"#),
        _ => line(r#"{"ok":true,"checks":[{"check":"books","state":"fail","detail":"1 do not balance","hint":"report"}]}"#),
    });
    let ended = world.run(&["doctor"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.out.contains("fail  books") && ended.out.contains("hint: report"),
        "{}",
        ended.out
    );
    assert!(
        ended.out.contains("warn  versions") && ended.out.contains("0.0.9"),
        "{}",
        ended.out
    );
}

#[test]
fn doctor_tells_what_it_may_where_a_probe_is_roots() {
    let world = World::new();
    let daemon = world.daemon(|request| match request["op"].as_str() {
        Some("hello") => {
            line(r#"{"ok":true,"protocol":1,"server":"telemetryd/0.1.0","mode":"system","pid":7}"#)
        }
        _ if request["probe"] == true => {
            line(r#"{"ok":false,"error":"not_allowed","message":"doctor with probe: it is root's"}"#)
        }
        _ => {
            line(r#"{"ok":true,"checks":[{"check":"books","state":"ok","detail":"1 balance","hint":null}]}"#)
        }
    });
    let ended = world.run(&["doctor", "--probe", "--json"]);
    let checks = ended.values();
    let says = |check: &str, state: &str| {
        assert!(
            checks
                .iter()
                .any(|line| line["check"] == check && line["state"] == state),
            "{check} {state}: {checks:#?}"
        );
    };
    says("books", "ok");
    says("probe", "warn");
    let asked = [daemon.next(), daemon.next(), daemon.next()].map(|request| request["probe"].clone());
    assert_eq!(asked[1..], [true, false]);
}
