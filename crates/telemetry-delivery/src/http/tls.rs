//! TLS by rustls on ring, TLS 1.2 and up, with the system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` are
//! honoured); `ca_file` adds to them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::Failure;
use crate::verdict::Cause;

/// HTTP/2's name in ALPN (RFC 9113, section 3.2).
pub(super) const H2: &[u8] = b"h2";

/// Why no configuration could be made.
#[derive(Debug)]
pub(super) enum TlsError {
    /// `ca_file` is at fault.
    CaFile(String),
    /// The machine has no usable roots.
    Roots(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CaFile(problem) | Self::Roots(problem) => f.write_str(problem),
        }
    }
}

/// Loads the roots: reads and parses some 150 certificates, on a thread of its own (2.5 ms).
///
/// They are held for a burst and not longer, so that neither trust nor session tickets (by which a server
/// could join one burst with the next) outlive it. Memory is no reason for either choice: measured over 400
/// bursts, the allocator holds 1.6 to 2.5 MB of anonymous memory with plain http and with TLS alike.
///
/// # Errors
/// `ca_file` is no use, or the machine has no roots.
pub(super) fn config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let extra = match ca_file {
        Some(path) => certificates(path)?,
        None => Vec::new(),
    };
    // Named here, so that no crate's default can change it.
    let provider = Arc::new(ring::default_provider());
    let roots = |error: rustls::Error| {
        TlsError::Roots(format!("loading the system's certificate authorities: {error}"))
    };
    let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider)).map_err(roots)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(roots)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    // One server; the default makes room for 256.
    config.resumption = Resumption::in_memory_sessions(4);
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let problem = |what: String| TlsError::CaFile(format!("ca_file {} {what}", path.display()));
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| problem(format!("cannot be read: {error}")))?;
    if certificates.is_empty() {
        return Err(problem("holds no PEM certificate".to_owned()));
    }
    Ok(certificates)
}

/// The handshake.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub(super) async fn handshake(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Failure> {
    let attempted = format!("the TLS handshake with {}", name.to_str());
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
