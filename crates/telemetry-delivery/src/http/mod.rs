//! The HTTP client: one destination, one request at a time, over a connection that is its own.

mod answer;
mod aside;
mod compress;
mod connect;
mod connection;
mod dial;
mod failure;
mod no_proxy;
mod outcome;
mod pem;
mod prepare;
mod probe;
mod proxy;
pub(crate) mod request;
mod secret;
mod stream;
mod tls;
mod tunnel;

use std::fmt;
use std::time::{Duration, SystemTime};

use http::HeaderMap;

use crate::encode::{Encoded, encode_as, limits, may_outgrow};
use crate::error::BuildError;
use crate::mask;
use crate::report::Report;
use crate::types::{Batch, Destination};
use crate::verdict::{Cause, Verdict};

use answer::Received;
use aside::Aside;
use connect::ask;
use connection::Connection;
use dial::Dial;
use failure::{Failure, Stop};
use outcome::Progress;
use prepare::{Prepared, Unprepared};
use proxy::Route;
use request::Target;

pub use answer::read_whole;
pub use pem::tls_problems;
pub use probe::{Probe, Probed, Step};
pub use proxy::check_proxy;

/// How much of an answer is read, in bytes (DELIVERY.md, "Destinations").
pub const ANSWER_MAX: usize = 64 * 1024;

/// Values of headers and query parameters from this length on, in bytes, are taken for keys when an answer
/// echoes them.
const CONFIDENTIAL_MIN: usize = 8;

/// Whether what is about to be sent may still be sent: consent, asked again at the last moment (I3).
pub trait Gate: Send + Sync {
    /// Asked before anything is dialled, before anything is said to a proxy and through it, and before the
    /// first byte of a request. Must not block.
    fn open(&self) -> bool;
}

/// The client of one destination.
///
/// It holds nothing but its settings until the first [`Client::send`]; what a burst of requests shares (the
/// connection, the TLS roots, the credential) is kept until [`Client::rest`].
pub struct Client {
    destination: Destination,
    version: Box<str>,
    target: Target,
    route: Route,
    fixed: HeaderMap,
    /// Values of the settings that an answer may echo and a report may not show.
    confidential: Vec<String>,
    dial: Dial,
    prepare: Aside<Result<Prepared, Unprepared>>,
    prepared: Option<Prepared>,
    kept: Option<Connection>,
}

impl Client {
    /// Checks the destination. `version` is telemetryd's, for `User-Agent` and `source`: [`crate::VERSION`].
    ///
    /// Opens and reads nothing but, where the proxy comes from there, the environment: neither the files that
    /// the settings name nor the system's roots.
    ///
    /// # Errors
    /// What is wrong with the URL, a header, the credential, the proxy or the timeout, and what to change.
    pub fn new(destination: &Destination, version: &str) -> Result<Self, BuildError> {
        if destination.timeout.is_zero() {
            return Err(BuildError::Timeout);
        }
        let target = Target::parse(destination)?;
        let fixed = request::fixed_headers(destination, version)?;
        request::check_auth(&destination.auth)?;
        // What is not UTF-8 is set, too: as it is it cannot be used, and that is said.
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let route = Route::decide(&destination.proxy, &target, &variable)?;
        let values = destination.headers.iter().map(|(_, value)| value.as_str());
        // A short value is no key, and masking it would tear words of an answer apart.
        let confidential = values
            .chain(mask::query_values(&destination.url))
            .filter(|value| value.len() >= CONFIDENTIAL_MIN)
            .map(str::to_owned)
            .collect();
        Ok(Self {
            confidential,
            dial: Dial::new(&target, &route, destination.timeout),
            route,
            destination: destination.clone(),
            version: version.into(),
            target,
            fixed,
            prepare: Aside::default(),
            prepared: None,
            kept: None,
        })
    }

    /// The burst is over, well or badly: closes the connection, and forgets roots and credential, so that
    /// nothing of it is left (I11) and the next burst reads them again. Cheap when there is nothing to forget.
    pub fn rest(&mut self) {
        if let Some(connection) = self.kept.take() {
            connection.close();
        }
        self.prepared = None;
    }

    /// Sends the batch, and says how that ended. Never fails otherwise, and takes no longer than the
    /// destination's timeout, name look-up included.
    ///
    /// The gate is asked before anything else, and again when the connection stands, before the first byte
    /// of the request; on a connection that is kept from the request before, too. If it is closed, nothing
    /// is sent and the verdict is [`Verdict::Cancelled`].
    ///
    /// A kept connection that turns out to be closed by the server, without a byte of an answer, is
    /// replaced once and at once: at-least-once delivery and the `Idempotency-Key` make that safe.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection. The endpoint may have got the batch, as after a timeout.
    pub async fn send(&mut self, batch: &Batch<'_>, gate: &dyn Gate) -> Report {
        let mut progress = Progress::default();
        let limit = self.destination.timeout;
        let ended = match tokio::time::timeout(limit, self.exchange(batch, gate, &mut progress)).await {
            Ok(ended) => ended,
            Err(_) => Err(progress.timed_out(limit)),
        };
        let credential = self
            .prepared
            .as_ref()
            .and_then(|prepared| prepared.credential.as_ref());
        let forms = credential.into_iter().flat_map(|credential| &credential.forms);
        let secrets = forms.chain(&self.confidential);
        let report = progress.report(batch.id, &self.destination, secrets, ended);
        if matches!(report.verdict, Verdict::Hold(_) | Verdict::Cancelled) {
            // What is read again next time may have been put right; and nothing stays open without consent.
            self.rest();
        }
        tracing::debug!(
            destination = %self.destination.name, batch = %batch.id, events = batch.events.len(),
            verdict = ?report.verdict, status = report.status, bytes = report.request_bytes, "sent"
        );
        report
    }

    /// The body, unless it is known beforehand that it cannot go as it is.
    fn body(&self, batch: &Batch<'_>, key: &str) -> Result<Vec<u8>, Stop> {
        let encoding = self.destination.encoding;
        let Encoded { body, unfit } = encode_as(encoding, batch, key, &self.version);
        if let Some(problem) = unfit {
            return Err(Stop::Unfit(problem));
        }
        let most = self.destination.batch.max_bytes.min(limits(encoding).max_bytes);
        if batch.events.len() > 1 && body.len() as u64 > most && may_outgrow(encoding, batch) {
            let bytes = body.len();
            return Err(Stop::TooLarge(format!(
                "the batch has {bytes} bytes when it is encoded, {most} are allowed: it is halved"
            )));
        }
        Ok(body)
    }

    /// One exchange, without regard to time. What it holds is dropped with it.
    async fn exchange(
        &mut self,
        batch: &Batch<'_>,
        gate: &dyn Gate,
        progress: &mut Progress,
    ) -> Result<(), Stop> {
        ask(gate)?;
        // Out of `self`, so that it is put back only when the answer has ended.
        let mut kept = self.kept.take();
        let prepared = self.prepare(progress).await?;
        let credential = prepared.credential.as_ref();
        let key = credential.and_then(|credential| credential.in_body.as_deref());
        let body = self.body(batch, key.unwrap_or_default())?;
        let body = compress::compress(self.destination.compression, body)
            .map_err(|error| Failure::of("compressing the batch", &error, Cause::Io))?;
        let authorization = credential.and_then(|credential| credential.header.as_ref());
        loop {
            let reused = match kept.take() {
                Some(mut connection) => connection.is_ready().await.then_some(connection),
                None => None,
            };
            let was_reused = reused.is_some();
            let mut connection = match reused {
                Some(connection) => connection,
                None => {
                    let stream = self.connect(&prepared, gate, progress).await?;
                    // Before HTTP/2's preface: nothing is said to a server that gets nothing.
                    ask(gate)?;
                    progress.begin(Step::Http, "starting HTTP");
                    let started = Connection::start(stream).await;
                    started.map_err(|error| Failure::of("starting HTTP", &error, Cause::Protocol))?
                }
            };
            let request = request::build(
                &self.target,
                &self.fixed,
                authorization,
                batch.id,
                body.clone(),
                connection.is_h2(),
            )
            .map_err(|error| Failure::of("building the request", &error, Cause::Protocol))?;
            let before = connection.received();
            progress.begin(Step::Http, "sending the request and waiting for the answer");
            ask(gate)?;
            progress.request_bytes = body.len() as u64;
            let head = match connection.request(request).await {
                Ok(head) => head,
                // HTTP/2 frames of the connection itself (GOAWAY, PING) are no answer.
                Err(error) if was_reused && (connection.is_h2() || connection.received() == before) => {
                    tracing::debug!(%error, "the kept connection was closed: dialling again");
                    ask(gate)?;
                    continue;
                }
                Err(error) => {
                    return Err(connection
                        .failure("waiting for the answer", &error, Cause::Protocol)
                        .into());
                }
            };
            progress.begin(Step::Http, "reading the answer");
            let sent_at = wall_clock(batch.sent_at_ms);
            let received = progress.received.insert(Received::head(&head, batch.id, sent_at));
            let ended = received.read(&mut connection, head.into_body()).await;
            match ended {
                Ok(true) if connection.is_ready().await => self.kept = Some(connection),
                Ok(_) => connection.close(),
                Err(error) => {
                    return Err(Failure::of("reading the answer", &error, Cause::Truncated).into());
                }
            }
            return Ok(());
        }
    }
}

fn wall_clock(at_ms: i64) -> SystemTime {
    let since = Duration::from_millis(at_ms.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    if at_ms < 0 {
        epoch.checked_sub(since)
    } else {
        epoch.checked_add(since)
    }
    .unwrap_or(epoch)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("destination", &self.destination)
            .field("connected", &self.kept.is_some())
            .finish_non_exhaustive()
    }
}
