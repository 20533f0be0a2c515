//! The one door: may this event be taken, and which bytes of it?

use std::borrow::Cow;
use std::sync::Arc;

use telemetry_protocol::consent::{Decision, Fact, Verdict, decide};
use telemetry_protocol::event::{Event, EventTime};
use telemetry_protocol::time::Rfc3339;

use crate::policy::{Policy, Tool};

/// What the policy says of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may be stored: its bytes were appended to the caller's buffer.
    Admitted {
        /// Where it goes.
        destination: Arc<str>,
        /// The epoch it is accepted under.
        epoch: u64,
    },
    /// Nothing was written.
    Declined {
        /// One of the six layers, or `notice`.
        by: &'static str,
        /// Where that stands.
        source: String,
    },
    /// The tool has no manifest, and such tools are refused.
    UnknownTool,
}

/// Consent, then the bytes that leave, appended to `out` (I3, I4). `received_ms` is the wall clock at
/// which the line came; it is the event's time where the client gave none.
pub fn admit(event: &Event<'_>, policy: &Policy, received_ms: i64, out: &mut Vec<u8>) -> Admission {
    let Some(tool) = policy.tool(event.tool) else {
        return Admission::UnknownTool;
    };
    let decision = consent(event, &tool);
    if decision.verdict == Verdict::Deny {
        return Admission::Declined {
            by: decision.by.as_str(),
            source: decision.source.clone(),
        };
    }
    if tool.notice_missing {
        return Admission::Declined {
            by: "notice",
            source: tool.default_source.clone(),
        };
    }
    write(event, received_ms, out);
    Admission::Admitted {
        destination: Arc::clone(&tool.destination),
        epoch: tool.epoch,
    }
}

/// The tool's own decision, or a fresh one where the client saw something of its own.
fn consent<'t>(event: &Event<'_>, tool: &'t Tool) -> Cow<'t, Decision> {
    let Some(claim) = &event.consent else {
        return Cow::Borrowed(&tool.decision);
    };
    let mut facts = tool.facts.clone();
    facts.push(Fact {
        layer: claim.layer,
        // At layers 1 to 3 the daemon sees for itself: a client's allow there says nothing.
        verdict: (claim.verdict == Verdict::Deny || claim.layer > telemetry_protocol::consent::Layer::User)
            .then_some(claim.verdict),
        source: claim.source.clone().into_owned(),
        line: None,
        detail: "seen by the client".to_owned(),
    });
    Cow::Owned(decide(&facts, tool.default, &tool.default_source))
}

/// The stored object: what leaves, without `id` and `tool`, which the queue keeps beside it.
/// `project` and `user` are not among it.
fn write(event: &Event<'_>, received_ms: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"event\":");
    out.extend_from_slice(event.event_raw.as_bytes());
    out.extend_from_slice(b",\"time\":\"");
    match event.time {
        Some(EventTime::Text(text)) => out.extend_from_slice(text.as_bytes()),
        Some(EventTime::Millis(ms)) => out.extend_from_slice(&Rfc3339(ms).bytes()),
        None => out.extend_from_slice(&Rfc3339(received_ms).bytes()),
    }
    out.push(b'"');
    for (key, raw) in [
        (&b",\"tool_version\":"[..], event.version_raw),
        (b",\"properties\":", Some(event.properties)),
        (b",\"context\":", event.context),
    ] {
        if let Some(raw) = raw {
            out.extend_from_slice(key);
            out.extend_from_slice(raw.as_bytes());
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent_file::UserConsent;
    use crate::policy::Parts;
    use telemetry_protocol::json;

    fn admitted(line: &str, consent: &str) -> (Admission, String) {
        let policy = Policy::new(Parts {
            user: UserConsent::parse("consent.toml", consent),
            default_destination: "default".into(),
            ..Parts::default()
        });
        let mut members = Vec::new();
        let event = Event::parse(&json::scan(line.as_bytes(), 32, &mut members).unwrap()).unwrap();
        let mut out = Vec::new();
        let admission = admit(&event, &policy, 0, &mut out);
        (admission, String::from_utf8(out).unwrap())
    }

    #[test]
    fn an_allowed_event_leaves_as_it_came_without_its_keys() {
        let (admission, bytes) = admitted(
            r#"{"tool":"t","event":"ran","properties":{"n":1.10},"version":"2","project":"secret-p","user":"secret-u","id":"00000000-0000-0000-0000-000000000001"}"#,
            "[tools]\nt = true",
        );
        assert!(matches!(admission, Admission::Admitted { epoch: 1, .. }));
        assert_eq!(
            bytes,
            r#"{"event":"ran","time":"1970-01-01T00:00:00.000Z","tool_version":"2","properties":{"n":1.10}}"#
        );
    }

    #[test]
    fn a_declined_event_becomes_no_bytes_at_all() {
        let (admission, bytes) = admitted(r#"{"tool":"t","event":"ran"}"#, "");
        assert_eq!(
            admission,
            Admission::Declined {
                by: "default",
                source: "no manifest".into()
            }
        );
        assert_eq!(bytes, "");
    }

    #[test]
    fn a_client_can_forbid_but_not_overrule() {
        let line = |layer: &str, verdict: &str| {
            format!(
                r#"{{"tool":"t","event":"e","consent":{{"layer":"{layer}","verdict":"{verdict}","source":"./.telemetry"}}}}"#
            )
        };
        let (denied, _) = admitted(&line("project", "deny"), "[tools]\nt = true");
        assert_eq!(
            denied,
            Admission::Declined {
                by: "project",
                source: "./.telemetry".into()
            }
        );
        for layer in [
            "machine",
            "environment",
            "user",
            "project",
            "invocation",
            "default",
        ] {
            assert!(
                matches!(admitted(&line(layer, "allow"), "").0, Admission::Declined { .. }),
                "{layer}"
            );
            assert!(
                matches!(
                    admitted(&line(layer, "deny"), "[tools]\nt = true").0,
                    Admission::Declined { .. }
                ),
                "{layer}"
            );
        }
    }
}
