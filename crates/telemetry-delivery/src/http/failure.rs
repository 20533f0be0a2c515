//! Why no answer came, in a word for the verdict and a line for people.

use std::error::Error;
use std::io;

use crate::verdict::{Cause, HoldReason};

/// What ended an exchange before its answer did.
#[derive(Debug)]
pub(super) enum Stop {
    /// The gate was closed.
    Cancelled,
    /// The operator has to change something first.
    Hold(HoldReason, String),
    /// The batch is larger than may be sent at once; a line for people.
    TooLarge(String),
    /// An event of it can never be sent in this encoding; a line for people.
    Unfit(String),
    /// The network, the other side, or this machine.
    Failed(Failure),
}

/// A transport failure.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    /// For people: what was attempted, and every level of the error.
    pub(super) detail: String,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A name that could not be looked up. Its text is the operating system's.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct DnsError(pub(super) String);

impl Failure {
    /// Looks through the error's causes for one that the verdict knows; `otherwise` if there is none.
    pub(super) fn of(attempted: &str, error: &(dyn Error + 'static), otherwise: Cause) -> Self {
        let mut detail = attempted.to_owned();
        let mut cause = None;
        let mut ours = None;
        let mut level = Some(error);
        while let Some(error) = level {
            cause = cause.or_else(|| known(error));
            ours = ours.or_else(|| tls(error).and_then(of_our_certificate));
            let text = error.to_string();
            if !detail.contains(&text) {
                detail.push_str(": ");
                detail.push_str(&text);
            }
            level = error.source();
        }
        if let Some(hint) = ours {
            detail.push_str(": ");
            detail.push_str(hint);
        }
        Self {
            cause: cause.unwrap_or(otherwise),
            detail,
        }
    }
}

/// The TLS error that this level is or wraps (`source` of an `io::Error` skips the error that it wraps).
pub(super) fn tls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    error.downcast_ref::<rustls::Error>().or_else(|| {
        let wrapping = error.downcast_ref::<io::Error>()?;
        wrapping.get_ref()?.downcast_ref::<rustls::Error>()
    })
}

/// What the other side says about the certificate that we showed it, or did not (RFC 8446, section 6.2).
fn of_our_certificate(error: &rustls::Error) -> Option<&'static str> {
    use rustls::AlertDescription as Alert;
    let rustls::Error::AlertReceived(alert) = error else {
        return None;
    };
    match alert {
        Alert::CertificateRequired => {
            Some("it asks for a certificate of this machine: set `tls.client_cert` and `tls.client_key`")
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::DecryptError => Some("it refuses this machine's certificate: check `tls.client_cert`"),
        _ => None,
    }
}

fn known(error: &(dyn Error + 'static)) -> Option<Cause> {
    if error.is::<DnsError>() {
        return Some(Cause::Dns);
    }
    if tls(error).is_some() {
        return Some(Cause::Tls);
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        // A message cut short, a connection gone: both before the answer's head was whole.
        if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            return Some(Cause::Reset);
        }
        if error.is_parse() {
            return Some(Cause::Protocol);
        }
    }
    let error = error.downcast_ref::<io::Error>()?;
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(Cause::Refused),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected
        | io::ErrorKind::UnexpectedEof => Some(Cause::Reset),
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => Some(Cause::Unreachable),
        io::ErrorKind::TimedOut => Some(Cause::Timeout),
        _ => None,
    }
}
