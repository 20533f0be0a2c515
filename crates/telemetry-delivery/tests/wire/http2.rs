//! HTTP/2, where the server chooses it by ALPN.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use telemetry_delivery::{ANSWER_MAX, Auth, Batch, Cause, Client, Event, Secret, Verdict};
use tokio_rustls::TlsAcceptor;

use crate::server::{BATCH, Open, Server, batch};
use crate::tls::{Authority, server_config};

/// What an HTTP/2 server does with a request: the number of the request on its connection, and the body.
type Answer = fn(u32, Bytes) -> Response<Full<Bytes>>;

async fn server(authority: &Authority, answer: Answer) -> Server {
    let acceptor = TlsAcceptor::from(server_config(&authority.localhost(), b"h2"));
    Server::start(move |peer| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(peer.stream).await.unwrap();
            let count = Arc::new(AtomicU32::new(0));
            let service = service_fn(|request: Request<Incoming>| {
                let count = Arc::clone(&count);
                async move {
                    let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                    assert_eq!(request.version(), Version::HTTP_2);
                    assert_eq!(request.uri().path(), "/v1/events");
                    assert_eq!(request.uri().scheme_str(), Some("https"));
                    assert_eq!(request.headers()["idempotency-key"], BATCH.to_string().as_str());
                    assert_eq!(request.headers()["authorization"], "Bearer tok-1234");
                    assert!(!request.headers().contains_key("host"));
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    Ok::<_, Infallible>(answer(number, body))
                }
            });
            let connection =
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
            // However it ends.
            let _ = connection.await;
            peer.seen.closed.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await
}

fn client(authority: &Authority, server: &Server) -> Client {
    let mut destination = authority.trusted_by(server);
    destination.auth = Auth::Bearer(Secret::Inline("tok-1234".to_owned()));
    destination.timeout = Duration::from_secs(5);
    Client::new(&destination, "0.1.0").unwrap()
}

fn ok(body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::new(Full::new(body.into()))
}

#[tokio::test]
async fn a_burst_goes_over_one_connection_that_rest_closes() {
    let authority = Authority::new();
    let server = server(&authority, |_, body| {
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["batch_id"], BATCH.to_string());
        ok("{}")
    })
    .await;
    let mut client = client(&authority, &server);
    for _ in 0..5 {
        let report = client.send(&batch(), &Open).await;
        assert_eq!(
            (report.verdict, report.status),
            (Verdict::Delivered, Some(200)),
            "{}",
            report.detail
        );
        assert_eq!(report.answer, b"{}");
    }
    assert_eq!(server.connections(), 1);
    client.rest();
    server.until_closed(1).await;
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_body_beyond_the_servers_window_arrives_whole() {
    let authority = Authority::new();
    let server = server(&authority, |_, body| {
        assert!(body.len() > 3 * 1024 * 1024);
        ok("{}")
    })
    .await;
    let payload = [&b"{\"a\":\""[..], &vec![b'x'; 3 * 1024 * 1024], b"\"}"].concat();
    let events = vec![Event {
        payload: &payload,
        ..batch().events[0]
    }];
    let report = client(&authority, &server)
        .send(&Batch { events, ..batch() }, &Open)
        .await;
    assert_eq!(report.verdict, Verdict::Delivered, "{}", report.detail);
}

#[tokio::test]
async fn an_endless_answer_is_read_to_its_bound() {
    let authority = Authority::new();
    let server = server(&authority, |_, _| ok(vec![b'x'; 40 * ANSWER_MAX])).await;
    let report = client(&authority, &server).send(&batch(), &Open).await;
    assert_eq!(report.verdict, Verdict::Delivered, "{}", report.detail);
    server.until_closed(1).await;
}

#[tokio::test]
async fn a_connection_that_goes_away_while_it_is_kept_is_replaced() {
    let authority = Authority::new();
    let acceptor = TlsAcceptor::from(server_config(&authority.localhost(), b"h2"));
    // Each connection serves one request, says GOAWAY and ends.
    let server = Server::start(move |peer| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(peer.stream).await.unwrap();
            let answered = Arc::new(tokio::sync::Notify::new());
            let service = service_fn(|request: Request<Incoming>| {
                let answered = Arc::clone(&answered);
                async move {
                    request.into_body().collect().await.unwrap();
                    answered.notify_one();
                    Ok::<_, Infallible>(ok("{}"))
                }
            });
            let mut connection = std::pin::pin!(
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service)
            );
            tokio::select! {
                _ = connection.as_mut() => return,
                () = answered.notified() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        }
    })
    .await;
    let mut client = client(&authority, &server);
    for _ in 0..3 {
        let report = client.send(&batch(), &Open).await;
        assert_eq!(report.verdict, Verdict::Delivered, "{}", report.detail);
    }
}

#[tokio::test]
async fn a_server_that_breaks_off_is_tried_again_later() {
    let authority = Authority::new();
    let acceptor = TlsAcceptor::from(server_config(&authority.localhost(), b"h2"));
    let server = Server::start(move |peer| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(peer.stream).await.unwrap();
            // Reads the preface and something, then ends without an answer.
            let mut some = [0; 24];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut some)
                .await
                .unwrap();
            assert_eq!(&some, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        }
    })
    .await;
    let report = client(&authority, &server).send(&batch(), &Open).await;
    assert!(
        matches!(report.verdict, Verdict::Retry(Cause::Reset | Cause::Protocol)),
        "{:?}: {}",
        report.verdict,
        report.detail
    );
}

#[tokio::test]
async fn silence_is_a_timeout_and_closes_the_socket() {
    let authority = Authority::new();
    let acceptor = TlsAcceptor::from(server_config(&authority.localhost(), b"h2"));
    let server = Server::start(move |peer| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(peer.stream).await.unwrap();
            let mut peer = crate::server::Peer {
                stream,
                seen: peer.seen,
                number: peer.number,
            };
            peer.rest_until_closed().await;
        }
    })
    .await;
    let mut destination = authority.trusted_by(&server);
    destination.timeout = Duration::from_millis(400);
    let mut client = Client::new(&destination, "0.1.0").unwrap();
    let report = client.send(&batch(), &Open).await;
    assert_eq!(
        report.verdict,
        Verdict::Retry(Cause::Timeout),
        "{}",
        report.detail
    );
    server.until_closed(1).await;
}
