//! I3: a gate that closes wins every race up to the first byte of the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use telemetry_delivery::{Client, Gate, Roots, Verdict};
use tokio_rustls::TlsAcceptor;

use crate::server::{Latch, OK, Open, Peer, Server, batch, destination};
use crate::tls::{Authority, server_config};

/// Open for so many questions, then shut.
struct Opens(AtomicU32);

impl Gate for Opens {
    fn open(&self) -> bool {
        self.0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok()
    }
}

#[tokio::test]
async fn a_shut_gate_lets_nothing_be_dialled() {
    let server = Server::answering(OK).await;
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    let gate = Latch::default();
    gate.shut.store(true, Ordering::SeqCst);
    let report = client.send(&batch(), &gate).await;
    assert_eq!((report.verdict, report.request_bytes), (Verdict::Cancelled, 0));
    // A connection made later shows that none came before it.
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_shut_gate_lets_no_name_be_looked_up_and_no_file_be_read() {
    let mut destination = destination("https://no-such-host.invalid/");
    destination.tls.roots = Roots::SystemAnd("/nonexistent/ca.pem".into());
    let mut client = Client::new(&destination, "0.1.0").unwrap();
    let report = client.send(&batch(), &Opens(AtomicU32::new(0))).await;
    assert_eq!(report.verdict, Verdict::Cancelled);
}

#[tokio::test]
async fn a_gate_that_closes_while_connecting_lets_no_byte_out() {
    let bytes = Arc::new(AtomicU32::new(u32::MAX));
    let counted = Arc::clone(&bytes);
    let server = Server::start(move |mut peer| {
        let counted = Arc::clone(&counted);
        async move { counted.store(peer.rest_until_closed().await as u32, Ordering::SeqCst) }
    })
    .await;
    for questions in [1, 2] {
        let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
        let report = client.send(&batch(), &Opens(AtomicU32::new(questions))).await;
        assert_eq!((report.verdict, report.request_bytes), (Verdict::Cancelled, 0));
        server.until_closed(questions).await;
        assert_eq!(bytes.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_gate_that_closes_during_the_handshake_lets_no_byte_through_it() {
    for alpn in [&b"http/1.1"[..], b"h2"] {
        let authority = Authority::new();
        let acceptor = TlsAcceptor::from(server_config(&authority.localhost(), alpn));
        let gate = Arc::new(Latch::default());
        let (shutting, bytes) = (Arc::clone(&gate), Arc::new(AtomicU32::new(u32::MAX)));
        let counted = Arc::clone(&bytes);
        let server = Server::start(move |peer| {
            let (acceptor, gate, counted) = (acceptor.clone(), Arc::clone(&shutting), Arc::clone(&counted));
            async move {
                // The client is connected and has said its hello: only now consent is withdrawn.
                peer.stream.readable().await.unwrap();
                gate.shut.store(true, Ordering::SeqCst);
                let stream = acceptor.accept(peer.stream).await.unwrap();
                let mut peer = Peer {
                    stream,
                    seen: peer.seen,
                    number: peer.number,
                };
                counted.store(peer.rest_until_closed().await as u32, Ordering::SeqCst);
            }
        })
        .await;
        let mut client = Client::new(&authority.trusted_by(&server), "0.1.0").unwrap();
        let report = client.send(&batch(), gate.as_ref()).await;
        assert_eq!((report.verdict, report.request_bytes), (Verdict::Cancelled, 0));
        server.until_closed(1).await;
        assert_eq!(bytes.load(Ordering::SeqCst), 0, "not even HTTP/2's preface");
        assert_eq!(gate.asked.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn a_kept_connection_asks_again_and_is_closed_by_a_no() {
    let server = Server::answering(OK).await;
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    // Shut at the second question of the second request: after the first, before the first byte.
    let report = client.send(&batch(), &Opens(AtomicU32::new(1))).await;
    assert_eq!(report.verdict, Verdict::Cancelled);
    server.until_closed(1).await;
    assert_eq!(server.requests().len(), 1);
    // And at the first.
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    assert_eq!(
        client.send(&batch(), &Opens(AtomicU32::new(0))).await.verdict,
        Verdict::Cancelled
    );
    server.until_closed(2).await;
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn the_gate_is_asked_before_a_closed_connection_is_replaced() {
    struct ShutWhenSent(Arc<AtomicBool>);
    impl Gate for ShutWhenSent {
        fn open(&self) -> bool {
            !self.0.load(Ordering::SeqCst)
        }
    }
    let withdrawn = Arc::new(AtomicBool::new(false));
    let withdrawing = Arc::clone(&withdrawn);
    let server = Server::start(move |mut peer| {
        let withdrawing = Arc::clone(&withdrawing);
        async move {
            peer.request().await;
            peer.say(OK).await;
            // Consent ends while the second request is under way, and so does the connection.
            peer.request().await;
            withdrawing.store(true, Ordering::SeqCst);
        }
    })
    .await;
    let gate = ShutWhenSent(withdrawn);
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    assert_eq!(client.send(&batch(), &gate).await.verdict, Verdict::Delivered);
    assert_eq!(client.send(&batch(), &gate).await.verdict, Verdict::Cancelled);
    // Connections are accepted in their order: had it dialled again, this would be the third.
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    assert_eq!(server.connections(), 2, "not even dialled again");
}
