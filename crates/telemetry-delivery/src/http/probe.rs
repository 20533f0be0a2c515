//! Is the endpoint there, and if not, which step of the way fails? For a person who asks (`doctor --probe`):
//! the same way as a batch goes, with a `HEAD` at its end that carries the destination's headers and
//! credentials and no event.

use std::time::SystemTime;

use http::header;
use hyper::Response;
use hyper::body::Incoming;

use super::connect::ask;
use super::connection::Connection;
use super::failure::{Failure, Stop};
use super::outcome::Progress;
use super::{Client, Gate, answer, request};
use crate::report::bounded;
use crate::verdict::{Cause, HoldReason};

/// A step of the way, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// Files and variables that the destination's settings name.
    #[default]
    Settings,
    /// The name server.
    Dns,
    /// A connection to the endpoint, or to the proxy before it.
    Tcp,
    /// A proxy's TLS, and its way through.
    Proxy,
    /// TLS with the endpoint.
    Tls,
    /// A request and its answer.
    Http,
}

impl Step {
    /// A stable word for `doctor --json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Http => "http",
        }
    }

    /// What to look at when it fails, for people.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Settings => "mend the file or the variable that the destination's settings name",
            Self::Dns => "check the host in `url` (or of the proxy), and this machine's name servers",
            Self::Tcp => {
                "check the port in `url` (or of the proxy), the network and its firewalls, and that the server runs"
            }
            Self::Proxy => "check `proxy`, its user and password, and what it lets through",
            Self::Tls => {
                "check `tls`: a private authority needs `ca_file`, a server that asks for one a `client_cert`; \
                 and check this machine's clock"
            }
            Self::Http => "check `url`, `auth` and `headers`, and the endpoint's own log",
        }
    }
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// Which.
    pub step: Step,
    /// It was passed.
    pub passed: bool,
    /// One line for people, without a credential.
    pub detail: String,
}

/// How far it is to the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The steps in order; the last is the one that failed, if one did. Empty: the gate was closed.
    pub steps: Vec<Probed>,
    /// The server's clock, if it said it.
    pub server_time: Option<SystemTime>,
}

impl Client {
    /// Goes the whole way once and says how far it came. Takes no longer than the destination's timeout, and
    /// leaves nothing open. The gate is asked as by [`Client::send`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn probe(&mut self, gate: &dyn Gate) -> Probe {
        let mut progress = Progress::default();
        let mut server_time = None;
        let limit = self.destination.timeout;
        let asking = self.head(gate, &mut progress, &mut server_time);
        let ended = match tokio::time::timeout(limit, asking).await {
            Ok(ended) => ended,
            Err(_) => Err(progress.timed_out(limit)),
        };
        self.rest();
        let failed = match ended {
            Ok(()) => None,
            Err(Stop::Cancelled) => {
                return Probe {
                    steps: Vec::new(),
                    server_time: None,
                };
            }
            Err(Stop::Hold(_, detail) | Stop::TooLarge(detail) | Stop::Unfit(detail)) => Some(detail),
            Err(Stop::Failed(failure)) => Some(failure.detail),
        };
        let last = failed.map(|detail| Probed {
            step: progress.step,
            passed: false,
            detail: bounded(&detail),
        });
        let passed = progress.ways.into_iter().map(|(step, detail)| Probed {
            step,
            passed: true,
            detail: bounded(&detail),
        });
        Probe {
            steps: passed.chain(last).collect(),
            server_time,
        }
    }

    async fn head(
        &mut self,
        gate: &dyn Gate,
        progress: &mut Progress,
        server_time: &mut Option<SystemTime>,
    ) -> Result<(), Stop> {
        ask(gate)?;
        let prepared = self.prepare(progress).await?;
        progress.passed(|| match self.route.proxy() {
            Some(via) => format!("by way of the proxy {}", via.shown),
            None => "without a proxy".to_owned(),
        });
        let stream = self.connect(&prepared, gate, progress).await?;
        ask(gate)?;
        const WAITING: &str = "waiting for the answer to HEAD";
        progress.begin(Step::Http, WAITING);
        let mut connection = Connection::start(stream)
            .await
            .map_err(|error| Failure::of(WAITING, &error, Cause::Protocol))?;
        let authorization = prepared
            .credential
            .as_ref()
            .and_then(|credential| credential.header.as_ref());
        let request = request::head(&self.target, &self.fixed, authorization, connection.is_h2())
            .map_err(|error| Failure::of("building the request", &error, Cause::Protocol))?;
        let answer = match connection.request(request).await {
            Ok(answer) => answer,
            Err(error) => {
                let failure = connection.failure(WAITING, &error, Cause::Protocol);
                if failure.cause == Cause::Tls {
                    // With TLS 1.3 the server refuses our certificate after our half of the handshake.
                    progress.ways.retain(|(step, _)| *step != Step::Tls);
                    progress.step = Step::Tls;
                }
                return Err(failure.into());
            }
        };
        *server_time = answer
            .headers()
            .get(header::DATE)
            .and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok());
        connection.close();
        match meaning(&answer) {
            Ok(detail) => {
                progress.passed(|| detail);
                Ok(())
            }
            Err(detail) => Err(Stop::Failed(Failure {
                cause: Cause::Status,
                detail,
            })),
        }
    }
}

/// What an answer to `HEAD` says of the endpoint: that a request of events would fare better or worse is not
/// known, and most that take POST alone answer 405 or 404.
fn meaning(answer: &Response<Incoming>) -> Result<String, String> {
    let status = answer.status();
    let said = format!("the endpoint answers HEAD with {status}");
    match status.as_u16() {
        200..=299 if answer::is_html(answer.headers()) => {
            Err(format!("{said} and a web page: a captive portal, or a wrong url"))
        }
        300..=399 => Err(format!("{said}: a captive portal, or a moved endpoint")),
        401 => Err(format!("{said}: {}", HoldReason::Unauthorized.advice())),
        403 => Err(format!("{said}: {}", HoldReason::Forbidden.advice())),
        407 => Err(format!("{said}: {}", HoldReason::ProxyAuthentication.advice())),
        410 => Err(format!("{said}: it is gone")),
        500 | 502..=599 => Err(format!("{said}: it is in trouble")),
        _ => Ok(said),
    }
}
