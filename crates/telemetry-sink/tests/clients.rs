//! The sink as a client of hyper sees it: keep-alive, HTTP/2, TLS, content codings, the counting modes.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use telemetry_sink::{Keep, Script, Sink, Step, Tls};
use tokio::net::{TcpListener, TcpStream};

fn ids(count: u32) -> Vec<String> {
    (0..count)
        .map(|number| format!("0198a6c2-7a41-7c3e-9f61-{number:012x}"))
        .collect()
}

fn lines(ids: &[String]) -> String {
    ids.iter()
        .map(|id| format!("{{\"id\":\"{id}\",\"tool\":\"demo\",\"event\":\"run\"}}\n"))
        .collect()
}

fn post(content_type: &str, coding: Option<&str>, body: Vec<u8>) -> Request<Full<Bytes>> {
    let mut request = Request::post("http://sink/v1/events").header("content-type", content_type);
    if let Some(coding) = coding {
        request = request.header("content-encoding", coding);
    }
    request.body(Full::new(Bytes::from(body))).expect("a request")
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

async fn http1(address: SocketAddr) -> http1::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("the sink listens");
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    sender
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).expect("into memory");
    encoder.finish().expect("into memory")
}

#[tokio::test]
async fn one_connection_carries_batches_in_every_coding() {
    let sink = Sink::new(Script::new(), Keep::Everything);
    let handle = sink.start(listener().await).expect("the sink starts");
    let mut client = http1(handle.address()).await;
    let ids = ids(9);
    let plain = lines(&ids[..3]).into_bytes();
    let zipped = gzip(lines(&ids[3..6]).as_bytes());
    let zstd = zstd::stream::encode_all(lines(&ids[6..]).as_bytes(), 3).expect("into memory");
    for (coding, body) in [(None, plain), (Some("gzip"), zipped), (Some("zstd"), zstd)] {
        client.ready().await.expect("the connection is kept");
        let answer = client
            .send_request(post("application/x-ndjson", coding, body))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        answer.into_body().collect().await.expect("a whole body");
    }
    let mut seen: Vec<String> = sink.memory().with(|seen| seen.ids().collect());
    seen.sort();
    assert_eq!(seen, ids);
    let corrupt = client
        .send_request(post("application/x-ndjson", Some("gzip"), b"no gzip".to_vec()))
        .await;
    assert_eq!(corrupt.expect("an answer").status(), StatusCode::BAD_REQUEST);
    handle.stop().await;
}

#[tokio::test]
async fn a_cut_that_an_answer_is_too_short_for_does_not_hit_the_next() {
    let sink = Sink::new(Script::new().then(Step::half(100_000).times(1)), Keep::Everything);
    let handle = sink.start(listener().await).expect("the sink starts");
    let mut client = http1(handle.address()).await;
    for number in 1..=20 {
        client.ready().await.expect("the connection is kept");
        let body = "x".repeat(10_000).into_bytes(); // 400 with the reason, whatever it is
        let answer = client
            .send_request(post("application/x-ndjson", None, body))
            .await
            .expect("an answer");
        assert!(
            answer.into_body().collect().await.is_ok(),
            "answer {number} is whole"
        );
    }
}

#[tokio::test]
async fn every_request_is_told_to_who_asked() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&told);
    let sink = Sink::with(Script::new(), Keep::Last(1), None, move |received| {
        teller.lock().expect("no panic before").push(received.render());
    });
    let handle = sink.start(listener().await).expect("the sink starts");
    let mut client = http1(handle.address()).await;
    client
        .send_request(post("application/x-ndjson", None, lines(&ids(1)).into_bytes()))
        .await
        .expect("an answer");
    let told = told.lock().expect("no panic before");
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("ndjson 1 event") && told[0].contains("demo  run"),
        "{}",
        told[0]
    );
}

#[tokio::test]
async fn counting_finds_ids_without_parsing() {
    for (keep, unique) in [(Keep::Ids, 500), (Keep::Counts, 0)] {
        let sink = Sink::new(Script::new(), keep);
        let handle = sink.start(listener().await).expect("the sink starts");
        let mut client = http1(handle.address()).await;
        for _ in 0..2 {
            client.ready().await.expect("the connection is kept");
            let body = gzip(lines(&ids(500)).as_bytes());
            let answer = client
                .send_request(post("application/x-ndjson", Some("gzip"), body))
                .await;
            answer
                .expect("an answer")
                .into_body()
                .collect()
                .await
                .expect("a whole body");
        }
        let counts = sink.memory().counts();
        assert_eq!(
            (counts.batches, counts.events, counts.unique),
            (2, 1000, unique),
            "{keep:?}"
        );
        assert_eq!(counts.duplicates, unique, "{keep:?}");
        assert_eq!(sink.memory().with(|seen| seen.requests().count()), 0);
    }
}

#[tokio::test]
async fn http2_is_spoken_and_its_faults_end_the_connection() {
    let sink = Sink::new(Script::new().then(Step::close().nth(2)), Keep::Everything);
    let handle = sink.start(listener().await).expect("the sink starts");
    let connect = async || {
        let stream = TcpStream::connect(handle.address())
            .await
            .expect("the sink listens");
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        sender
    };
    let request = |number: u32| post("application/x-ndjson", None, lines(&ids(number)).into_bytes());
    let mut client = connect().await;
    let answer = client.send_request(request(1)).await.expect("an answer");
    assert_eq!(
        (answer.status(), answer.version()),
        (StatusCode::OK, Version::HTTP_2)
    );
    client
        .send_request(request(2))
        .await
        .expect_err("the script closes");
    let answer = connect().await.send_request(request(3)).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let versions = sink
        .memory()
        .with(|seen| seen.requests().map(|one| one.version.clone()).collect::<Vec<_>>());
    assert_eq!(versions, ["HTTP/2.0", "HTTP/2.0", "HTTP/2.0"]);
}

#[tokio::test]
async fn tls_is_served_with_the_certificate_that_was_given() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = made.signing_key.serialize_pem();
    let tls = Tls::from_pem(made.cert.pem().as_bytes(), key.as_bytes()).expect("they fit");
    let sink = Sink::with(
        Script::new().then(Step::half(30).nth(2)),
        Keep::Everything,
        Some(tls),
        |_| {},
    );
    assert_eq!(sink.scheme(), "https");
    let handle = sink.start(listener().await).expect("the sink starts");

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for number in 1..=2 {
        let stream = TcpStream::connect(handle.address())
            .await
            .expect("the sink listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = connector
            .connect(name, stream)
            .await
            .expect("the certificate is known");
        let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        let answer = client
            .send_request(post("application/x-ndjson", None, lines(&ids(1)).into_bytes()))
            .await;
        assert_eq!(answer.is_ok(), number == 1, "request {number}: {answer:?}");
    }
    assert_eq!(sink.memory().counts().requests, 2);
}

#[test]
fn a_certificate_and_a_key_that_do_not_fit_are_refused() {
    let one = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = other.signing_key.serialize_pem();
    assert!(Tls::from_pem(one.cert.pem().as_bytes(), key.as_bytes()).is_err());
    assert!(Tls::from_pem(b"", key.as_bytes()).is_err());
    assert!(Tls::from_pem(one.cert.pem().as_bytes(), b"").is_err());
}
