//! From a host's name to a TCP connection: the system's resolver, then RFC 8305's race of the two address
//! families (hyper-util's connector), so that a machine with a broken IPv6 still delivers.
//!
//! No socket is made here before the caller has asked its gate (I3, I12): a look-up is a request, too.

use std::future::{Ready, ready};
use std::net::{SocketAddr, ToSocketAddrs};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::net::TcpStream;
use tower_service::Service;

use super::aside::Aside;
use super::failure::{DnsError, Failure};
use super::proxy::{self, Route};
use super::request::Target;
use crate::verdict::Cause;

/// Connects to one host: the endpoint, or the proxy before it.
pub(super) struct Dial {
    uri: Uri,
    /// How the host is named to people.
    pub(super) whom: String,
    timeout: Duration,
    /// Plain http was promised to stay on this machine, whatever the name resolves to.
    loopback_only: bool,
    out: Aside<Found>,
}

/// What a look-up found; the error's text is the operating system's.
type Found = Result<Vec<SocketAddr>, String>;

impl Dial {
    /// `timeout` is the whole request's.
    pub(super) fn new(target: &Target, route: &Route, timeout: Duration) -> Self {
        let (uri, whom) = match route.proxy() {
            Some(via) => (via.uri.clone(), format!("the proxy {}", via.shown)),
            None => (target.uri.clone(), target.authority.clone()),
        };
        Self {
            uri,
            whom,
            timeout,
            loopback_only: target.loopback_only,
            out: Aside::default(),
        }
    }

    /// The name that has to be looked up first, if it is no address.
    pub(super) fn name(&self) -> Option<&str> {
        self.uri.host().filter(|host| proxy::address(host).is_none())
    }

    /// Looks the name up with the system's resolver, on a thread of its own: tokio's `lookup_host` would
    /// take a thread of the pool, and a hanging name server would then keep the runtime from shutting down.
    ///
    /// # Cancel safety
    /// A look-up that hangs goes on in its thread, and the next attempt waits for it.
    pub(super) async fn look_up(&self, name: &str) -> Result<Vec<SocketAddr>, Failure> {
        let attempted = format!("looking up the name {name}");
        let failed = |text: String| Failure::of(&attempted, &DnsError(text), Cause::Dns);
        let host = name.to_owned();
        // The connector puts the port in.
        let found = self.out.run("telemetryd-dns", move || {
            let found = (host.as_str(), 0).to_socket_addrs();
            found.map(Iterator::collect).map_err(|error| error.to_string())
        });
        let found = found.await.map_err(|error| failed(error.to_string()))?;
        let mut addresses: Vec<SocketAddr> = found.map_err(failed)?;
        if self.loopback_only {
            addresses.retain(|address| address.ip().is_loopback());
        }
        if addresses.is_empty() {
            return Err(failed(format!("{name} has no address that may be used")));
        }
        Ok(addresses)
    }

    /// Connects to one of these addresses; an address that stands in the URL needs none.
    ///
    /// # Cancel safety
    /// Dropping it closes the socket.
    pub(super) async fn connect(&self, addresses: Vec<SocketAddr>) -> Result<TcpStream, Failure> {
        let mut connector = HttpConnector::new_with_resolver(Known(addresses));
        // The URL may be https: TLS is put on top of the connection.
        connector.enforce_http(false);
        // A request is written at once; waiting for more would only delay it.
        connector.set_nodelay(true);
        // Shared out among the host's addresses, so that a dead one does not use up the time of the others.
        // A quarter is left for TLS and the answer.
        connector.set_connect_timeout(Some(self.timeout.saturating_mul(3) / 4));
        match connector.call(self.uri.clone()).await {
            Ok(stream) => Ok(stream.into_inner()),
            Err(error) => {
                let attempted = format!("connecting to {}", self.whom);
                Err(Failure::of(&attempted, &error, Cause::Io))
            }
        }
    }
}

/// A resolver that was asked already.
#[derive(Clone)]
struct Known(Vec<SocketAddr>);

impl Service<Name> for Known {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = DnsError;
    type Future = Ready<Result<Self::Response, DnsError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DnsError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(std::mem::take(&mut self.0).into_iter()))
    }
}
