//! Through a proxy that asks for CONNECT: with and without credentials, by TLS, stalled, refused; and the gate
//! holds there, too (I3).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use telemetry_delivery::{Cause, Client, Destination, Gate, HoldReason, Proxy, Report, Roots, Verdict};
use telemetry_testkit::{Authority as Ca, Collector, ConnectProxy, Flaw, Manners};

use crate::server::{Latch, OK, Open, Server, batch, destination, until};
use crate::tls::{Authority, answering};

/// A name that no name server knows: the proxy alone can lead there.
const NAME: &str = "collector.telemetryd.invalid";

/// An endpoint of that name, and a destination that reaches it through this proxy. The authority's file lives as
/// long as the authority.
async fn far(manners: Manners) -> (Server, ConnectProxy, Destination, Authority) {
    let authority = Authority::new();
    let server = answering(&authority.leaf(NAME, |_| {}), b"http/1.1").await;
    let proxy = ConnectProxy::start(server.address, manners);
    let mut far = authority.trusted_by(&server);
    far.url = format!("https://{NAME}/v1/events");
    far.proxy = Proxy::Url(proxy.url());
    (server, proxy, far, authority)
}

async fn send(destination: &Destination) -> Report {
    let mut client = Client::new(destination, "0.1.0").unwrap();
    client.send(&batch(), &Open).await
}

#[tokio::test]
async fn a_tunnel_leads_to_an_endpoint_whose_name_only_the_proxy_knows() {
    let (server, proxy, far, _ca) = far(Manners::Open).await;
    let mut client = Client::new(&far, "0.1.0").unwrap();
    for _ in 0..3 {
        let report = client.send(&batch(), &Open).await;
        assert_eq!(report.verdict, Verdict::Delivered, "{}", report.detail);
    }
    assert_eq!((proxy.connections(), server.connections()), (1, 1));
    assert_eq!(
        proxy.heads().remove(0),
        format!("CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}:443\r\nUser-Agent: telemetryd/0.1.0\r\n\r\n")
    );
    client.rest();
    until(|| proxy.open() == 0).await;
    server.until_closed(1).await;
}

#[tokio::test]
async fn what_the_endpoint_speaks_is_agreed_on_through_the_tunnel() {
    let ca = Ca::new();
    // The certificate of the other name: here it is the right one.
    let tls = ca.server(Flaw::WrongName).tls();
    for (tls, version) in [(tls.clone(), "HTTP/2.0"), (tls.http1_only(), "HTTP/1.1")] {
        let endpoint = Collector::builder().tls(tls).expect_any_tool().start();
        let proxy = ConnectProxy::start(endpoint.address(), Manners::Open);
        let mut far = destination("https://somebody-else.invalid/v1/events");
        far.proxy = Proxy::Url(proxy.url());
        far.tls.roots = Roots::Only(ca.ca_file());
        let report = send(&far).await;
        assert_eq!(report.verdict, Verdict::Delivered, "{}", report.detail);
        assert_eq!(endpoint.requests()[0].version, version);
    }
}

#[tokio::test]
async fn credentials_go_to_the_proxy_and_not_to_the_endpoint_and_are_shown_nowhere() {
    let (server, proxy, mut far, _ca) = far(Manners::OpenFor("dTpzM2NyZXQgcEBzcw==".to_owned())).await;
    far.proxy = Proxy::Url(proxy.url_for("u:s3cret%20p@ss"));
    let report = send(&far).await;
    assert_eq!(report.verdict, Verdict::Delivered, "{}", report.detail);
    let seen = server.requests();
    assert_eq!(seen.len(), 1);
    assert!(
        !seen[0].head.to_lowercase().contains("proxy-"),
        "{}",
        seen[0].head
    );
    assert!(!format!("{far:?}").contains("s3cret"), "{far:?}");
    let client = Client::new(&far, "0.1.0").unwrap();
    assert!(!format!("{client:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_proxy_that_wants_other_credentials_holds_and_is_named_without_them() {
    let (server, proxy, mut far, _ca) = far(Manners::OpenFor("cmlnaHQ6b25l".to_owned())).await;
    for url in [proxy.url(), proxy.url_for("wrong:s3cret")] {
        far.proxy = Proxy::Url(url);
        let report = send(&far).await;
        let held = Verdict::Hold(HoldReason::ProxyAuthentication);
        assert_eq!(
            (report.verdict, report.request_bytes),
            (held, 0),
            "{}",
            report.detail
        );
        assert!(report.detail.contains(&proxy.url()), "{}", report.detail);
        assert!(!report.detail.contains("s3cret"), "{}", report.detail);
    }
    far.proxy = Proxy::Url(proxy.url_for("right:one"));
    assert_eq!(send(&far).await.verdict, Verdict::Delivered);
    // Revoked: what the burst has goes on, the next burst learns of it.
    let mut client = Client::new(&far, "0.1.0").unwrap();
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    proxy.behave(Manners::OpenFor("bmV3OnBhc3M=".to_owned()));
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
    client.rest();
    let held = Verdict::Hold(HoldReason::ProxyAuthentication);
    assert_eq!(client.send(&batch(), &Open).await.verdict, held);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn what_else_a_proxy_says_is_tried_again_and_names_it() {
    let (server, proxy, mut far, _ca) = far(Manners::Open).await;
    far.timeout = Duration::from_millis(500);
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "X-Filler: 0123456789\r\n".repeat(2000));
    for (answer, told) in [
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "it answered 403 Forbidden"),
        (
            "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno",
            "503 Service Unavailable",
        ),
        ("HTTP/1.1 302 Found\r\nLocation: http://portal\r\n\r\n", "302"),
        ("HTTP/1.1 200 OK\r\n", "closed the connection"),
        ("", "closed the connection"),
        ("HTTP/1.1 200 OK\r\n\r\nHello", "speaks where the endpoint should"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (&endless, "has no end"),
    ] {
        proxy.behave(Manners::Answer(answer.to_owned()));
        let report = send(&far).await;
        let expected = [Verdict::Retry(Cause::Proxy), Verdict::Retry(Cause::Reset)];
        assert!(expected.contains(&report.verdict), "{answer}: {report:?}");
        assert!(
            report.detail.contains(&proxy.url()) && report.detail.contains(NAME),
            "{}",
            report.detail
        );
        if report.verdict == expected[0] {
            assert!(report.detail.contains(told), "{}", report.detail);
        }
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let (_server, proxy, mut far, _ca) = far(Manners::Open).await;
    let url = proxy.url();
    drop(proxy);
    far.proxy = Proxy::Url(url.clone());
    let report = send(&far).await;
    assert_eq!(
        report.verdict,
        Verdict::Retry(Cause::Refused),
        "{}",
        report.detail
    );
    assert!(
        report.detail.contains(&format!("the proxy {url}")),
        "{}",
        report.detail
    );
    far.proxy = Proxy::Url("http://no-such-proxy.invalid:3128".to_owned());
    let report = send(&far).await;
    assert_eq!(report.verdict, Verdict::Retry(Cause::Dns), "{}", report.detail);
    assert!(
        report.detail.contains("no-such-proxy.invalid"),
        "{}",
        report.detail
    );
}

#[tokio::test]
async fn a_stall_at_the_proxy_is_inside_the_time_of_the_request() {
    let ca = Ca::new();
    for (tls, manners) in [
        (false, Manners::Stall),
        (true, Manners::Stall),
        (true, Manners::Mute),
    ] {
        let mut far = destination(format!("https://{NAME}/"));
        let nowhere = ([127, 0, 0, 1], 9).into();
        let proxy = match tls {
            true => ConnectProxy::start_tls(nowhere, manners, &ca.server(Flaw::None).tls()),
            false => ConnectProxy::start(nowhere, manners),
        };
        far.proxy = Proxy::Url(proxy.url());
        far.tls.roots = Roots::SystemAnd(ca.ca_file());
        far.timeout = Duration::from_millis(300);
        let report = send(&far).await;
        assert_eq!(
            report.verdict,
            Verdict::Retry(Cause::Timeout),
            "{}",
            report.detail
        );
        assert!(
            report.detail.contains("timed out after 0.3 s") && report.detail.contains(&proxy.url()),
            "{}",
            report.detail
        );
        until(|| proxy.open() == 0).await;
    }
}

#[tokio::test]
async fn a_proxy_by_tls_has_to_be_vouched_for_and_sees_no_certificate_of_ours() {
    let ca = Ca::new();
    let server = Server::answering(OK).await;
    for (flaw, verdict) in [
        (Flaw::None, None),
        (Flaw::WrongName, Some(Verdict::Retry(Cause::Tls))),
        (Flaw::Expired, Some(Verdict::Retry(Cause::Tls))),
    ] {
        let proxy = ConnectProxy::start_tls(server.address, Manners::Open, &ca.server(flaw).tls());
        let mut far = destination(format!("http://{NAME}:8080/v1"));
        far.allow_insecure = true;
        far.proxy = Proxy::Url(proxy.url());
        far.tls.roots = Roots::Only(ca.ca_file());
        let report = send(&far).await;
        match verdict {
            // Plain http goes through a tunnel as well.
            None => {
                assert_eq!(report.verdict, Verdict::Delivered, "{}", report.detail);
                assert!(proxy.heads()[0].starts_with(&format!("CONNECT {NAME}:8080 HTTP/1.1\r\n")));
            }
            Some(verdict) => {
                assert_eq!(report.verdict, verdict, "{}", report.detail);
                assert!(report.detail.contains(&proxy.url()), "{}", report.detail);
                assert!(proxy.heads().is_empty());
            }
        }
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn tls_goes_through_tls() {
    let ca = Ca::new();
    let authority = Authority::new();
    let server = answering(&authority.leaf(NAME, |_| {}), b"http/1.1").await;
    let proxy = ConnectProxy::start_tls(server.address, Manners::Open, &ca.server(Flaw::None).tls());
    // Both authorities in one file, as an admin would have them.
    let both = [ca.ca_file(), authority.pem.path().to_owned()].map(|file| std::fs::read(file).unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), both.concat()).unwrap();
    let mut far = destination(format!("https://{NAME}/v1"));
    far.proxy = Proxy::Url(proxy.url());
    far.tls.roots = Roots::Only(file.path().to_owned());
    let report = send(&far).await;
    assert_eq!(report.verdict, Verdict::Delivered, "{}", report.detail);
}

#[tokio::test]
async fn plain_http_to_this_machine_is_never_proxied() {
    let server = Server::answering(OK).await;
    let proxy = ConnectProxy::start(server.address, Manners::Open);
    let mut here = destination(server.url());
    here.proxy = Proxy::Url(proxy.url());
    assert_eq!(send(&here).await.verdict, Verdict::Delivered);
    assert_eq!(proxy.connections(), 0);
}

/// Shut from its `n`th question on.
struct ShutAt(u32, Latch);

impl Gate for ShutAt {
    fn open(&self) -> bool {
        self.1.open() && self.1.asked.load(Ordering::SeqCst) < self.0
    }
}

#[tokio::test]
async fn a_gate_that_closes_at_the_proxy_lets_nothing_more_be_said() {
    // Before the look-up, before CONNECT, before the handshake with the endpoint, before HTTP, before the request.
    for (shut_at, asked_for, handshakes) in [(1, 0, 0), (2, 0, 0), (3, 1, 0), (4, 1, 1), (5, 1, 1)] {
        let (server, proxy, far, _ca) = far(Manners::Open).await;
        let mut client = Client::new(&far, "0.1.0").unwrap();
        let gate = ShutAt(shut_at, Latch::default());
        let report = client.send(&batch(), &gate).await;
        assert_eq!(
            (report.verdict, report.request_bytes),
            (Verdict::Cancelled, 0),
            "{shut_at}"
        );
        until(|| proxy.open() == 0).await;
        assert_eq!(proxy.heads().len(), asked_for, "{shut_at}");
        assert!(server.requests().is_empty(), "{shut_at}");
        assert!(server.connections() >= handshakes, "{shut_at}");
        assert_eq!(gate.1.asked.load(Ordering::SeqCst), shut_at);
    }
}

#[tokio::test]
async fn dropping_the_future_at_the_proxy_closes_the_socket() {
    let (_server, proxy, far, _ca) = far(Manners::Stall).await;
    let proxy = Arc::new(proxy);
    let mut client = Client::new(&far, "0.1.0").unwrap();
    {
        let batch = batch();
        tokio::select! {
            report = client.send(&batch, &Open) => panic!("{report:?}"),
            () = until(|| !proxy.heads().is_empty()) => {}
        }
    }
    until(|| proxy.open() == 0).await;
}
