//! Credentials go to the endpoint and nowhere else.

use std::path::PathBuf;

use telemetry_delivery::{Auth, Client, Destination, HoldReason, Meta, Report, Secret, Verdict, preview};

use crate::server::{CONTENT, OK, Open, Server, batch, destination};

const TOKEN: &str = "tok-s3cret-1234";

fn shows_nothing(what: &str, text: &str) {
    for secret in ["s3cret", "czNjcmV0", CONTENT] {
        assert!(!text.contains(secret), "{what} shows {secret}: {text}");
    }
}

fn secretive(url: &str, auth: Auth) -> Destination {
    let mut destination = destination(format!("{url}?api_key=query-s3cret"));
    destination.headers = vec![("X-Api-Key".to_owned(), "header-s3cret".to_owned())];
    destination.auth = auth;
    destination
}

#[tokio::test]
async fn nothing_shows_a_credential_even_if_the_server_echoes_it() {
    for (auth, plain) in [
        (Auth::Bearer(Secret::Inline(TOKEN.to_owned())), TOKEN),
        // Encoded, this holds "czNjcmV0" ("s3cret" at a multiple of three bytes).
        (
            Auth::Basic(Secret::Inline("ab:s3cret".to_owned())),
            "ab:s3cret and s3cret",
        ),
    ] {
        let server = Server::start(move |mut peer| async move {
            let request = peer.request().await.unwrap();
            // Echoes the whole head, as some development servers do.
            let echo = format!("{}{plain}", request.head);
            let head = format!("HTTP/1.1 400 No\r\nContent-Length: {}\r\n\r\n", echo.len());
            peer.say(head.as_bytes()).await;
            peer.say(echo.as_bytes()).await;
            peer.rest_until_closed().await;
        })
        .await;
        let destination = secretive(&server.url(), auth.clone());
        let mut client = Client::new(&destination, "0.1.0").unwrap();
        let report = client.send(&batch(), &Open).await;
        assert_eq!(report.verdict, Verdict::Bisect, "{}", report.detail);
        // They did arrive.
        let [request] = server.requests().try_into().unwrap();
        assert!(request.head.contains("query-s3cret") && request.head.contains("header-s3cret"));
        assert!(request.header("authorization").is_some());

        shows_nothing("the detail", &report.detail);
        shows_nothing("the report", &format!("{report:?}"));
        let answer = String::from_utf8(report.answer.clone()).unwrap();
        assert!(
            answer.contains("authorization: ") && answer.contains("*****"),
            "{answer}"
        );
        shows_nothing("the answer", &answer);
        shows_nothing("the client", &format!("{client:?} {client:#?}"));
        shows_nothing("the destination", &format!("{destination:?} {auth:?}"));
        let shown = preview(&destination, &batch());
        shows_nothing("the preview", &format!("{} {:?}", shown.url, shown.headers));
        let kept = Meta::new(&destination, &batch());
        shows_nothing("the sent log", &kept.to_text());
    }
}

#[tokio::test]
async fn a_failure_shows_no_credential() {
    let destination = Destination {
        url: "https://no-such-host.invalid/?api_key=query-s3cret".to_owned(),
        ..secretive("", Auth::Bearer(Secret::Inline(TOKEN.to_owned())))
    };
    let report: Report = Client::new(&destination, "0.1.0")
        .unwrap()
        .send(&batch(), &Open)
        .await;
    shows_nothing("the detail", &report.detail);
    let error = Client::new(&secretive("telemetry.example.org/v1", Auth::None), "0.1.0").unwrap_err();
    shows_nothing("the error", &format!("{error} {error:?}"));
}

#[tokio::test]
async fn a_tokens_file_is_read_again_for_every_burst() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "first\nnot this line\n").unwrap();
    let server = Server::answering(OK).await;
    let mut destination = destination(server.url());
    destination.auth = Auth::Bearer(Secret::File(path.clone()));
    let mut client = Client::new(&destination, "0.1.0").unwrap();
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    std::fs::write(&path, "second").unwrap();
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    client.rest();
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    let sent: Vec<String> = server
        .requests()
        .iter()
        .map(|request| request.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(sent, ["Bearer first", "Bearer first", "Bearer second"]);
}

#[tokio::test]
async fn a_refused_token_is_read_again_for_the_next_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "old").unwrap();
    let server = Server::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let fresh = request.header("authorization") == Some("Bearer new");
            peer.say(if fresh {
                OK
            } else {
                b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
            })
            .await;
        }
    })
    .await;
    let mut destination = destination(server.url());
    destination.auth = Auth::Bearer(Secret::File(path.clone()));
    let mut client = Client::new(&destination, "0.1.0").unwrap();
    assert_eq!(
        client.send(&batch(), &Open).await.verdict,
        Verdict::Hold(HoldReason::Unauthorized)
    );
    std::fs::write(&path, "new").unwrap();
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
}

#[tokio::test]
async fn a_credential_that_cannot_be_read_holds_and_dials_nobody() {
    let server = Server::answering(OK).await;
    let missing = PathBuf::from("/nonexistent/token");
    for (auth, named) in [
        (Auth::Bearer(Secret::File(missing.clone())), "/nonexistent/token"),
        (Auth::Basic(Secret::File(missing)), "/nonexistent/token"),
        (
            Auth::Bearer(Secret::Env("TELEMETRYD_TEST_NOT_SET".to_owned())),
            "TELEMETRYD_TEST_NOT_SET",
        ),
    ] {
        let mut destination = destination(server.url());
        destination.auth = auth;
        let report = Client::new(&destination, "0.1.0")
            .unwrap()
            .send(&batch(), &Open)
            .await;
        assert_eq!(report.verdict, Verdict::Hold(HoldReason::Credentials));
        assert!(report.detail.contains(named), "{}", report.detail);
    }
    assert_eq!(server.connections(), 0);
}
