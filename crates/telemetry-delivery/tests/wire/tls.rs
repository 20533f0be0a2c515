//! TLS: certificates made for the test, trusted through `ca_file` or not.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use telemetry_delivery::{Cause, Client, Destination, HoldReason, Roots, Verdict};
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
    let acceptor = TlsAcceptor::from(server_config(leaf, alpn));
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
