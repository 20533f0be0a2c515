//! TLS by rustls on ring, TLS 1.2 and up, with the system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` are
//! honoured); `ca_file` adds to them, `ca_only_file` replaces them.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::Failure;
use super::pem;
use super::stream::Carrier;
use crate::types::{Roots, Tls};
use crate::verdict::Cause;

/// HTTP/2's name in ALPN (RFC 9113, section 3.2).
pub(super) const H2: &[u8] = b"h2";
/// HTTP/1.1's (RFC 7301, section 6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// Why no configuration could be made.
#[derive(Debug)]
pub(super) enum TlsError {
    /// `ca_file` or `ca_only_file` is at fault.
    CaFile(String),
    /// `client_cert` or `client_key` is.
    Identity(String),
    /// The machine has no usable roots.
    Roots(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CaFile(problem) | Self::Identity(problem) | Self::Roots(problem) => f.write_str(problem),
        }
    }
}

/// What a burst's handshakes need.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    /// For the endpoint: HTTP/2 and HTTP/1.1 are offered, and our certificate is shown if it asks.
    pub(super) endpoint: Arc<ClientConfig>,
    /// For a proxy that is reached by TLS: HTTP/1.1 alone, and no certificate, which is meant for the endpoint.
    pub(super) proxy: Option<Arc<ClientConfig>>,
}

impl Trust {
    /// Loads the roots: reads and parses some 150 certificates, on a thread of its own (2.5 ms).
    ///
    /// They are held for a burst and not longer, so that neither trust nor session tickets (by which a server
    /// could join one burst with the next) outlive it. Memory is no reason for either choice: measured over 400
    /// bursts, the allocator holds 1.6 to 2.5 MB of anonymous memory with plain http and with TLS alike.
    ///
    /// # Errors
    /// A file that `tls` names is no use, or the machine has no roots.
    pub(super) fn load(tls: &Tls, proxy: bool) -> Result<Self, TlsError> {
        // Named here, so that no crate's default can change it.
        let provider = Arc::new(ring::default_provider());
        let verifier = verifier(&tls.roots, &provider)?;
        let builder = || {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| TlsError::Roots(error.to_string()))?;
            Ok(builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::clone(&verifier)))
        };
        let mut endpoint = match &tls.identity {
            None => builder()?.with_no_client_auth(),
            Some(files) => {
                let certified = pem::certified(files)?;
                builder()?.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
        };
        endpoint.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        let mut proxy = match proxy {
            true => Some(builder()?.with_no_client_auth()),
            false => None,
        };
        if let Some(config) = &mut proxy {
            config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        }
        // One server each; the default makes room for 256.
        for config in proxy.iter_mut().chain([&mut endpoint]) {
            config.resumption = Resumption::in_memory_sessions(4);
        }
        Ok(Self {
            endpoint: Arc::new(endpoint),
            proxy: proxy.map(Arc::new),
        })
    }
}

fn verifier(roots: &Roots, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let key = pem::root_key(roots);
    let extra = match roots {
        Roots::Only(file) => {
            let mut store = RootCertStore::empty();
            // Each was tried already.
            store.add_parsable_certificates(pem::authorities(key, file)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
            return match verifier.build() {
                Ok(verifier) => Ok(verifier),
                Err(error) => Err(TlsError::CaFile(format!("{key} {}: {error}", file.display()))),
            };
        }
        Roots::SystemAnd(file) => pem::authorities(key, file)?,
        Roots::System => Vec::new(),
    };
    match Verifier::new_with_extra_roots(extra, Arc::clone(provider)) {
        Ok(verifier) => Ok(Arc::new(verifier)),
        Err(error) => Err(TlsError::Roots(format!(
            "loading the system's certificate authorities: {error}"
        ))),
    }
}

/// What was agreed on, for people.
pub(super) fn spoken(stream: &TlsStream<Carrier>) -> String {
    let session = stream.get_ref().1;
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let http = if session.alpn_protocol() == Some(H2) {
        "HTTP/2"
    } else {
        "HTTP/1.1"
    };
    format!("{version}, {http}")
}

/// The handshake; `with` names the other side to people.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub(super) async fn handshake(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    with: &str,
    stream: Carrier,
) -> Result<TlsStream<Carrier>, Failure> {
    let attempted = format!("the TLS handshake with {with}");
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => Ok(stream),
        Err(error) => {
            let mut failure = Failure::of(&attempted, &error, Cause::Tls);
            // An end in the middle of a handshake is the handshake's failure.
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                failure.cause = Cause::Tls;
            }
            Err(failure)
        }
    }
}
