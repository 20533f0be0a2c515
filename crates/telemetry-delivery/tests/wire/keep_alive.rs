//! One connection within a burst, none after it, and the race with a server that closes it.

use std::sync::atomic::Ordering;

use telemetry_delivery::{Cause, Client, Verdict};

use crate::server::{OK, Open, Server, batch, destination, until};

#[tokio::test]
async fn a_burst_uses_one_connection_and_rest_closes_it() {
    let server = Server::answering(OK).await;
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    for _ in 0..5 {
        assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(server.seen.closed.load(Ordering::SeqCst), 0);
    client.rest();
    server.until_closed(1).await;
    // The next burst has one of its own.
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    assert_eq!(server.connections(), 2);
    // Dropping the client is resting, too.
    drop(client);
    server.until_closed(2).await;
}

#[tokio::test]
async fn a_refused_batch_keeps_the_connection_for_its_halves() {
    let server = Server::answering("HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\nno").await;
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    for _ in 0..3 {
        assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Bisect);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_that_says_close_gets_a_new_connection_for_each_request() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await;
        peer.rest_until_closed().await;
    })
    .await;
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    for _ in 0..3 {
        assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    }
    assert_eq!(server.connections(), 3);
    server.until_closed(3).await;
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_not_used() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.say(OK).await;
        // Ends here, without a word.
    })
    .await;
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    for round in 1..=3 {
        assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
        assert_eq!(server.connections(), round);
    }
}

#[tokio::test]
async fn a_connection_that_closes_as_it_is_used_again_is_replaced_at_once() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.say(OK).await;
        if peer.number == 1 {
            // The race: the second request is read, and answered by the end of the connection.
            peer.request().await;
        } else {
            while peer.request().await.is_some() {
                peer.say(OK).await;
            }
        }
    })
    .await;
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    let report = client.send(&batch(), &Open).await;
    assert_eq!(report.verdict, Verdict::Delivered, "{}", report.detail);
    assert_eq!(server.connections(), 2);
    let keys: Vec<String> = server
        .requests()
        .iter()
        .map(|request| request.header("idempotency-key").unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(
        keys.windows(2).all(|pair| pair[0] == pair[1]),
        "one batch, one key, however often it is sent"
    );
}

#[tokio::test]
async fn it_is_replaced_once_and_no_more() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        if peer.number == 1 {
            peer.say(OK).await;
            peer.request().await;
        }
    })
    .await;
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    assert_eq!(
        client.send(&batch(), &Open).await.verdict,
        Verdict::Retry(Cause::Reset)
    );
    until(|| server.requests().len() == 3).await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn once_a_byte_of_an_answer_came_it_is_not_replaced() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.say(OK).await;
        peer.request().await;
        peer.say(b"HTTP/1.1 5").await;
    })
    .await;
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    assert_eq!(
        client.send(&batch(), &Open).await.verdict,
        Verdict::Retry(Cause::Reset)
    );
    assert_eq!(server.connections(), 1);
}
