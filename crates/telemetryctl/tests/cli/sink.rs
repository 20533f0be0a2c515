//! `sink`: its URL first, then what arrives; and what a script makes of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use crate::world::World;

struct Endpoint {
    child: Child,
    out: BufReader<ChildStdout>,
    address: String,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(world: &World, more: &[&str]) -> Endpoint {
    let mut command = world.command(&[&["sink"][..], more].concat());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let first = line(&mut out);
    let url = match serde_json::from_str::<Value>(&first) {
        Ok(value) => value["url"].as_str().unwrap().to_owned(),
        Err(_) => first,
    };
    let address = url
        .strip_prefix("http://")
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    Endpoint { child, out, address }
}

fn line(out: &mut impl BufRead) -> String {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn post(endpoint: &Endpoint) -> String {
    let body = r#"{"batch_id":"b1","sent_at":"2026-11-21T10:00:00Z","source":{},"losses":{"evicted":0,"expired":0,"quota":0},"events":[{"id":"e1","tool":"kedro","event":"ran","properties":{"n":1}}]}"#;
    post_body(endpoint, "application/json", body.as_bytes())
}

fn post_body(endpoint: &Endpoint, content_type: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(&endpoint.address).unwrap();
    write!(
        stream,
        "POST /v1/events HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn what_arrives_is_shown_to_a_person_and_kept_in_a_file() {
    let world = World::new();
    let mut endpoint = start(&world, &["--out", "requests.ndjson"]);
    assert!(post(&endpoint).starts_with("HTTP/1.1 200"));
    let shown: Vec<String> = (0..4).map(|_| line(&mut endpoint.out)).collect();
    assert!(
        shown[0].starts_with("#1 POST /v1/events") && shown[0].contains("batch b1"),
        "{shown:?}"
    );
    assert!(shown[2].contains("properties.n = 1"), "{shown:?}");
    let kept: Value = serde_json::from_str(&world.read("requests.ndjson")).unwrap();
    assert_eq!(kept["events"][0]["id"], "e1");
}

#[test]
fn json_is_one_object_a_line_and_a_script_misbehaves() {
    let world = World::new();
    world.write(
        "script.toml",
        "[[step]]\naction = \"status\"\nstatus = 503\ntimes = 1\n",
    );
    let mut endpoint = start(&world, &["--script", "script.toml", "--json"]);
    assert!(post(&endpoint).starts_with("HTTP/1.1 503"));
    assert!(post(&endpoint).starts_with("HTTP/1.1 200"));
    let status = |text: String| serde_json::from_str::<Value>(&text).unwrap()["status"].as_u64();
    assert_eq!(status(line(&mut endpoint.out)), Some(503));
    assert_eq!(status(line(&mut endpoint.out)), Some(200));
}

#[test]
fn a_script_with_mistakes_is_told_with_their_lines() {
    let world = World::new();
    world.write("script.toml", "[[step]]\naction = \"explode\"\n");
    let ended = world.run(&["sink", "--script", "script.toml"]);
    assert_eq!((ended.code, ended.out.as_str()), (78, ""));
    assert!(
        ended
            .err
            .contains("script.toml is not a script\n  caused by: line 2: "),
        "{}",
        ended.err
    );
    assert_eq!(world.run(&["sink", "--script", "absent.toml"]).code, 1);
}

#[test]
fn events_in_every_encoding_are_shown() {
    let golden = |name: &str| {
        let place = concat!(env!("CARGO_MANIFEST_DIR"), "/../telemetry-delivery/tests/golden/");
        std::fs::read(format!("{place}{name}")).unwrap()
    };
    let hex = golden("otlp.hex");
    let digits: Vec<u8> = hex.into_iter().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let protobuf: Vec<u8> = digits.chunks(2).map(byte).collect();
    let world = World::new();
    let mut endpoint = start(&world, &[]);
    for (content_type, body, encoding) in [
        ("application/json", golden("mapped/batch.json"), "json"),
        ("application/x-ndjson", golden("mapped/batch.ndjson"), "ndjson"),
        ("application/x-ndjson", golden("text.ndjson"), "ndjson"),
        ("application/json", golden("segment.json"), "segment"),
        ("application/json", golden("segment-track.json"), "segment"),
        ("application/json", golden("heap.json"), "heap"),
        ("application/json", golden("heap-track.json"), "heap"),
        ("application/json", golden("posthog.json"), "posthog"),
        ("application/json", golden("otlp.json"), "otlp"),
        ("application/x-protobuf", protobuf, "otlp"),
        ("application/json", golden("mapped/mapped.json"), "mapped"),
    ] {
        let answer = post_body(&endpoint, content_type, &body);
        assert!(answer.starts_with("HTTP/1.1 200"), "{encoding}: {answer}");
        let mut shown = Vec::new();
        while !shown
            .last()
            .is_some_and(|last: &String| last.starts_with("  -> 200"))
        {
            shown.push(line(&mut endpoint.out));
        }
        let shown = shown.join("\n");
        assert!(shown.contains(&format!("  {encoding} ")), "{shown}");
        assert!(
            shown.contains("kedro run --pipeline *****"),
            "{encoding}: {shown}"
        );
    }
}
