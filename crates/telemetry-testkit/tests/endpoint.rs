//! The collector and what stands before it: expectations, refusal, faults of the wire, certificates.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use telemetry_testkit::sink::{Script, Step};
use telemetry_testkit::{Authority, Collector, DEADLINE, Events, Fault, Flaw, Proxy, eventually};

const BATCH: &str = "0198a6c2-7a41-7c3e-9f61-6a2c0d6b3a10";
const SHORT: Duration = Duration::from_millis(50);

fn id(number: u8) -> String {
    format!("0198a6c2-7a41-7c3e-9f61-6a2c0d6b3b{number:02x}")
}

/// A request as telemetryd makes it, of events of `demo`.
fn request(batch: &str, ids: &[String]) -> Vec<u8> {
    let event = |id: &String| format!(r#"{{"id":"{id}","tool":"demo","event":"run"}}"#);
    let events: Vec<String> = ids.iter().map(event).collect();
    let body = format!(r#"{{"batch_id":"{batch}","events":[{}]}}"#, events.join(","));
    format!(
        "POST /v1/events HTTP/1.1\r\nHost: sink\r\nUser-Agent: telemetryd/0.1.0\r\nContent-Type: application/json\r\n\
         Idempotency-Key: {batch}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn send(address: SocketAddr, bytes: &[u8]) -> io::Result<String> {
    send_for(address, bytes, DEADLINE)
}

fn send_for(address: SocketAddr, bytes: &[u8], wait: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(wait))?;
    stream.write_all(bytes)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn what_was_announced_arrives_without_a_complaint() {
    let collector = Collector::for_tool("demo");
    for number in 0..3 {
        let batch = format!("0198a6c2-7a41-7c3e-9f61-6a2c0d6b3a{number:02x}");
        let answer = send(collector.address(), &request(&batch, &[id(number)])).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    collector.wait_for_events(3);
    collector.wait_for_ids([id(0), id(1), id(2)]);
    assert_eq!(collector.events().len(), 3);
    assert_eq!(collector.batches().len(), 3);
    collector.finish();
}

/// What a collector says after these requests.
fn complaints(collector: Collector, requests: &[Vec<u8>]) -> Vec<String> {
    for request in requests {
        send(collector.address(), request).expect("it answers");
    }
    collector.into_complaints()
}

#[test]
fn each_thing_that_was_not_announced_is_complained_about() {
    let said = |builder: telemetry_testkit::CollectorBuilder, requests: &[Vec<u8>]| {
        complaints(builder.start(), requests)
    };
    let one = request(BATCH, &[id(1)]);
    let demo = || Collector::builder().expect_tool("demo");

    assert_eq!(said(demo(), std::slice::from_ref(&one)), [""; 0]);
    assert_eq!(
        said(
            Collector::builder().expect_tool("kedro"),
            std::slice::from_ref(&one)
        ),
        ["#1: an event of \"demo\", which was not announced"]
    );
    assert_eq!(
        said(Collector::builder().expect_any_tool(), std::slice::from_ref(&one)),
        [""; 0]
    );
    assert_eq!(
        said(demo(), &[one.clone(), one.clone()]),
        ["events arrived more than once, 1 times in all"]
    );
    assert_eq!(
        said(demo().expect_duplicates(), &[one.clone(), one.clone()]),
        [""; 0]
    );
    assert_eq!(
        said(demo(), &[one.clone(), request(BATCH, &[id(2)])]),
        [format!("#2: batch {BATCH} came with other events than in #1")]
    );
    let bare = b"POST / HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}".to_vec();
    assert_eq!(
        said(demo(), std::slice::from_ref(&bare)),
        ["#1: it cannot be decoded: line 1.id: every event has this string"]
    );
    assert_eq!(said(demo().expect_undecodable(), &[bare]), [""; 0]);
    let foreign = String::from_utf8(one.clone())
        .expect("text")
        .replace("telemetryd/0.1.0", "curl/8")
        .into_bytes();
    assert_eq!(
        said(demo(), std::slice::from_ref(&foreign)),
        ["#1: the User-Agent is Some(\"curl/8\")"]
    );
    assert_eq!(said(demo().expect_foreign_requests(), &[foreign]), [""; 0]);
    assert_eq!(
        said(Collector::builder().expect_nothing(), &[one]),
        ["#1: no request at all was expected"]
    );
}

#[test]
#[should_panic(expected = "an event of \"demo\", which was not announced")]
fn a_collector_fails_its_test_when_it_is_dropped() {
    let collector = Collector::builder().start();
    send(collector.address(), &request(BATCH, &[id(1)])).expect("it answers");
    drop(collector);
}

#[test]
#[should_panic(expected = "the test's own reason")]
fn a_collector_does_not_hide_the_reason_for_which_a_test_fails() {
    let collector = Collector::builder().start();
    send(collector.address(), &request(BATCH, &[id(1)])).expect("it answers");
    panic!("the test's own reason");
}

#[test]
fn an_endpoint_is_taken_away_and_given_back_on_the_same_port() {
    let mut collector = Collector::for_tool("demo");
    let address = collector.address();
    send(address, &request(BATCH, &[id(1)])).expect("it answers");
    collector.refuse_connections();
    let refused = send(address, &request(BATCH, &[id(2)])).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(collector.ids().len(), 1, "what was seen is kept");
    collector.resume();
    let batch = "0198a6c2-7a41-7c3e-9f61-6a2c0d6b3a11";
    send(address, &request(batch, &[id(2)])).expect("it answers again");
    assert_eq!(collector.ids().len(), 2);
}

#[test]
fn the_script_of_a_collector_can_be_changed() {
    let collector = Collector::builder()
        .script(Script::new().then(Step::status(503)))
        .expect_tool("demo")
        .start();
    let ask = || send(collector.address(), &request(BATCH, &[id(1)])).expect("it answers");
    assert!(ask().starts_with("HTTP/1.1 503"));
    collector.play(Script::new());
    assert!(ask().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_wire_forwards_until_it_is_told_to_fail() {
    let collector = Collector::builder()
        .expect_tool("demo")
        .expect_duplicates()
        .expect_undecodable()
        .start();
    let proxy = Proxy::start(collector.address(), Fault::None);
    let bytes = request(BATCH, &[id(1)]);
    let ask = || send(proxy.address(), &bytes);
    let good =
        |answer: &io::Result<String>| answer.as_ref().is_ok_and(|text| text.starts_with("HTTP/1.1 200"));
    assert!(good(&ask()));

    proxy.set(Fault::CutAnswer(10));
    assert_eq!(ask().expect("an end").len(), 10);
    proxy.set(Fault::ResetAnswer(0));
    assert_eq!(ask().expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    proxy.set(Fault::CutRequest(20));
    assert!(!good(&ask()));
    proxy.set(Fault::ResetRequest(20));
    assert!(!good(&ask()));
    proxy.set(Fault::ResetOnAccept);
    assert!(!good(&ask()));
    proxy.set(Fault::Slow(20_000));
    assert!(good(&ask()));
    for silent in [Fault::Stall, Fault::Swallow, Fault::NeverAccept] {
        proxy.set(silent);
        let error = send_for(proxy.address(), &bytes, SHORT).expect_err("silence");
        assert!(
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{silent:?}: {error}"
        );
    }
    proxy.set(Fault::None);
    assert!(good(&ask()));
}

#[test]
fn what_stalls_goes_on() {
    let collector = Collector::for_tool("demo");
    let proxy = Proxy::start(collector.address(), Fault::Stall);
    let address = proxy.address();
    let asking = std::thread::spawn(move || send(address, &request(BATCH, &[id(1)])));
    eventually("a connection comes", DEADLINE, || {
        (proxy.connections() == 1).then_some(())
    });
    assert_eq!(collector.counts().requests, 0);
    proxy.set(Fault::None);
    let answer = asking.join().expect("no panic").expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_wire_to_nobody_is_reset() {
    let mut collector = Collector::builder().start();
    collector.refuse_connections();
    let proxy = Proxy::start(collector.address(), Fault::None);
    send(proxy.address(), &request(BATCH, &[id(1)])).expect_err("nobody is there");
}

/// A TLS handshake by a client that trusts the authority, and one request.
fn send_tls(authority: &Authority, address: SocketAddr, bytes: &[u8]) -> io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority.ca_file()).expect("a certificate"))
        .expect("an authority");
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(address)?);
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    // The sink closes without a closing alert; what came before is what counts.
    if let Err(error) = stream.read_to_end(&mut answer)
        && error.kind() != ErrorKind::UnexpectedEof
    {
        return Err(error);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn certificates_are_right_expired_or_somebody_elses() {
    let authority = Authority::new();
    let bytes = request(BATCH, &[id(1)]);
    for (flaw, wanted) in [
        (Flaw::None, None),
        (Flaw::Expired, Some("Expired")),
        (Flaw::WrongName, Some("NotValidForName")),
    ] {
        let tls = authority.server(flaw).tls();
        let collector = Collector::builder().tls(tls).expect_tool("demo").start();
        assert!(collector.url_by_name().starts_with("https://localhost:"));
        let answer = send_tls(&authority, collector.address(), &bytes);
        match wanted {
            None => assert!(answer.expect("it answers").starts_with("HTTP/1.1 200")),
            Some(reason) => {
                let error = format!("{:?}", answer.expect_err("it is not trusted"));
                assert!(error.contains(reason), "{flaw:?}: {error}");
            }
        }
    }
    let identity = authority.server(Flaw::None);
    let (chain, key) = authority.write("server", &identity);
    assert_eq!(std::fs::read_to_string(chain).expect("a file"), identity.chain);
    assert_eq!(std::fs::read_to_string(key).expect("a file"), identity.key);
}

#[test]
fn generated_events_are_what_the_protocol_takes() {
    let limits = telemetry_protocol::limits::MAX_EVENT_BYTES;
    for line in Events::seeded(11).tool("kedro").ack("synced").take(500) {
        assert!(line.text.len() <= limits && !line.text.contains('\n'));
        let event = line.value();
        assert_eq!(event["id"], line.id);
        assert!(telemetry_protocol::limits::is_tool_name(
            event["tool"].as_str().expect("a tool")
        ));
        assert_eq!(event["ack"], "synced");
    }
}
