//! For a program that speaks to the daemon itself (`telemetryctl send`): an event that nobody took waits in the user's
//! spool, by the same rules as a library's (docs/spool.md).

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use telemetry_policy::Manifest;
use telemetry_protocol::limits::MAX_EVENT_BYTES;
use telemetry_protocol::time::parse_rfc3339;
use uuid::Uuid;

use crate::client::Client;
use crate::event::{start_one, written};
use crate::seen::Seen;
use crate::spool::{self, Spool};
use crate::{Context, clock};

/// Why nobody took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// There is no daemon: one is started, where that may be.
    Nobody,
    /// There is one, and it did not take or answer it in time: for half a minute nobody asks it again.
    Wedged,
}

/// What may wait of a line, beside its properties.
const KEPT: [&str; 6] = ["tool", "event", "id", "version", "context", "consent"];

impl Client {
    /// Whether a daemon did not take an event in time a moment ago: then it is not asked again.
    #[must_use]
    pub fn wedged(&self) -> bool {
        let surroundings = self.seen_from();
        let user = surroundings.user.as_ref();
        user.is_some_and(|user| Spool::of(&user.state).wedged())
    }

    /// Leaves an event that consent has let through, and that no daemon took, for the next one: of its properties what may
    /// wait. `line` is the event as the protocol has it. Whether it is kept; with its `id` it is one event even if a daemon
    /// has it besides.
    #[must_use]
    pub fn leave(&self, line: &Map<String, Value>, why: Unheard) -> bool {
        let surroundings = &*self.seen_from();
        let context = Context::of_this_process(&surroundings.variables);
        let seen = Seen::look(self, surroundings, &context);
        let (Some(manifest), Some(user)) = (&seen.waits, &surroundings.user) else {
            return false;
        };
        let spool = Spool::of(&user.state);
        if why == Unheard::Wedged {
            spool.note_wedged();
        }
        let kept = waiting(manifest, line).is_some_and(|(id, text)| {
            text.len() <= MAX_EVENT_BYTES
                && spool
                    .append(&self.name, id, text.as_bytes(), seen.register)
                    .is_ok()
        });
        if why == Unheard::Nobody {
            start_one(surroundings, &seen);
        }
        kept
    }
}

/// The id, and the line as it may wait. The id says how old it is: one that does not cannot wait.
fn waiting(manifest: &Manifest, line: &Map<String, Value>) -> Option<(Uuid, String)> {
    let id = Uuid::try_parse(line.get("id")?.as_str()?).ok()?;
    if id.get_version_num() != 7 {
        return None;
    }
    let empty = Map::new();
    let properties = line.get("properties").and_then(Value::as_object);
    let event = line.get("event")?.as_str()?;
    let listed = spool::listed(manifest, event, properties.unwrap_or(&empty), &BTreeSet::new())?;
    let time = match line.get("time") {
        Some(Value::String(text)) => parse_rfc3339(text)?,
        Some(time) => time.as_i64()?,
        None => clock::wall_ms(),
    };
    let mut kept: Map<String, Value> = KEPT
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), line.get(*key)?.clone())))
        .collect();
    kept.insert("id".to_owned(), id.to_string().into());
    kept.insert("time".to_owned(), time.into());
    kept.insert("properties".to_owned(), Value::Object(listed));
    Some((id, written(&kept)))
}
