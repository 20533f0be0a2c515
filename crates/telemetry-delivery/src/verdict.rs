//! Whether a batch is delivered, goes again, is cut, or waits for a person: one pure function.
//!
//! Keeps I2 and I8: only a complete 2xx that is no web page counts as delivered; everything in doubt is
//! tried again, which the batch's id (`Idempotency-Key`) makes harmless.

use std::fmt;

use crate::types::Confirm;

/// What an answer says, as far as the verdict depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Whether its `Content-Type` is `text/html`.
    pub html: bool,
    /// Whether the body or a header echoes the batch's id.
    pub echoed: bool,
    /// Whether it was read to its end, or to the 64 KiB that are read of any answer.
    pub complete: bool,
    /// Whether the body says, in its vendor's words, that events were refused all the same.
    pub refused: bool,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// With an answer, or with the head of one.
    Answered(Answer),
    /// Without one.
    Failed(Cause),
}

/// Why a request is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The answer's status.
    Status,
    /// A 2xx without the batch's id, where `confirm = "batch_id"`.
    Unconfirmed,
    /// A 2xx that broke off before its end.
    Truncated,
    /// The host's name was not found, or nobody could be asked.
    Dns,
    /// The host refused the connection.
    Refused,
    /// The connection was closed or reset before an answer came.
    Reset,
    /// No way to the host: no network, no route.
    Unreachable,
    /// A proxy was reached and gave no way through.
    Proxy,
    /// The TLS handshake failed: the certificate, its name, its issuer, the protocol.
    Tls,
    /// The whole request's time was over.
    Timeout,
    /// What came was not HTTP.
    Protocol,
    /// The operating system refused something else: no descriptors left, a firewall, a sandbox.
    Io,
}

/// Why a destination is held: its operator has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldReason {
    /// 401
    Unauthorized,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 407
    ProxyAuthentication,
    /// 411
    LengthRequired,
    /// 415
    UnsupportedMediaType,
    /// 421
    MisdirectedRequest,
    /// 426
    UpgradeRequired,
    /// 501
    NotImplemented,
    /// The credential could not be read, or cannot stand in a header.
    Credentials,
    /// `tls.ca_file` or `tls.ca_only_file` could not be read, or holds no certificate.
    CaFile,
    /// `tls.client_cert` or `tls.client_key` could not be read, or they do not fit each other.
    ClientCertificate,
    /// The environment names a proxy that cannot be used.
    Proxy,
}

/// What is to be done with the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint has it: its events may leave the queue.
    Delivered,
    /// Again, after `backoff` or `Retry-After`.
    Retry(Cause),
    /// A captive portal or another web page answered: backoff as for [`Verdict::Retry`].
    Captive,
    /// Too large: halve it, the halves at once; a single event is parked.
    Split,
    /// An event of it can never be sent in this encoding: halve it, nothing was sent; a single event is parked.
    Unfit,
    /// Nobody's events are at fault: wait for a person.
    Hold(HoldReason),
    /// Some event is refused: halve it, the halves at once, until the refused ones stand alone.
    Bisect,
    /// The endpoint is gone for good (410).
    Closed,
    /// The gate was closed: nothing was sent.
    Cancelled,
}

/// What an exchange means (DELIVERY.md, "What the answer means").
///
/// | exchange | verdict |
/// |---|---|
/// | 2xx, `Content-Type: text/html` | captive |
/// | 2xx that broke off before its end | retry (truncated) |
/// | 2xx, `confirm = "batch_id"`, the id not echoed | retry (unconfirmed) |
/// | 2xx that says in the vendor's words that events were refused (`success: false`, OTLP's `partial_success`) | bisect |
/// | other 2xx | delivered |
/// | 3xx | captive |
/// | 408, 425, 429, 5xx but 501 | retry (status) |
/// | 413 | split |
/// | 401, 403, 404, 405, 407, 411, 415, 421, 426, 501 | hold |
/// | 410 | closed |
/// | 400, 409, 422 and other 4xx | bisect |
/// | 1xx as a final answer, 600 and above | retry (protocol) |
/// | no answer: DNS, refused, reset, unreachable, TLS, timeout, not HTTP | retry (with that cause) |
/// | a proxy answers CONNECT with 407 | hold |
/// | a proxy answers CONNECT with anything else but 2xx, or not at all | retry (proxy, or how it failed) |
///
/// An answer other than 2xx that breaks off in its body counts by its status: no event leaves the queue
/// by it.
///
/// OTLP asks that a partly accepted request be not sent again, since a receiver may not know a resend. Here the halves
/// are, until the rejected records stand alone: otherwise they would be lost without a name (I2), and each record
/// carries `event.id`.
#[must_use]
pub fn verdict(exchange: &Exchange, confirm: Confirm) -> Verdict {
    let answer = match exchange {
        Exchange::Failed(cause) => return Verdict::Retry(*cause),
        Exchange::Answered(answer) => answer,
    };
    match answer.status {
        200..=299 if answer.html => Verdict::Captive,
        200..=299 if !answer.complete => Verdict::Retry(Cause::Truncated),
        200..=299 if answer.refused => Verdict::Bisect,
        200..=299 if confirm == Confirm::BatchId && !answer.echoed => Verdict::Retry(Cause::Unconfirmed),
        200..=299 => Verdict::Delivered,
        300..=399 => Verdict::Captive,
        408 | 425 | 429 => Verdict::Retry(Cause::Status),
        413 => Verdict::Split,
        410 => Verdict::Closed,
        status @ 400..=599 => match HoldReason::of_status(status) {
            Some(reason) => Verdict::Hold(reason),
            None if status < 500 => Verdict::Bisect,
            None => Verdict::Retry(Cause::Status),
        },
        _ => Verdict::Retry(Cause::Protocol),
    }
}

impl HoldReason {
    fn of_status(status: u16) -> Option<Self> {
        Some(match status {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            407 => Self::ProxyAuthentication,
            411 => Self::LengthRequired,
            415 => Self::UnsupportedMediaType,
            421 => Self::MisdirectedRequest,
            426 => Self::UpgradeRequired,
            501 => Self::NotImplemented,
            _ => return None,
        })
    }

    /// A stable word for `status --json`, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::ProxyAuthentication => "proxy_authentication",
            Self::LengthRequired => "length_required",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::MisdirectedRequest => "misdirected_request",
            Self::UpgradeRequired => "upgrade_required",
            Self::NotImplemented => "not_implemented",
            Self::Credentials => "credentials",
            Self::CaFile => "ca_file",
            Self::ClientCertificate => "client_certificate",
            Self::Proxy => "proxy",
        }
    }

    /// What to fix, for people: the setting and the likely mistake.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Unauthorized => "check `auth`: the endpoint does not accept the credential (401)",
            Self::Forbidden => "check `auth` and what it is allowed to do: the endpoint forbids this (403)",
            Self::NotFound => "check the path in `url`: the endpoint does not know it (404)",
            Self::MethodNotAllowed => "check the path in `url`: the endpoint takes no POST there (405)",
            Self::ProxyAuthentication => {
                "a proxy on the way wants other credentials: check the user and password in `proxy`, or in \
                 HTTPS_PROXY (407)"
            }
            Self::LengthRequired => "a proxy on the way drops the request's length (411)",
            Self::UnsupportedMediaType => {
                "check `encoding` and `compression`: the endpoint does not take this form (415)"
            }
            Self::MisdirectedRequest => "check the host in `url`: the server does not serve it (421)",
            Self::UpgradeRequired => "the endpoint wants another protocol: check the scheme in `url` (426)",
            Self::NotImplemented => "check `url`: the endpoint does not do this (501)",
            Self::Credentials => "check the file or the variable that `auth` names",
            Self::CaFile => {
                "check `tls.ca_file` or `tls.ca_only_file`: it must be readable and hold PEM certificates"
            }
            Self::ClientCertificate => {
                "check `tls.client_cert` and `tls.client_key`: PEM files that are readable and belong together"
            }
            Self::Proxy => {
                "check HTTPS_PROXY and ALL_PROXY in the daemon's environment, or set `proxy` in the config"
            }
        }
    }
}

impl Cause {
    /// A stable word for `status --json`, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Unconfirmed => "unconfirmed",
            Self::Truncated => "truncated",
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Unreachable => "unreachable",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Io => "io",
        }
    }

    /// Whether the endpoint could not be spoken to at all, as when the machine is offline: what the return
    /// of the network may cut short.
    #[must_use]
    pub const fn is_unreachable(self) -> bool {
        matches!(
            self,
            Self::Dns
                | Self::Refused
                | Self::Reset
                | Self::Unreachable
                | Self::Proxy
                | Self::Tls
                | Self::Timeout
        )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
