//! Where HTTP is taken, for `status` and `doctor`.

use serde_json::{Value, json};

use super::Service;
use crate::gateway::State;

impl Service {
    /// Where it listens; null: nowhere, as the config says.
    pub(super) fn gateway_state(&self) -> Value {
        match &*self.gateway.borrow() {
            State::Off => Value::Null,
            State::Listening(place) => json!({ "state": "listening", "listen": place, "reason": null }),
            State::Closed(fact) => json!({ "state": "closed", "listen": null, "reason": fact.source }),
            State::Failed(why) => json!({ "state": "failed", "listen": null, "reason": why }),
        }
    }

    /// Its check: state, detail, hint; `None`: it is off.
    pub(super) fn gateway_check(&self) -> Option<(&'static str, String, Option<&'static str>)> {
        match &*self.gateway.borrow() {
            State::Off => None,
            State::Listening(place) => Some(("ok", format!("listens on {place}"), None)),
            State::Closed(fact) => Some(("ok", format!("does not listen: {} says no", fact.source), None)),
            State::Failed(why) => {
                let hint = "mend gateway.listen or free that place, then 'telemetryctl reload'";
                Some(("fail", format!("cannot listen: {why}"), Some(hint)))
            }
        }
    }
}
