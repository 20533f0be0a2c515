//! How far it is to an endpoint, for a person who asks: each step fails once, and no event goes.

use std::time::Duration;

use telemetry_delivery::{Auth, Client, Destination, Identity, Probe, Proxy, Roots, Secret, Step};
use telemetry_testkit::{Authority, Collector, ConnectProxy, Flaw, Manners};

use crate::server::{Latch, Open, Server, destination};

async fn probe(destination: &Destination) -> Probe {
    Client::new(destination, "0.1.0").unwrap().probe(&Open).await
}

/// The steps that were passed, and the one that was not, with what is said of it.
fn told(probe: &Probe) -> (Vec<Step>, Option<(Step, &str)>) {
    let passed = probe
        .steps
        .iter()
        .filter(|step| step.passed)
        .map(|step| step.step);
    let failed = probe.steps.iter().find(|step| !step.passed);
    (
        passed.collect(),
        failed.map(|step| (step.step, step.detail.as_str())),
    )
}

#[tokio::test]
async fn an_endpoint_in_order_is_reached_step_by_step_and_gets_no_event() {
    let ca = Authority::new();
    let endpoint = Collector::builder()
        .tls(ca.server(Flaw::None).tls())
        .expect_foreign_requests()
        .expect_undecodable()
        .start();
    let proxy = ConnectProxy::start(endpoint.address(), Manners::Open);
    let mut near = destination(endpoint.url_by_name());
    near.tls.roots = Roots::Only(ca.ca_file());
    let found = probe(&near).await;
    let straight = [Step::Settings, Step::Dns, Step::Tcp, Step::Tls, Step::Http];
    assert_eq!(told(&found), (straight.to_vec(), None));
    assert!(found.server_time.is_some());
    assert!(found.steps[3].detail.contains("TLS 1.3, HTTP/2"), "{found:?}");
    near.proxy = Proxy::Url(proxy.url());
    // The proxy's place is an address: no name is looked up.
    let through = [Step::Settings, Step::Tcp, Step::Proxy, Step::Tls, Step::Http];
    assert_eq!(told(&probe(&near).await), (through.to_vec(), None));
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 2);
    assert!(
        requests
            .iter()
            .all(|request| request.method == "HEAD" && request.body.is_empty())
    );
    assert_eq!(endpoint.counts().unique, 0);
}

#[tokio::test]
async fn each_step_can_fail_and_says_why() {
    let ca = Authority::new();
    let endpoint = Collector::builder()
        .tls(ca.server(Flaw::None).tls())
        .expect_nothing()
        .start();
    let mut base = destination(endpoint.url());
    base.timeout = Duration::from_millis(500);
    let failed = async |change: &dyn Fn(&mut Destination)| {
        let mut destination = base.clone();
        change(&mut destination);
        let found = probe(&destination).await;
        let (passed, failed) = told(&found);
        let (step, detail) = failed.expect("a step fails");
        (passed.len(), step, detail.to_owned())
    };
    let (_, step, detail) = failed(&|d| d.tls.roots = Roots::Only("/nonexistent.pem".into())).await;
    assert_eq!(step, Step::Settings);
    assert!(detail.contains("/nonexistent.pem"), "{detail}");
    let (passed, step, detail) = failed(&|d| d.url = "https://no-such-host.invalid/".into()).await;
    assert_eq!((passed, step), (1, Step::Dns));
    assert!(detail.contains("no-such-host.invalid"), "{detail}");
    let (passed, step, _) = failed(&|d| d.url = "https://127.0.0.1:1/".into()).await;
    assert_eq!((passed, step), (1, Step::Tcp));
    let proxy = ConnectProxy::start(endpoint.address(), Manners::OpenFor("eA==".to_owned()));
    let (passed, step, detail) = failed(&|d| d.proxy = Proxy::Url(proxy.url())).await;
    assert_eq!((passed, step), (2, Step::Proxy));
    assert!(detail.contains("407"), "{detail}");
    proxy.behave(Manners::Stall);
    let (passed, step, detail) = failed(&|d| d.proxy = Proxy::Url(proxy.url())).await;
    assert_eq!((passed, step), (2, Step::Proxy));
    assert!(detail.contains("timed out"), "{detail}");
    // Nobody vouches for it.
    let (passed, step, _) = failed(&|_| ()).await;
    assert_eq!((passed, step), (2, Step::Tls));
}

#[tokio::test]
async fn a_certificate_that_is_refused_late_fails_the_handshake() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    let endpoint = Collector::builder()
        .tls(ca.server(Flaw::None).tls_for_clients_of(&ca))
        .expect_nothing()
        .start();
    let mut asked = destination(endpoint.url());
    asked.tls.roots = Roots::Only(ca.ca_file());
    let (cert, key) = stranger.write("client", &stranger.client());
    asked.tls.identity = Some(Identity { cert, key });
    let found = probe(&asked).await;
    let (passed, failed) = told(&found);
    assert_eq!(passed[..2], [Step::Settings, Step::Tcp]);
    // A reset may overtake the alert.
    assert!(matches!(failed, Some((Step::Tls | Step::Http, _))), "{found:?}");
}

#[tokio::test]
async fn an_answer_that_shows_a_fault_fails_and_one_that_may_be_heads_alone_does_not() {
    for (answer, passes) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        (
            "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n",
            true,
        ),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", false),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://portal\r\nContent-Length: 0\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", false),
        ("what?\r\n\r\n", false),
    ] {
        let server = Server::start(move |mut peer| async move {
            let mut head = vec![0; 4096];
            let read = tokio::io::AsyncReadExt::read(&mut peer.stream, &mut head)
                .await
                .unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            assert!(head.starts_with("HEAD /v1/events HTTP/1.1\r\n"), "{head}");
            assert!(
                head.to_lowercase().contains("authorization: bearer tok-1234"),
                "{head}"
            );
            assert!(!head.to_lowercase().contains("content-type"), "{head}");
            peer.say(answer.as_bytes()).await;
        })
        .await;
        let mut asked = destination(server.url());
        asked.auth = Auth::Bearer(Secret::Inline("tok-1234".into()));
        let found = probe(&asked).await;
        assert_eq!(told(&found).1.is_none(), passes, "{answer}: {found:?}");
        assert!(!format!("{found:?}").contains("tok-1234"));
    }
}

#[tokio::test]
async fn a_shut_gate_lets_nothing_be_asked() {
    let gate = Latch::default();
    gate.shut.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut client = Client::new(&destination("https://no-such-host.invalid/"), "0.1.0").unwrap();
    assert!(client.probe(&gate).await.steps.is_empty());
}
