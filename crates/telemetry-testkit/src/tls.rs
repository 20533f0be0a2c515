//! Certificates for an endpoint of a test: an authority of its own, servers that are right, expired, or
//! somebody else, and clients.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use telemetry_sink::Tls;
use tempfile::TempDir;

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing: it is for `localhost` and 127.0.0.1, and valid.
    #[default]
    None,
    /// It was valid in 2001.
    Expired,
    /// It is for `somebody-else.invalid`.
    WrongName,
}

/// A certificate authority whose files live in a temporary directory, as long as it does.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one, with a key that nobody has seen.
    ///
    /// # Panics
    /// When there is no temporary directory.
    #[must_use]
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("tmd-ca").expect("a temporary directory can be made");
        let mut params = CertificateParams::default();
        // Authorities of one name would be told apart by their signatures alone.
        let own = folder.path().file_name().unwrap_or_default().to_string_lossy();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("telemetryd test authority {own}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("a certificate can be made");
        fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("a file in a temporary directory");
        Self {
            folder,
            issuer: Issuer::new(params, key),
        }
    }

    /// A client's certificate and key, for `tls.client_cert` and `tls.client_key`.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn client(&self) -> Identity {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "telemetryd test client");
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.signed(&params)
    }

    /// Its own certificate, for `tls.ca_file`.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A server's certificate and key.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn server(&self, flaw: Flaw) -> Identity {
        let names = match flaw {
            Flaw::WrongName => vec!["somebody-else.invalid".to_owned()],
            Flaw::None | Flaw::Expired => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        };
        let mut params = CertificateParams::new(names).expect("names that a certificate can have");
        params
            .distinguished_name
            .push(DnType::CommonName, "telemetryd test server");
        params.use_authority_key_identifier_extension = true;
        if flaw == Flaw::Expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2001, 12, 31);
        }
        self.signed(&params)
    }

    fn signed(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate can be signed");
        Identity {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Writes a certificate and key beside the authority's: `(certificate, key)`.
    ///
    /// # Panics
    /// When they cannot be written.
    #[must_use]
    pub fn write(&self, name: &str, identity: &Identity) -> (PathBuf, PathBuf) {
        let write = |end: &str, text: &str| {
            let path = Path::join(self.folder.path(), format!("{name}.{end}.pem"));
            fs::write(&path, text).expect("a file in a temporary directory");
            path
        };
        (write("cert", &identity.chain), write("key", &identity.key))
    }
}

/// A server's certificate and key, PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub chain: String,
    /// Its private key.
    pub key: String,
}

impl Identity {
    /// For a [`Collector`](crate::Collector).
    ///
    /// # Panics
    /// Never: they were made to fit.
    #[must_use]
    pub fn tls(&self) -> Tls {
        Tls::from_pem(self.chain.as_bytes(), self.key.as_bytes()).expect("a certificate and its own key")
    }

    /// The same, which hears only clients with a certificate of that authority.
    ///
    /// # Panics
    /// When the authority's file is gone.
    #[must_use]
    pub fn tls_for_clients_of(&self, authority: &Authority) -> Tls {
        let known = fs::read(authority.ca_file()).expect("the authority's own file");
        Tls::for_clients_of(self.chain.as_bytes(), self.key.as_bytes(), &known)
            .expect("a certificate and its own key")
    }
}
