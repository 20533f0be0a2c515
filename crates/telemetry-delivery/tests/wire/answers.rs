//! Each row of DELIVERY.md's table of answers, as it comes over the wire.

use std::time::Duration;

use telemetry_delivery::{
    ANSWER_KEPT, Cause, Client, Compression, Confirm, Encoding, HoldReason, Report, Verdict,
};

use crate::server::{BATCH, CONTENT, OK, Open, Server, batch, destination};

async fn answered(answer: &str) -> Report {
    let server = Server::answering(answer).await;
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    client.send(&batch(), &Open).await
}

fn of_status(status: u16) -> String {
    format!("HTTP/1.1 {status} As The Test Wants\r\nContent-Length: 5\r\n\r\nwhy.\n")
}

#[tokio::test]
async fn every_row_of_the_table_has_its_verdict() {
    let retry = Verdict::Retry(Cause::Status);
    let table = [
        (200, Verdict::Delivered),
        (201, Verdict::Delivered),
        (202, Verdict::Delivered),
        (299, Verdict::Delivered),
        (300, Verdict::Captive),
        (301, Verdict::Captive),
        (302, Verdict::Captive),
        (307, Verdict::Captive),
        (308, Verdict::Captive),
        (400, Verdict::Bisect),
        (401, Verdict::Hold(HoldReason::Unauthorized)),
        (402, Verdict::Bisect),
        (403, Verdict::Hold(HoldReason::Forbidden)),
        (404, Verdict::Hold(HoldReason::NotFound)),
        (405, Verdict::Hold(HoldReason::MethodNotAllowed)),
        (406, Verdict::Bisect),
        (407, Verdict::Hold(HoldReason::ProxyAuthentication)),
        (408, retry),
        (409, Verdict::Bisect),
        (410, Verdict::Closed),
        (411, Verdict::Hold(HoldReason::LengthRequired)),
        (412, Verdict::Bisect),
        (413, Verdict::Split),
        (414, Verdict::Bisect),
        (415, Verdict::Hold(HoldReason::UnsupportedMediaType)),
        (418, Verdict::Bisect),
        (421, Verdict::Hold(HoldReason::MisdirectedRequest)),
        (422, Verdict::Bisect),
        (425, retry),
        (426, Verdict::Hold(HoldReason::UpgradeRequired)),
        (429, retry),
        (431, Verdict::Bisect),
        (451, Verdict::Bisect),
        (500, retry),
        (501, Verdict::Hold(HoldReason::NotImplemented)),
        (502, retry),
        (503, retry),
        (504, retry),
        (511, retry),
        (599, retry),
        (600, Verdict::Retry(Cause::Protocol)),
    ];
    for (status, verdict) in table {
        let report = answered(&of_status(status)).await;
        assert_eq!(report.verdict, verdict, "{status}: {}", report.detail);
        assert_eq!(report.status, Some(status));
        assert_eq!(report.answer, b"why.\n");
        assert!(report.detail.contains(&status.to_string()), "{}", report.detail);
        assert!(report.request_bytes > 0);
    }
}

#[tokio::test]
async fn an_answer_without_a_body_is_an_answer() {
    let report = answered("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!((report.verdict, report.status), (Verdict::Delivered, Some(204)));
    // Nor does a final 304 or a body that ends with the connection confuse it.
    assert_eq!(
        answered("HTTP/1.1 304 Not Modified\r\n\r\n").await.verdict,
        Verdict::Captive
    );
}

#[tokio::test]
async fn a_web_page_is_captive_even_with_200() {
    let report = answered(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 6\r\n\r\n<html>",
    )
    .await;
    assert_eq!(report.verdict, Verdict::Captive);
    assert!(report.detail.contains("captive portal"), "{}", report.detail);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_only_its_origin_is_told() {
    let elsewhere = Server::answering(OK).await;
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}?session=s3cret\r\nContent-Length: 0\r\n\r\n",
        elsewhere.url()
    );
    let report = answered(&redirect).await;
    assert_eq!(report.verdict, Verdict::Captive);
    assert_eq!(elsewhere.connections(), 0);
    assert!(report.detail.contains("http://127.0.0.1"), "{}", report.detail);
    assert!(!report.detail.contains("s3cret"), "{}", report.detail);
}

#[tokio::test]
async fn a_demanded_echo_is_looked_for_in_body_and_headers() {
    let in_body = format!("HTTP/1.1 200 OK\r\nContent-Length: 46\r\n\r\n{{\"batch\":\"{BATCH}\"}}");
    let in_header = format!("HTTP/1.1 200 OK\r\nX-Batch: {BATCH}\r\nContent-Length: 0\r\n\r\n");
    let nowhere = String::from_utf8(OK.to_vec()).unwrap();
    for (answer, verdict) in [
        (in_body, Verdict::Delivered),
        (in_header, Verdict::Delivered),
        (nowhere, Verdict::Retry(Cause::Unconfirmed)),
    ] {
        let server = Server::answering(answer).await;
        let mut destination = destination(server.url());
        destination.confirm = Confirm::BatchId;
        let mut client = Client::new(&destination, "0.1.0").unwrap();
        assert_eq!(client.send(&batch(), &Open).await.verdict, verdict);
    }
}

#[tokio::test]
async fn retry_after_is_handed_on_as_seconds_and_as_a_date() {
    let seconds = "HTTP/1.1 429 Slow Down\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        answered(seconds).await.retry_after,
        Some(Duration::from_secs(120))
    );
    // batch().sent_at is 10:00:05.120.
    let date =
        "HTTP/1.1 503 Later\r\nRetry-After: Sat, 21 Nov 2026 10:02:05 GMT\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        answered(date).await.retry_after,
        Some(Duration::from_millis(119_880))
    );
    let garbage = "HTTP/1.1 503 Later\r\nRetry-After: after lunch\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answered(garbage).await.retry_after, None);
}

#[tokio::test]
async fn what_is_kept_of_a_refusal_is_its_first_kibibyte() {
    let answer = format!(
        "HTTP/1.1 400 No\r\nContent-Length: 5000\r\n\r\n{}",
        "x".repeat(5000)
    );
    let report = answered(&answer).await;
    assert_eq!(report.verdict, Verdict::Bisect);
    assert_eq!(report.answer, vec![b'x'; ANSWER_KEPT]);
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let answer = format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n{}",
        String::from_utf8_lossy(OK)
    );
    assert_eq!(answered(&answer).await.verdict, Verdict::Delivered);
    let report =
        answered("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    assert!(matches!(report.verdict, Verdict::Retry(_)), "{report:?}");
}

#[tokio::test]
async fn a_chunked_answer_is_read_and_the_connection_kept() {
    let server = Server::answering(
        "HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n",
    )
    .await;
    let mut client = Client::new(&destination(server.url()), "0.1.0").unwrap();
    for _ in 0..3 {
        let report = client.send(&batch(), &Open).await;
        assert_eq!(
            (report.verdict, report.answer.as_slice()),
            (Verdict::Delivered, &b"ok!"[..])
        );
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_request_says_who_what_and_which_batch() {
    let server = Server::answering(OK).await;
    let mut destination = destination(server.url() + "?table=events");
    destination.headers = vec![("X-Team".to_owned(), "data".to_owned())];
    let mut client = Client::new(&destination, "1.2.3").unwrap();
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    let [request] = server.requests().try_into().unwrap();
    assert_eq!(request.line, "POST /v1/events?table=events HTTP/1.1");
    assert_eq!(request.header("host"), Some(server.address.to_string().as_str()));
    assert_eq!(request.header("user-agent"), Some("telemetryd/1.2.3"));
    assert_eq!(
        request.header("idempotency-key"),
        Some(BATCH.to_string().as_str())
    );
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("x-team"), Some("data"));
    assert_eq!(request.header("content-encoding"), None);
    assert_eq!(request.header("authorization"), None);
    assert_eq!(request.header("transfer-encoding"), None);
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["source"]["version"], "1.2.3");
    assert_eq!(body["events"][0]["properties"]["command"], CONTENT);
}

#[tokio::test]
async fn both_codings_can_be_undone_by_their_standard_decoders() {
    let plain = telemetry_delivery::encode(Encoding::Ndjson, &batch(), "").body;
    for compression in [Compression::Gzip, Compression::Zstd] {
        let server = Server::answering(OK).await;
        let mut destination = destination(server.url());
        destination.encoding = Encoding::Ndjson;
        destination.compression = compression;
        let mut client = Client::new(&destination, "0.1.0").unwrap();
        let report = client.send(&batch(), &Open).await;
        assert_eq!(report.verdict, Verdict::Delivered);
        let [request] = server.requests().try_into().unwrap();
        assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
        assert_eq!(report.request_bytes, request.body.len() as u64);
        let mut decoded = Vec::new();
        match request.header("content-encoding").unwrap() {
            "gzip" => {
                let mut decoder = flate2::read::GzDecoder::new(request.body.as_slice());
                std::io::Read::read_to_end(&mut decoder, &mut decoded).unwrap();
            }
            "zstd" => decoded = zstd::decode_all(request.body.as_slice()).unwrap(),
            other => panic!("{other}"),
        }
        assert_eq!(decoded, plain);
    }
}
