//! `doctor` with `probe`: how far it is to each destination, step by step, as the daemon goes it: with its name
//! servers, its environment, its credentials.
//!
//! I3, I12: nothing is dialled while everything is denied, by whomever; the delivery room asks again at each step.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::join_all;
use serde_json::{Value, json};
use telemetry_delivery::{Client, Destination, Gate, Probe};
use telemetry_protocol::consent::Fact;

use super::Service;
use super::caller::Caller;
use crate::consent::Consent;

/// No destination is waited for longer: a person waits. One that is slower than this is no use either.
const PATIENCE: Duration = Duration::from_secs(10);

/// A clock that is off by this much is said; TLS does not mind yet, but what happened when will look wrong.
const CLOCK_OFF: u64 = 5 * 60;
/// By this much, certificates seem expired or not valid yet.
const CLOCK_WRONG: u64 = 24 * 60 * 60;

/// Open while something may be sent at all.
struct SomethingAllowed<'a> {
    consent: &'a Consent,
    uid: u32,
}

impl SomethingAllowed<'_> {
    fn denial(&self) -> Option<Fact> {
        self.consent.of(self.uid).denies_everything()
    }
}

impl Gate for SomethingAllowed<'_> {
    fn open(&self) -> bool {
        self.denial().is_none()
    }
}

impl Service {
    /// Tries every destination at once. Not cancelled by a client that leaves: it ends within [`PATIENCE`].
    pub(super) async fn probe(&self, caller: Caller) -> Vec<Value> {
        let gate = SomethingAllowed {
            consent: &self.consent,
            uid: caller.uid,
        };
        if let Some(fact) = gate.denial() {
            let detail = format!(
                "nobody was asked: off for every tool, by {}: {}",
                fact.layer, fact.source
            );
            return vec![check(
                "probe",
                "warn",
                &detail,
                Some("nothing is sent to anybody while that holds"),
            )];
        }
        let settings = Arc::clone(&self.settings.borrow());
        if settings.destinations.is_empty() {
            let hint = "name one in the config: [destinations.default] with its url";
            return vec![check("probe", "warn", "there is no destination", Some(hint))];
        }
        let gate = &gate;
        let probes = settings.destinations.values().map(|destination| async move {
            let found = match client(destination) {
                Ok(mut client) => Ok(client.probe(gate).await),
                Err(error) => Err(error),
            };
            (destination.name.as_ref(), found)
        });
        let mut checks = Vec::new();
        for (name, found) in join_all(probes).await {
            match found {
                Ok(found) => {
                    checks.extend(steps(name, &found));
                    checks.extend(self.server_clock(name, &found));
                }
                Err(error) => checks.push(check("probe", "fail", &format!("{name}: {error}"), None)),
            }
        }
        checks
    }

    /// This machine's clock beside the server's.
    fn server_clock(&self, name: &str, found: &Probe) -> Option<Value> {
        let server = found.server_time?.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let own = u64::try_from(self.clock.now().wall_ms / 1000).unwrap_or(0);
        let off = own.abs_diff(server);
        let state = match off {
            0..CLOCK_OFF => "ok",
            CLOCK_OFF..CLOCK_WRONG => "warn",
            _ => "fail",
        };
        let detail = match off {
            0..CLOCK_OFF => format!("agrees with the server of {name}"),
            _ => format!(
                "is {} min {} that of the server of {name}",
                off / 60,
                if own > server { "ahead of" } else { "behind" }
            ),
        };
        let hint = (state != "ok").then_some(
            "set it ('timedatectl set-ntp true'): certificates and the times of events depend on it",
        );
        Some(check("clock", state, &detail, hint))
    }
}

fn client(destination: &Destination) -> Result<Client, telemetry_delivery::BuildError> {
    let mut destination = destination.clone();
    destination.timeout = destination.timeout.min(PATIENCE);
    Client::new(&destination, crate::VERSION)
}

fn steps(name: &str, found: &Probe) -> Vec<Value> {
    let one = |probed: &telemetry_delivery::Probed| {
        let state = if probed.passed { "ok" } else { "fail" };
        let hint = (!probed.passed).then(|| probed.step.advice());
        let title = format!("probe {}", probed.step.as_str());
        check(&title, state, &format!("{name}: {}", probed.detail), hint)
    };
    found.steps.iter().map(one).collect()
}

fn check(title: &str, state: &str, detail: &str, hint: Option<&str>) -> Value {
    json!({ "check": title, "state": state, "detail": detail, "hint": hint })
}
