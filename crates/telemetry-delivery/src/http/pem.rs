//! The PEM files that a destination's `tls` names: read to a bound, and every complaint names the key, the
//! file and what is wrong, never a part of what is in it.

use std::io::Read;
use std::path::Path;

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::tls::TlsError;
use crate::types::{Destination, Identity, Roots};

/// How much of a file is read, in bytes (I6). The bundle of all authorities that a system has is 220 KiB.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// Reads what `tls` names, says what is wrong with it, and lets go of it again: for `--check-config`, so
/// that a mistake is found before the first batch. Opens no socket, and does not load the system's roots.
///
/// Nothing of this is done at start: what a burst needs is read when it begins.
#[must_use]
pub fn tls_problems(destination: &Destination) -> Vec<String> {
    let tls = &destination.tls;
    let roots = match &tls.roots {
        Roots::System => Ok(()),
        Roots::SystemAnd(file) | Roots::Only(file) => authorities(root_key(&tls.roots), file).map(drop),
    };
    let identity = tls
        .identity
        .as_ref()
        .map_or(Ok(()), |files| certified(files).map(drop));
    let problems = [roots, identity].into_iter().filter_map(Result::err);
    problems.map(|problem| problem.to_string()).collect()
}

/// The key of the config that named the file.
pub(super) fn root_key(roots: &Roots) -> &'static str {
    match roots {
        Roots::Only(_) => "ca_only_file",
        Roots::System | Roots::SystemAnd(_) => "ca_file",
    }
}

/// The certificates of a file, each of which can be an authority.
pub(super) fn authorities(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let problem = |what: String| TlsError::CaFile(format!("{key} {} {what}", file.display()));
    let found = certificates(&read(file).map_err(problem)?).map_err(problem)?;
    let mut store = RootCertStore::empty();
    for (number, certificate) in (1..).zip(&found) {
        store.add(certificate.clone()).map_err(|error| {
            problem(format!(
                "holds a certificate, number {number}, that is none: {error}"
            ))
        })?;
    }
    Ok(found)
}

/// A certificate and its key, that fit each other.
pub(super) fn certified(files: &Identity) -> Result<CertifiedKey, TlsError> {
    let of_cert = |what: String| TlsError::Identity(format!("client_cert {} {what}", files.cert.display()));
    let of_key = |what: String| TlsError::Identity(format!("client_key {} {what}", files.key.display()));
    let chain = certificates(&read(&files.cert).map_err(of_cert)?).map_err(of_cert)?;
    let text = read(&files.key).map_err(of_key)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| of_key(no_key(&text, &error)))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => of_key(format!(
            "is not the key of the certificate in client_cert {}",
            files.cert.display()
        )),
        rustls::Error::InvalidCertificate(error) => {
            of_cert(format!("holds a certificate that is none: {error}"))
        }
        other => of_key(format!("cannot be used: {other}")),
    })
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("is not valid PEM: {error}"))?;
    if found.is_empty() {
        return Err("holds no PEM certificate".to_owned());
    }
    Ok(found)
}

fn no_key(text: &[u8], error: &pem::Error) -> String {
    let encrypted = |mark: &[u8]| memchr::memmem::find(text, mark).is_some();
    match error {
        // RFC 7468, section 11, and the older form of RFC 1421, section 4.6.1.1.
        _ if encrypted(b"ENCRYPTED PRIVATE KEY") || encrypted(b"Proc-Type: 4,ENCRYPTED") => {
            "is encrypted, and nobody is there to enter its passphrase: \
             write it without one, by 'openssl pkey -in FILE -out FILE'"
                .to_owned()
        }
        pem::Error::NoItemsFound => "holds no PEM private key".to_owned(),
        // What the parser found is not repeated: it may be a part of the key.
        _ => "is not valid PEM".to_owned(),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let opened = std::fs::metadata(file).and_then(|found| match found.is_file() {
        true => std::fs::File::open(file),
        // A FIFO would be waited for.
        false => Err(std::io::Error::other("it is not a regular file")),
    });
    let read = opened.and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut text));
    match read {
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(_) if text.len() as u64 > FILE_MAX => {
            Err(format!("is larger than {} MiB", FILE_MAX / 1024 / 1024))
        }
        Ok(_) => Ok(text),
    }
}
