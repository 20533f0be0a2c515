//! TLS for a sink: a certificate chain and its key, as PEM. The provider is named, so that no default of
//! another crate in the process can change it.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
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
    config: Arc<ServerConfig>,
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
        Self::made(chain, key, None)
    }

    /// The same, and only who shows a certificate of these authorities (PEM) is heard.
    ///
    /// # Errors
    /// [`TlsError`], when they cannot be read or do not fit.
    pub fn for_clients_of(chain: &[u8], key: &[u8], authorities: &[u8]) -> Result<Self, TlsError> {
        Self::made(chain, key, Some(authorities))
    }

    /// Without HTTP/2.
    #[must_use]
    pub fn http1_only(self) -> Self {
        let mut config = Arc::unwrap_or_clone(self.config);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            config: Arc::new(config),
        }
    }

    /// What accepts connections with it.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    fn made(chain: &[u8], key: &[u8], authorities: Option<&[u8]>) -> Result<Self, TlsError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Pem)?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Refused)?;
        let builder = match authorities {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(authorities)? {
                    roots.add(authority).map_err(TlsError::Refused)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = verifier.build();
                builder.with_client_cert_verifier(
                    verifier.map_err(|error| TlsError::Refused(rustls::Error::General(error.to_string())))?,
                )
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Refused)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(TlsError::Pem)?;
    if found.is_empty() {
        return Err(TlsError::Empty);
    }
    Ok(found)
}
