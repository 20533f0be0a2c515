//! The way to the endpoint, step by step: name look-up, TCP, the proxy's tunnel, TLS.
//!
//! The gate is asked before each thing is said to somebody new (I3, I12): the name server, the proxy, the
//! endpoint. All of it is inside the one time limit of the request (I6).

use std::sync::Arc;

use super::failure::Stop;
use super::outcome::Progress;
use super::prepare::Prepared;
use super::probe::Step;
use super::request::user_agent;
use super::stream::{Carrier, Stream};
use super::{Client, Gate, tls, tunnel};

/// The gate, as a step that can end the exchange.
pub(super) fn ask(gate: &dyn Gate) -> Result<(), Stop> {
    match gate.open() {
        true => Ok(()),
        false => Err(Stop::Cancelled),
    }
}

impl Client {
    /// Connects. The caller has asked the gate; it asks again before the first byte of HTTP.
    ///
    /// # Cancel safety
    /// Dropping it closes what was opened.
    pub(super) async fn connect(
        &mut self,
        prepared: &Prepared,
        gate: &dyn Gate,
        progress: &mut Progress,
    ) -> Result<Stream, Stop> {
        let mut addresses = Vec::new();
        if let Some(name) = self.dial.name() {
            progress.begin(Step::Dns, format!("looking up the name {name}"));
            addresses = self.dial.look_up(name).await?;
            progress.passed(|| match addresses.as_slice() {
                [one] => format!("{name} is {}", one.ip()),
                more => format!("{name} has {} addresses", more.len()),
            });
            ask(gate)?;
        }
        progress.begin(Step::Tcp, format!("connecting to {}", self.dial.whom));
        let stream = self.dial.connect(addresses).await?;
        progress.passed(|| match stream.peer_addr() {
            Ok(address) => format!("connected to {address}"),
            Err(_) => "connected".to_owned(),
        });
        let mut carrier: Carrier = Box::new(stream);
        if let Some(via) = self.route.proxy() {
            ask(gate)?;
            let to_proxy = prepared.trust.as_ref().and_then(|trust| trust.proxy.as_ref());
            if let (Some(name), Some(config)) = (&via.tls_name, to_proxy) {
                progress.begin(
                    Step::Proxy,
                    format!("in the TLS handshake with {}", self.dial.whom),
                );
                let config = Arc::clone(config);
                carrier = Box::new(tls::handshake(config, name.clone(), &self.dial.whom, carrier).await?);
                ask(gate)?;
            }
            let place = self.target.host_and_port();
            progress.begin(
                Step::Proxy,
                format!("asking {} for a way to {place}", self.dial.whom),
            );
            tunnel::open(&mut carrier, via, &place, &user_agent(&self.version)).await?;
            progress.passed(|| format!("{} opened a way to {place}", self.dial.whom));
            ask(gate)?;
        }
        match (&self.target.tls_name, &prepared.trust) {
            (Some(name), Some(trust)) => {
                let whom = &self.target.authority;
                progress.begin(Step::Tls, format!("in the TLS handshake with {whom}"));
                let config = Arc::clone(&trust.endpoint);
                let stream = tls::handshake(config, name.clone(), whom, carrier).await?;
                progress.passed(|| tls::spoken(&stream));
                Ok(Stream::tls(stream))
            }
            _ => Ok(Stream::plain(carrier)),
        }
    }
}
