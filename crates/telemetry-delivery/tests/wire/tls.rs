//! TLS: certificates made for the test, trusted through `ca_file` or not.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use telemetry_delivery::{Cause, Client, Destination, HoldReason, Identity, Roots, Verdict, tls_problems};
use telemetry_testkit::{Authority as Ca, Collector, Flaw};
use tokio_rustls::TlsAcceptor;

use crate::server::{OK, Open, Peer, Server, batch, destination};

/// A certificate authority, and the file that it is known by.
pub(crate) struct Authority {
    pub(crate) pem: tempfile::NamedTempFile,
    issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate and key.
pub(crate) struct Leaf(CertificateDer<'static>, KeyPair);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        // Authorities of the same name would be told apart by their signatures alone.
        let name = format!("authority {:?}", &key.public_key_raw()[..8]);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        let mut pem = tempfile::NamedTempFile::new().unwrap();
        pem.write_all(certificate.pem().as_bytes()).unwrap();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn leaf(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Leaf(params.signed_by(&key, &self.issuer).unwrap().der().clone(), key)
    }

    pub(crate) fn localhost(&self) -> Leaf {
        self.leaf("127.0.0.1", |_| {})
    }

    /// A destination that trusts this authority.
    pub(crate) fn trusted_by(&self, server: &Server) -> Destination {
        let mut destination = destination(format!("https://{}/v1/events", server.address));
        destination.tls.roots = Roots::SystemAnd(self.pem.path().to_owned());
        destination
    }
}

pub(crate) fn server_config(leaf: &Leaf, alpn: &[u8]) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf.1.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.0.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}

/// Answers OK to each request over TLS.
pub(crate) async fn answering(leaf: &Leaf, alpn: &[u8]) -> Server {
    answering_with(TlsAcceptor::from(server_config(leaf, alpn))).await
}

async fn answering_with(acceptor: TlsAcceptor) -> Server {
    Server::start(move |peer| {
        let acceptor = acceptor.clone();
        async move {
            // A client that does not like the certificate goes away.
            let Ok(stream) = acceptor.accept(peer.stream).await else {
                return;
            };
            let mut peer = Peer {
                stream,
                seen: peer.seen,
                number: peer.number,
            };
            while peer.request().await.is_some() {
                peer.say(OK).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_authority_in_ca_file_is_trusted() {
    let authority = Authority::new();
    let server = answering(&authority.localhost(), b"http/1.1").await;
    let mut client = Client::new(&authority.trusted_by(&server), "0.1.0").unwrap();
    for _ in 0..3 {
        let report = client.send(&batch(), &Open).await;
        assert_eq!(report.verdict, Verdict::Delivered, "{}", report.detail);
    }
    assert_eq!(server.connections(), 1);
    client.rest();
    server.until_closed(1).await;
    assert_eq!(client.send(&batch(), &Open).await.verdict, Verdict::Delivered);
}

#[tokio::test]
async fn a_name_is_checked_as_well_as_an_address() {
    let authority = Authority::new();
    let server = answering(&authority.leaf("localhost", |_| {}), b"http/1.1").await;
    let mut destination = authority.trusted_by(&server);
    destination.url = format!("https://localhost:{}/", server.address.port());
    let mut client = Client::new(&destination, "0.1.0").unwrap();
    let report = client.send(&batch(), &Open).await;
    assert_eq!(report.verdict, Verdict::Delivered, "{}", report.detail);
}

/// Sends to a server with this certificate; what comes back is a retry for TLS, and no request was seen.
async fn refused(authority: &Authority, leaf: &Leaf, ca_file: bool, told: &str) {
    let server = answering(leaf, b"http/1.1").await;
    let mut destination = authority.trusted_by(&server);
    if !ca_file {
        destination.tls.roots = Roots::System;
    }
    let mut client = Client::new(&destination, "0.1.0").unwrap();
    let report = client.send(&batch(), &Open).await;
    assert_eq!(report.verdict, Verdict::Retry(Cause::Tls), "{}", report.detail);
    assert_eq!((report.status, report.request_bytes), (None, 0));
    assert!(report.detail.to_lowercase().contains(told), "{}", report.detail);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let leaf = authority.leaf("127.0.0.1", |params| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    refused(&authority, &leaf, true, "expired").await;
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused() {
    let authority = Authority::new();
    refused(
        &authority,
        &authority.leaf("telemetry.example.org", |_| {}),
        true,
        "not valid for",
    )
    .await;
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let authority = Authority::new();
    refused(&authority, &Authority::new().localhost(), true, "unknownissuer").await;
    // Nor do the system's roots know it.
    refused(&authority, &authority.localhost(), false, "").await;
}

#[tokio::test]
async fn a_stall_in_the_handshake_is_a_timeout() {
    let authority = Authority::new();
    let server = Server::start(|mut peer| async move {
        peer.rest_until_closed().await;
    })
    .await;
    let mut destination = authority.trusted_by(&server);
    destination.timeout = Duration::from_millis(300);
    let mut client = Client::new(&destination, "0.1.0").unwrap();
    let report = client.send(&batch(), &Open).await;
    assert_eq!(
        report.verdict,
        Verdict::Retry(Cause::Timeout),
        "{}",
        report.detail
    );
    assert!(report.detail.contains("TLS handshake"), "{}", report.detail);
    server.until_closed(1).await;
}

#[tokio::test]
async fn an_end_or_another_protocol_in_the_handshake_is_tls() {
    let authority = Authority::new();
    for answer in [
        &b""[..],
        b"HTTP/1.1 400 This is a plain HTTP port\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
    ] {
        let server = Server::start(move |mut peer| async move {
            let mut hello = vec![0; 64 * 1024];
            let read = tokio::io::AsyncReadExt::read(&mut peer.stream, &mut hello)
                .await
                .unwrap();
            assert!(read > 0);
            peer.say(answer).await;
        })
        .await;
        let mut client = Client::new(&authority.trusted_by(&server), "0.1.0").unwrap();
        let report = client.send(&batch(), &Open).await;
        assert_eq!(report.verdict, Verdict::Retry(Cause::Tls), "{}", report.detail);
    }
}

#[tokio::test]
async fn dropping_the_future_in_the_handshake_closes_the_socket() {
    let authority = Authority::new();
    let server = Server::start(|mut peer| async move {
        peer.rest_until_closed().await;
    })
    .await;
    let mut client = Client::new(&authority.trusted_by(&server), "0.1.0").unwrap();
    {
        let batch = batch();
        tokio::select! {
            report = client.send(&batch, &Open) => panic!("{report:?}"),
            () = crate::server::until(|| server.connections() == 1) => {}
        }
    }
    server.until_closed(1).await;
}

#[tokio::test]
async fn a_ca_file_that_is_no_use_holds_and_is_named() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    for path in [empty.path().to_owned(), "/nonexistent/ca.pem".into()] {
        let mut destination = destination("https://127.0.0.1:1/");
        destination.tls.roots = Roots::SystemAnd(path.clone());
        let mut client = Client::new(&destination, "0.1.0").unwrap();
        let report = client.send(&batch(), &Open).await;
        assert_eq!(
            report.verdict,
            Verdict::Hold(HoldReason::CaFile),
            "{}",
            report.detail
        );
        assert!(
            report.detail.contains(&path.display().to_string()),
            "{}",
            report.detail
        );
    }
}

#[tokio::test]
async fn a_server_of_tls_1_2_is_spoken_with_too() {
    let authority = Authority::new();
    let leaf = authority.localhost();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf.1.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.0.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    // It knows no ALPN: HTTP/1.1 it is.
    let server = answering_with(acceptor).await;
    let mut client = Client::new(&authority.trusted_by(&server), "0.1.0").unwrap();
    let report = client.send(&batch(), &Open).await;
    assert_eq!(report.verdict, Verdict::Delivered, "{}", report.detail);
}

#[tokio::test]
async fn ca_only_file_trusts_nobody_else_and_ca_file_adds() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = answering(&authority.localhost(), b"http/1.1").await;
    let mut destination = authority.trusted_by(&server);
    for (roots, verdict) in [
        (Roots::Only(authority.pem.path().to_owned()), Verdict::Delivered),
        (
            Roots::Only(other.pem.path().to_owned()),
            Verdict::Retry(Cause::Tls),
        ),
    ] {
        destination.tls.roots = roots;
        let mut client = Client::new(&destination, "0.1.0").unwrap();
        let report = client.send(&batch(), &Open).await;
        assert_eq!(report.verdict, verdict, "{}", report.detail);
    }
}

/// An endpoint that hears only clients of `authority`, and a destination that trusts it.
fn asking(ca: &Ca, authority: &Ca, http2: bool) -> (Collector, Destination) {
    let tls = ca.server(Flaw::None).tls_for_clients_of(authority);
    let tls = if http2 { tls } else { tls.http1_only() };
    let endpoint = Collector::builder().tls(tls).expect_any_tool().start();
    let mut destination = destination(endpoint.url());
    destination.tls.roots = Roots::Only(ca.ca_file());
    (endpoint, destination)
}

fn identity((cert, key): (std::path::PathBuf, std::path::PathBuf)) -> Option<Identity> {
    Some(Identity { cert, key })
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_the_right_one_or_nothing() {
    let (ca, clients, stranger) = (Ca::new(), Ca::new(), Ca::new());
    for http2 in [true, false] {
        let (endpoint, mut destination) = asking(&ca, &clients, http2);
        for (files, told) in [
            (None, "asks for a certificate of this machine"),
            (
                identity(stranger.write("client", &stranger.client())),
                "refuses this machine's certificate",
            ),
        ] {
            destination.tls.identity = files;
            let mut client = Client::new(&destination, "0.1.0").unwrap();
            let report = client.send(&batch(), &Open).await;
            // With TLS 1.3 the server refuses after the client's handshake; a request may be under way.
            assert!(
                matches!(report.verdict, Verdict::Retry(Cause::Tls | Cause::Reset)),
                "{report:?}"
            );
            if report.verdict == Verdict::Retry(Cause::Tls) {
                assert!(report.detail.contains(told), "{}", report.detail);
            }
        }
        assert!(endpoint.requests().is_empty());
        destination.tls.identity = identity(clients.write("client", &clients.client()));
        let mut client = Client::new(&destination, "0.1.0").unwrap();
        let report = client.send(&batch(), &Open).await;
        assert_eq!(report.verdict, Verdict::Delivered, "{}", report.detail);
    }
}

#[tokio::test]
async fn files_that_are_no_use_are_named_with_what_is_wrong_and_hold() {
    let ca = Ca::new();
    let client = ca.client();
    let (cert, key) = ca.write("client", &client);
    let (_, other_key) = ca.write("other", &ca.client());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let empty = file("empty.pem", "");
    let torn = file("torn.pem", &client.key[..client.key.len() / 2]);
    let no_der = file(
        "no-der.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let locked = file(
        "locked.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let missing = folder.path().join("missing.pem");
    for (cert_file, key_file, told) in [
        (&missing, &key, "client_cert {} cannot be read"),
        (&empty, &key, "client_cert {} holds no PEM certificate"),
        (&no_der, &key, "client_cert {} holds a certificate that is none"),
        (&cert, &missing, "client_key {} cannot be read"),
        (&cert, &empty, "client_key {} holds no PEM private key"),
        (&cert, &torn, "client_key {} is not valid PEM"),
        (&cert, &locked, "client_key {} is encrypted"),
        (
            &cert,
            &other_key,
            "client_key {} is not the key of the certificate",
        ),
    ] {
        let mut destination = destination("https://127.0.0.1:1/");
        destination.tls.identity = identity((cert_file.clone(), key_file.clone()));
        let at_fault = if told.starts_with("client_cert") {
            cert_file
        } else {
            key_file
        };
        let told = told.replace("{}", &at_fault.display().to_string());
        let problems = tls_problems(&destination);
        assert!(
            problems.len() == 1 && problems[0].starts_with(&told),
            "{problems:?}"
        );
        let mut client = Client::new(&destination, "0.1.0").unwrap();
        let report = client.send(&batch(), &Open).await;
        let held = Verdict::Hold(HoldReason::ClientCertificate);
        assert_eq!(
            (report.verdict, report.detail.as_str()),
            (held, problems[0].as_str())
        );
    }
    let mut good = destination("https://127.0.0.1:1/");
    good.tls.identity = identity((cert, key));
    good.tls.roots = Roots::Only(ca.ca_file());
    assert!(tls_problems(&good).is_empty());
    good.tls.roots = Roots::SystemAnd(no_der);
    assert!(tls_problems(&good)[0].contains("ca_file") && tls_problems(&good)[0].contains("number 1"));
}
