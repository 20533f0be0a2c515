//! What networks and servers do instead of answering.

use std::time::Duration;

use telemetry_delivery::{ANSWER_MAX, Batch, Cause, Client, Destination, Event, Report, Verdict};
use tokio::net::TcpListener;

use crate::server::{CONTENT, OK, Open, Server, batch, destination, until};

/// Long enough for everything on loopback that does not stall.
const SHORT: Duration = Duration::from_millis(300);

async fn send_to(destination: &Destination) -> Report {
    let mut client = Client::new(destination, "0.1.0").unwrap();
    let report = client.send(&batch(), &Open).await;
    assert!(!report.detail.is_empty());
    assert!(!report.detail.contains(CONTENT), "{}", report.detail);
    report
}

fn hurried(url: String) -> Destination {
    Destination {
        timeout: SHORT,
        ..destination(url)
    }
}

#[tokio::test]
async fn nobody_listening_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let report = send_to(&destination(format!("http://{address}/"))).await;
    assert_eq!(
        report.verdict,
        Verdict::Retry(Cause::Refused),
        "{}",
        report.detail
    );
    assert_eq!((report.status, report.request_bytes), (None, 0));
    assert!(report.detail.contains(&address.to_string()), "{}", report.detail);
}

#[tokio::test]
async fn an_unknown_name_is_dns() {
    // RFC 6761: this name never resolves.
    let report = send_to(&destination("https://no-such-host.invalid/v1")).await;
    assert_eq!(report.verdict, Verdict::Retry(Cause::Dns), "{}", report.detail);
    assert!(
        report.detail.contains("no-such-host.invalid"),
        "{}",
        report.detail
    );
}

#[tokio::test]
async fn the_name_localhost_is_looked_up_and_works() {
    let server = Server::answering(OK).await;
    let report = send_to(&destination(format!(
        "http://localhost:{}/",
        server.address.port()
    )))
    .await;
    assert_eq!(report.verdict, Verdict::Delivered, "{}", report.detail);
}

#[tokio::test]
async fn a_reset_instead_of_an_answer_is_reset() {
    // Closing with unread bytes makes the kernel send a reset.
    let server = Server::start(|peer| async move {
        peer.stream.readable().await.unwrap();
    })
    .await;
    let report = send_to(&destination(server.url())).await;
    assert_eq!(report.verdict, Verdict::Retry(Cause::Reset), "{}", report.detail);
}

#[tokio::test]
async fn an_end_instead_of_an_answer_is_reset() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
    })
    .await;
    let report = send_to(&destination(server.url())).await;
    assert_eq!(report.verdict, Verdict::Retry(Cause::Reset), "{}", report.detail);
    assert_eq!(server.connections(), 1, "a fresh connection is not tried twice");
}

#[tokio::test]
async fn silence_after_the_request_is_a_timeout() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.rest_until_closed().await;
    })
    .await;
    let report = send_to(&hurried(server.url())).await;
    assert_eq!(report.verdict, Verdict::Retry(Cause::Timeout));
    assert!(report.detail.contains("0.3 s"), "{}", report.detail);
    assert!(
        report.detail.contains("waiting for the answer"),
        "{}",
        report.detail
    );
    assert!(report.request_bytes > 0);
    server.until_closed(1).await;
}

#[tokio::test]
async fn a_server_that_reads_nothing_is_a_timeout() {
    let server = Server::start(|peer| async move {
        std::future::pending::<()>().await;
        drop(peer);
    })
    .await;
    let large = vec![b' '; 32 * 1024 * 1024];
    let payload = [b"{\"a\":\"", large.as_slice(), b"\"}"].concat();
    let events = vec![Event {
        payload: &payload,
        ..batch().events[0]
    }];
    let mut client = Client::new(&hurried(server.url()), "0.1.0").unwrap();
    let report = client.send(&Batch { events, ..batch() }, &Open).await;
    assert_eq!(
        report.verdict,
        Verdict::Retry(Cause::Timeout),
        "{}",
        report.detail
    );
}

#[tokio::test]
async fn a_200_whose_body_stalls_is_not_delivered() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{").await;
        peer.rest_until_closed().await;
    })
    .await;
    let report = send_to(&hurried(server.url())).await;
    assert_eq!(
        report.verdict,
        Verdict::Retry(Cause::Truncated),
        "{}",
        report.detail
    );
    assert_eq!(report.status, Some(200));
    assert!(report.detail.contains("timed out"), "{}", report.detail);
}

#[tokio::test]
async fn a_refusal_whose_body_stalls_counts_by_its_status() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.say(b"HTTP/1.1 503 Busy\r\nRetry-After: 9\r\nContent-Length: 100\r\n\r\nso")
            .await;
        peer.rest_until_closed().await;
    })
    .await;
    let report = send_to(&hurried(server.url())).await;
    assert_eq!(report.verdict, Verdict::Retry(Cause::Status), "{}", report.detail);
    assert_eq!(report.retry_after, Some(Duration::from_secs(9)));
    assert_eq!(report.answer, b"so");
}

#[tokio::test]
async fn a_200_whose_body_breaks_off_is_not_delivered() {
    let cut = [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ];
    for answer in cut {
        let server = Server::start(move |mut peer| async move {
            peer.request().await;
            peer.say(answer).await;
        })
        .await;
        let report = send_to(&destination(server.url())).await;
        assert_eq!(
            report.verdict,
            Verdict::Retry(Cause::Truncated),
            "{}",
            report.detail
        );
        assert_eq!(report.status, Some(200));
    }
}

#[tokio::test]
async fn half_a_head_is_reset_and_garbage_is_no_http() {
    for (answer, cause) in [
        (&b"HTTP/1.1 200 OK\r\nConten"[..], Cause::Reset),
        (b"SSH-2.0-OpenSSH_9.9\r\n", Cause::Protocol),
        (
            b"\x15\x03\x01\x00\x02\x02\x28 not HTTP at all\r\n\r\n",
            Cause::Protocol,
        ),
        (b"HTTP/1.1 abc OK\r\n\r\n", Cause::Protocol),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            Cause::Protocol,
        ),
    ] {
        let server = Server::start(move |mut peer| async move {
            peer.request().await;
            peer.say(answer).await;
        })
        .await;
        let report = send_to(&destination(server.url())).await;
        assert_eq!(report.verdict, Verdict::Retry(cause), "{}", report.detail);
        assert_eq!(report.status, None);
    }
}

#[tokio::test]
async fn a_head_without_end_is_cut() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.say(b"HTTP/1.1 200 OK\r\n").await;
        let line = format!("X-Filler: {}\r\n", "x".repeat(1000));
        for _ in 0..1000 {
            peer.say(line.as_bytes()).await;
        }
        peer.rest_until_closed().await;
    })
    .await;
    let report = send_to(&destination(server.url())).await;
    assert_eq!(
        report.verdict,
        Verdict::Retry(Cause::Protocol),
        "{}",
        report.detail
    );
}

#[tokio::test]
async fn an_endless_answer_is_read_to_its_bound_and_its_connection_closed() {
    for (status, verdict) in [(200, Verdict::Delivered), (400, Verdict::Bisect)] {
        let server = Server::start(move |mut peer| async move {
            peer.request().await;
            peer.say(format!("HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes())
                .await;
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
            // Until the client has had enough.
            while tokio::io::AsyncWriteExt::write_all(&mut peer.stream, chunk.as_bytes())
                .await
                .is_ok()
            {}
            peer.seen.closed.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        })
        .await;
        let report = send_to(&destination(server.url())).await;
        assert_eq!(report.verdict, verdict, "{}", report.detail);
        assert!(report.answer.len() <= ANSWER_MAX);
        server.until_closed(1).await;
    }
}

#[tokio::test]
async fn a_413_before_the_body_was_read_is_heard() {
    let server = Server::start(|mut peer| async move {
        // The head alone, then the answer and the end, with a megabyte unread.
        let mut head = [0; 64];
        tokio::io::AsyncReadExt::read_exact(&mut peer.stream, &mut head)
            .await
            .unwrap();
        peer.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await;
        tokio::io::AsyncWriteExt::shutdown(&mut peer.stream)
            .await
            .unwrap();
        peer.rest_until_closed().await;
    })
    .await;
    let large = vec![b' '; 8 * 1024 * 1024];
    let payload = [b"{\"a\":\"", large.as_slice(), b"\"}"].concat();
    let events = vec![Event {
        payload: &payload,
        ..batch().events[0]
    }];
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    let report = client.send(&Batch { events, ..batch() }, &Open).await;
    assert_eq!(report.verdict, Verdict::Split, "{}", report.detail);
}

#[tokio::test]
async fn dropping_the_future_closes_the_socket() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.rest_until_closed().await;
    })
    .await;
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    {
        let batch = batch();
        let sending = client.send(&batch, &Open);
        tokio::select! {
            report = sending => panic!("{report:?}"),
            () = until(|| !server.requests().is_empty()) => {}
        }
    }
    server.until_closed(1).await;
    // The client is as good as new.
    let answering = Server::answering(OK).await;
    let mut client = Client::new(&destination(answering.url()), "0.1.0").unwrap();
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
}

#[tokio::test]
async fn a_client_whose_future_was_dropped_sends_the_next_batch() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        if peer.number == 1 {
            peer.rest_until_closed().await;
        } else {
            peer.say(OK).await;
        }
    })
    .await;
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    let held = batch();
    tokio::select! {
        report = client.send(&held, &Open) => panic!("{report:?}"),
        () = until(|| !server.requests().is_empty()) => {}
    }
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
}

#[test]
fn the_runtime_shuts_down_while_a_request_hangs() {
    // A current_thread runtime, as the daemon has it; nothing of the client outlives it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = Server::start(|mut peer| async move {
            peer.request().await;
            peer.rest_until_closed().await;
        })
        .await;
        let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
        let hanging = tokio::spawn(async move {
            client.send(&batch(), &Open).await;
        });
        until(|| !server.requests().is_empty()).await;
        assert!(!hanging.is_finished());
    });
    drop(runtime);
}
