//! `tls` and `proxy` of a destination: whom it trusts, who it says it is, and the way that it takes.
//!
//! No file is opened here: delivery reads them for each burst, and `--check-config` tries them (`jobs.rs`).

use telemetry_delivery::{Identity, Proxy, Roots, Tls};

use super::effective::Check;
use super::problem::Problem;
use super::units;

impl Check<'_> {
    /// `destinations.NAME.tls`.
    pub(super) fn tls(&mut self, name: &str) -> Tls {
        let at = |key: &'static str| ["destinations", name, "tls", key];
        let added = self.text(&at("ca_file"));
        let only = self.text(&at("ca_only_file"));
        let roots = match (added, only) {
            (Some(_), Some(_)) => {
                self.beside(
                    &at("ca_only_file"),
                    &at("ca_file"),
                    "ca_file adds to the system's authorities, ca_only_file replaces them: keep one",
                );
                Roots::System
            }
            (Some(file), None) => Roots::SystemAnd(file.into()),
            (None, Some(file)) => Roots::Only(file.into()),
            (None, None) => Roots::System,
        };
        let cert = self.text(&at("client_cert"));
        let key = self.text(&at("client_key"));
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some(Identity {
                cert: cert.into(),
                key: key.into(),
            }),
            (Some(_), None) => self.without(&at("client_key"), &at("client_cert")),
            (None, Some(_)) => self.without(&at("client_cert"), &at("client_key")),
            (None, None) => None,
        };
        Tls { roots, identity }
    }

    /// `destinations.NAME.proxy`.
    pub(super) fn proxy(&mut self, name: &str) -> Proxy {
        match self.text(&["destinations", name, "proxy"]).as_deref() {
            Some("none") => Proxy::None,
            None | Some("from-environment") => Proxy::FromEnvironment,
            Some(url) => Proxy::Url(url.to_owned()),
        }
    }

    /// Two keys that are set and exclude each other.
    fn beside(&mut self, key: &[&str], other: &[&str], hint: &str) {
        let (Some(found), Some(beside)) = (self.file.found(key), self.file.found(other)) else {
            return;
        };
        let message = format!("found beside {} ({})", units::dotted(other), beside.origin);
        let problem = Problem::new(&found.origin, message).key(units::dotted(key));
        self.problems.add(problem.hint(hint));
    }

    /// A key that is set without the other that it needs.
    fn without(&mut self, missing: &[&str], set: &[&str]) -> Option<Identity> {
        // Set to what it does not take, it was reported already.
        if self.file.node(missing).is_none()
            && let Some(found) = self.file.found(set)
        {
            let problem = Problem::new(&found.origin, "is missing").key(units::dotted(missing));
            self.problems
                .add(problem.hint("a client certificate is two PEM files: client_cert and client_key"));
        }
        None
    }
}
