//! TLS for a sink: a certificate chain and its key, as PEM. The provider is named, so that no default of
//! another crate in the process can change it.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// Why a certificate and its key cannot be served.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The PEM text holds no certificate chain or no key.
    #[error("cannot read the PEM text of the certificate or key")]
    Pem(#[source] pem::Error),
    /// There is no certificate in the PEM text.
    #[error("the PEM text has no certificate")]
    Empty,
    /// Certificate and key do not fit, or are of a kind that is not served.
    #[error("cannot serve this certificate and key")]
    Refused(#[source] rustls::Error),
}

/// A certificate to serve, checked. HTTP/2 and HTTP/1.1 are offered by ALPN.
#[derive(Clone)]
pub struct Tls {
    pub(crate) acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(…)")
    }
}

impl Tls {
    /// From a chain (leaf first) and its private key, both PEM.
    ///
    /// # Errors
    /// [`TlsError`], when they cannot be read or do not fit.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(TlsError::Pem)?;
        if chain.is_empty() {
            return Err(TlsError::Empty);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Pem)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(TlsError::Refused)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }
}
