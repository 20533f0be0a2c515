//! Every action of a script over a real connection, seen by a client that reads bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use telemetry_sink::{Deduplicate, Echo, Keep, Script, Sink, SinkThread, Step};

const ID: &str = "0198a6c2-7a41-7c3e-9f61-6a2c0d6b3a10";
const GENEROUS: Duration = Duration::from_secs(20);

/// A sink that plays a script, and the thread that it runs in.
fn sink(script: Script) -> (Sink, SinkThread) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let sink = Sink::new(script, Keep::Everything);
    let thread = sink.start_in_thread(listener).expect("a thread with a runtime");
    (sink, thread)
}

fn batch(ids: &[&str]) -> String {
    let events: Vec<String> = ids
        .iter()
        .map(|id| {
            format!(
                r#"{{"id":"{id}","tool":"demo","event":"run","properties":{{"poison":{}}}}}"#,
                *id == "bad"
            )
        })
        .collect();
    format!(r#"{{"batch_id":"{ID}","events":[{}]}}"#, events.join(","))
}

fn request(body: &str) -> Vec<u8> {
    format!(
        "POST /v1/events HTTP/1.1\r\nHost: sink\r\nContent-Type: application/json\r\nIdempotency-Key: {ID}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What came back until the connection ended, and whether it ended by a reset.
#[derive(Debug)]
struct Answer {
    text: String,
    reset: bool,
}

impl Answer {
    fn status(&self) -> u16 {
        let status = self.text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        status
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("no status in {self:?}"))
    }

    fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}

fn exchange(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("the sink listens");
    stream
        .set_read_timeout(Some(GENEROUS))
        .expect("a timeout that is not zero");
    // A sink that ends early may not take all of it.
    let sent = stream.write_all(bytes);
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    let reset = loop {
        match stream.read(&mut piece) {
            Ok(0) => break false,
            Ok(length) => read.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break true,
            Err(error) => panic!("{error}, after {sent:?}"),
        }
    };
    Answer {
        text: String::from_utf8_lossy(&read).into_owned(),
        reset,
    }
}

fn post(thread: &SinkThread, ids: &[&str]) -> Answer {
    exchange(thread.address(), &request(&batch(ids)))
}

#[test]
fn without_a_script_all_is_well_and_remembered() {
    let (sink, thread) = sink(Script::new());
    let answer = post(&thread, &["a", "b"]);
    assert_eq!((answer.status(), answer.body()), (200, r#"{"success":true}"#));
    let counts = sink.memory().counts();
    assert_eq!((counts.requests, counts.batches, counts.unique), (1, 1, 2));
    sink.memory().with(|seen| {
        let received = seen.requests().next().expect("the request");
        assert_eq!((received.number, received.path.as_str()), (1, "/v1/events"));
        assert_eq!(
            (received.batch_id(), received.idempotency_key()),
            (Some(ID), Some(ID))
        );
        assert_eq!(received.version, "HTTP/1.1");
        assert_eq!(&received.body[..], batch(&["a", "b"]).as_bytes());
    });
}

#[test]
fn a_body_that_cannot_be_decoded_is_answered_400_with_the_reason() {
    let (sink, thread) = sink(Script::new());
    let answer = exchange(thread.address(), &request("{\"batch_id\":7}"));
    assert_eq!(answer.status(), 400);
    assert!(
        answer.body().contains("a batch has an array of events"),
        "{answer:?}"
    );
    let get = exchange(
        thread.address(),
        b"GET / HTTP/1.1\r\nHost: sink\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(get.status(), 400);
    assert!(get.body().contains("batches come by POST"), "{get:?}");
    assert_eq!(sink.memory().counts().undecodable, 2);
}

#[test]
fn a_status_comes_with_its_headers_so_often_and_then_all_is_well() {
    let step = Step::status(429)
        .header("Retry-After", "7")
        .body("slow down")
        .content_type("text/plain");
    let (sink, thread) = sink(Script::new().then(step.times(2)));
    for _ in 0..2 {
        let answer = post(&thread, &["a"]);
        assert_eq!((answer.status(), answer.body()), (429, "slow down"));
        assert!(
            answer.text.contains("retry-after: 7\r\n")
                && answer.text.contains("content-type: text/plain\r\n")
        );
    }
    assert_eq!(post(&thread, &["a"]).status(), 200);
    let counts = sink.memory().counts();
    assert_eq!(
        (counts.requests, counts.batches, counts.refused, counts.duplicates),
        (3, 1, 2, 0)
    );
}

#[test]
fn what_is_too_large_or_poisoned_is_refused_and_the_rest_is_taken() {
    let large = batch(&["a"]).len() as u64;
    let script = Script::new()
        .then(Step::too_large(large))
        .then(Step::status(422).property("poison", Some(true.into())));
    let (sink, thread) = sink(script);
    assert_eq!(post(&thread, &["a", "b"]).status(), 413);
    assert_eq!(post(&thread, &["a"]).status(), 200);
    sink.play(Script::new().then(Step::status(422).property("poison", Some(true.into()))));
    assert_eq!(post(&thread, &["b", "bad"]).status(), 422);
    assert_eq!(post(&thread, &["b", "c"]).status(), 200);
    assert_eq!(
        sink.memory().with(|seen| (seen.times("b"), seen.times("bad"))),
        (1, 0)
    );
}

#[test]
fn a_hang_answers_after_its_time() {
    let (sink, thread) = sink(Script::new().then(Step::hang(Duration::from_millis(50))));
    assert_eq!(post(&thread, &["a"]).status(), 200);
    assert_eq!(sink.memory().counts().batches, 1);
}

#[test]
fn a_hang_for_ever_says_nothing_and_does_not_hold_the_sink() {
    let (sink, thread) = sink(Script::new().then(Step::hang_for_ever().times(1)));
    let mut hanging = TcpStream::connect(thread.address()).expect("the sink listens");
    hanging
        .write_all(&request(&batch(&["a"])))
        .expect("the sink reads");
    let came = sink
        .memory()
        .wait(GENEROUS, |seen| (seen.counts().requests == 1).then_some(()));
    assert!(came.is_some(), "the request is read");
    hanging
        .set_read_timeout(Some(Duration::from_millis(30)))
        .expect("a timeout that is not zero");
    let silence = hanging.read(&mut [0; 16]).expect_err("nothing is said");
    assert!(
        matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{silence}"
    );
    assert_eq!(post(&thread, &["b"]).status(), 200, "others are served meanwhile");
    drop(thread); // ends, although a connection hangs
    hanging
        .set_read_timeout(Some(GENEROUS))
        .expect("a timeout that is not zero");
    assert!(
        matches!(hanging.read(&mut [0; 16]), Ok(0) | Err(_)),
        "a sink that ends takes its connections along"
    );
}

#[test]
fn a_reset_comes_in_the_middle_of_the_body_or_after_it() {
    let (sink, thread) = sink(
        Script::new()
            .then(Step::reset_after(10).times(1))
            .then(Step::reset().times(1)),
    );
    let early = post(&thread, &["a"]);
    assert!(early.reset && early.text.is_empty(), "{early:?}");
    let late = post(&thread, &["a"]);
    assert!(late.reset && late.text.is_empty(), "{late:?}");
    assert_eq!(post(&thread, &["a"]).status(), 200);
    let counts = sink.memory().counts();
    assert_eq!((counts.undecodable, counts.refused, counts.unique), (1, 1, 1));
}

#[test]
fn a_close_and_a_half_answer_end_the_connection() {
    let (sink, thread) = sink(
        Script::new()
            .then(Step::close().times(1))
            .then(Step::half(20).times(1)),
    );
    let closed = post(&thread, &["a"]);
    assert!(closed.text.is_empty(), "{closed:?}");
    let half = post(&thread, &["a"]);
    assert_eq!(half.text.len(), 20, "{half:?}");
    assert!(half.text.starts_with("HTTP/1.1 200"), "{half:?}");
    assert_eq!(sink.memory().counts().batches, 0);
}

#[test]
fn an_endpoint_can_store_and_fail_to_say_so() {
    let (sink, thread) = sink(Script::new().then(Step::close().store(true).times(1)));
    assert!(post(&thread, &["a"]).text.is_empty());
    assert_eq!(post(&thread, &["a"]).status(), 200);
    assert_eq!(sink.memory().counts().duplicates, 1);
}

#[test]
fn an_endpoint_that_knows_idempotency_keys_stores_once() {
    let script = Script::new()
        .then(Step::close().store(true).times(1))
        .deduplicate(Deduplicate::Batch);
    let (sink, thread) = sink(script);
    assert!(post(&thread, &["a"]).text.is_empty());
    let answer = post(&thread, &["a"]);
    assert_eq!(
        (answer.status(), answer.body()),
        (200, r#"{"duplicate":true,"success":true}"#)
    );
    let counts = sink.memory().counts();
    assert_eq!(
        (
            counts.batches,
            counts.repeated_batches,
            counts.unique,
            counts.duplicates
        ),
        (1, 1, 1, 0)
    );
}

#[test]
fn a_captive_portal_answers_with_a_page_or_a_redirect() {
    let script = Script::new()
        .then(Step::captive_redirect("http://portal.invalid/").times(1))
        .then(Step::captive());
    let (sink, thread) = sink(script);
    let redirect = post(&thread, &["a"]);
    assert_eq!(redirect.status(), 302);
    assert!(
        redirect.text.contains("location: http://portal.invalid/\r\n"),
        "{redirect:?}"
    );
    let page = post(&thread, &["a"]);
    assert_eq!(page.status(), 200);
    assert!(
        page.text.contains("content-type: text/html") && page.body().starts_with("<!DOCTYPE html>"),
        "{page:?}"
    );
    assert_eq!(sink.memory().counts().batches, 0);
}

#[test]
fn a_slow_answer_trickles_and_comes_whole() {
    let (_sink, thread) = sink(Script::new().then(Step::slow(200)));
    let answer = post(&thread, &["a"]);
    assert_eq!((answer.status(), answer.body()), (200, r#"{"success":true}"#));
}

#[test]
fn garbage_and_an_oversized_answer_are_written_as_they_are() {
    let script = Script::new()
        .then(Step::garbage(b"\0\x01 no HTTP").times(1))
        .then(Step::oversized(300_000));
    let (_sink, thread) = sink(script);
    assert_eq!(post(&thread, &["a"]).text, "\0\x01 no HTTP");
    assert_eq!(post(&thread, &["a"]).body().len(), 300_000);
}

#[test]
fn the_batchs_id_is_echoed_where_it_is_asked_for_or_another_is() {
    let script = Script::new()
        .then(Step::echo(Echo::Header).times(1))
        .then(Step::wrong_id(Echo::Body).times(1))
        .echo(Echo::Body);
    let (_sink, thread) = sink(script);
    assert!(
        post(&thread, &["a"])
            .text
            .contains(&format!("x-batch-id: {ID}\r\n"))
    );
    let wrong = post(&thread, &["a"]);
    assert!(
        wrong.status() == 200 && wrong.body().contains("batch_id") && !wrong.text.contains(ID),
        "{wrong:?}"
    );
    assert_eq!(
        post(&thread, &["a"]).body(),
        format!(r#"{{"batch_id":"{ID}","success":true}}"#)
    );
}

#[test]
fn what_belongs_to_a_sink_outlives_its_listener() {
    let (sink, thread) = sink(Script::new().then(Step::status(503).times(2)));
    assert_eq!(post(&thread, &["a"]).status(), 503);
    let address = thread.address();
    drop(thread);
    let refused = TcpStream::connect(address).expect_err("nobody listens any more");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let again = sink
        .start_in_thread(TcpListener::bind("127.0.0.1:0").expect("a free port"))
        .expect("a thread");
    assert_eq!(post(&again, &["a"]).status(), 503);
    assert_eq!(post(&again, &["a"]).status(), 200);
    let numbers = sink.memory().with(|seen| {
        seen.requests()
            .map(|received| received.number)
            .collect::<Vec<_>>()
    });
    assert_eq!(numbers, [1, 2, 3]);
}
