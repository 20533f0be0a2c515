//! From a host's name to a TCP connection: the system's resolver, then RFC 8305's race of the two address
//! families (hyper-util's connector), so that a machine with a broken IPv6 still delivers.
//!
//! No socket is made here before the caller has asked its gate (I3, I12): a look-up is a request, too.

use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::net::TcpStream;
use tower_service::Service;

use super::aside::Aside;
use super::failure::{DnsError, Failure};
use super::request::Target;
use crate::verdict::Cause;

/// Connects to one target.
pub(super) struct Dial {
    connector: HttpConnector<Lookup>,
    uri: Uri,
    attempted: String,
}

impl Dial {
    /// `timeout` is the whole request's.
    pub(super) fn new(target: &Target, timeout: Duration) -> Self {
        let lookup = Lookup {
            out: Arc::default(),
            loopback_only: target.loopback_only,
        };
        let mut connector = HttpConnector::new_with_resolver(lookup);
        // The URL may be https: TLS is put on top of the connection.
        connector.enforce_http(false);
        // A request is written at once; waiting for more would only delay it.
        connector.set_nodelay(true);
        // Shared out among the host's addresses, so that a dead one does not use up the time of the others.
        // A quarter is left for TLS and the answer.
        connector.set_connect_timeout(Some(timeout.saturating_mul(3) / 4));
        let attempted = format!("connecting to {}", target.authority);
        Self {
            connector,
            uri: target.uri.clone(),
            attempted,
        }
    }

    /// Looks the host up and connects.
    ///
    /// # Cancel safety
    /// Dropping it closes the socket. A look-up that hangs goes on in its thread, and the next attempt
    /// waits for it.
    pub(super) async fn connect(&mut self) -> Result<TcpStream, Failure> {
        match self.connector.call(self.uri.clone()).await {
            Ok(stream) => Ok(stream.into_inner()),
            Err(error) => Err(Failure::of(&self.attempted, &error, Cause::Io)),
        }
    }
}

type Found = Result<Vec<SocketAddr>, String>;

/// The system's resolver, on a thread of its own: tokio's `lookup_host` would take a thread of the pool,
/// and a hanging name server would then keep the runtime from shutting down.
#[derive(Clone)]
struct Lookup {
    out: Arc<Aside<Found>>,
    /// Plain http was promised to stay on this machine, whatever the name resolves to.
    loopback_only: bool,
}

impl Service<Name> for Lookup {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = DnsError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DnsError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DnsError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let lookup = self.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = lookup
                .out
                // The connector puts the port in.
                .run("telemetryd-dns", move || {
                    (host.as_str(), 0)
                        .to_socket_addrs()
                        .map(Iterator::collect)
                        .map_err(|e| e.to_string())
                })
                .await
                .map_err(|error| DnsError(error.to_string()))?;
            let mut addresses: Vec<SocketAddr> = found.map_err(DnsError)?;
            if lookup.loopback_only {
                addresses.retain(|address| address.ip().is_loopback());
            }
            if addresses.is_empty() {
                return Err(DnsError(format!("{name} has no address that may be used")));
            }
            Ok(addresses.into_iter())
        })
    }
}
