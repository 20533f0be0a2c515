//! The one door: may this event be taken, and which bytes of it?

mod context;
mod fold;
mod report;
mod values;

use std::borrow::Cow;
use std::sync::Arc;

use telemetry_protocol::consent::{Decision, Fact, Verdict, decide};
use telemetry_protocol::event::{Event, EventTime};
use telemetry_protocol::json::walk::push_string;
use telemetry_protocol::time::Rfc3339;

pub use self::context::MachineFacts;
pub use self::report::{Removed, Report, Why};
use self::values::{Place, Values};
use crate::manifest::events::{Events, Found, Properties};
use crate::manifest::terms::{Ci, Project, User};
use crate::policy::{Policy, Tool};
use crate::pseudonym::{self, Pseudonyms};
use crate::redact::Subject;

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
        /// One of the six layers, or `notice`, `ci`, `quota`, `redirected`.
        by: &'static str,
        /// Where that stands.
        source: String,
    },
    /// It is not of the share that is kept. Nothing was written.
    SampledOut,
    /// The tool has no manifest, and such tools are refused.
    UnknownTool,
    /// The tool's manifest does not list this event.
    UnlistedEvent {
        /// The manifest.
        source: String,
    },
}

/// What is known beside the event and the policy.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'o> {
    /// The event's id, its client's or ours.
    pub id: [u8; 16],
    /// When the line came ([`Rfc3339::bytes`]): the event's time where the client gave none. Lines that came together
    /// have it written once.
    pub received: [u8; 24],
    /// The user whose names and home are taken out.
    pub subject: &'o Subject,
    /// The machine.
    pub machine: &'o MachineFacts,
}

/// What the door asks of its daemon, late: only for events that come so far.
pub trait Keeper {
    /// What stands for things of this tool and user under this consent epoch. A secret is made at the first asking,
    /// and another one in each later epoch: what was withdrawn cannot be joined with what comes after (I3).
    fn pseudonyms(&mut self, tool: &str, epoch: u64) -> &mut Pseudonyms;

    /// How many events of this tool and user were admitted today.
    fn today(&mut self, tool: &str) -> u64;

    /// One more was, of a tool whose events are counted.
    fn admitted(&mut self, tool: &str);
}

/// Consent, then what the manifest allows of it, then the bytes that leave, appended to `out` (I3, I4). What was
/// taken out stands in `report`.
///
/// In this order: consent · notice, `ci`, redirected · the event's name · quota · sample · identity, properties and
/// context by the manifest, every string by the value rules.
pub fn admit(
    event: &Event<'_>,
    policy: &Policy,
    occasion: &Occasion<'_>,
    keeper: &mut dyn Keeper,
    report: &mut Report,
    out: &mut Vec<u8>,
) -> Admission {
    report.clear();
    let Some(tool) = policy.tool(event.tool) else {
        return Admission::UnknownTool;
    };
    let decision = consent(event, &tool);
    let declined = |by: &'static str, source: &str| Admission::Declined {
        by,
        source: source.to_owned(),
    };
    if decision.verdict == Verdict::Deny {
        return declined(decision.by.as_str(), &decision.source);
    }
    if tool.notice_missing {
        return declined("notice", &tool.default_source);
    }
    let in_ci = context::in_ci(event.context);
    if in_ci && tool.terms.ci == Ci::Skip {
        return declined("ci", &tool.default_source);
    }
    if event.redirected {
        return declined("redirected", "the tool's own settings");
    }
    let found = tool.terms.events.find(&event.event);
    if matches!(found, Found::Unlisted) {
        let source = tool.default_source.clone();
        return Admission::UnlistedEvent { source };
    }
    if let Some(most) = tool.max_per_day
        && keeper.today(event.tool) >= most
    {
        return declined("quota", &format!("{}: max_per_day = {most}", tool.default_source));
    }
    if !tool.sample.keeps(&occasion.id) {
        return Admission::SampledOut;
    }
    let mut writing = Writing {
        event,
        tool: &tool,
        occasion,
        in_ci,
        values: Values {
            subject: occasion.subject,
            tool: event.tool,
            epoch: tool.epoch,
            vocabulary: tool.terms.vocabulary.as_ref(),
            keeper,
            report,
        },
    };
    writing.write(found, out);
    if tool.max_per_day.is_some() {
        keeper.admitted(event.tool);
    }
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

/// An event that is admitted, on its way to bytes.
struct Writing<'w> {
    event: &'w Event<'w>,
    tool: &'w Tool,
    occasion: &'w Occasion<'w>,
    in_ci: bool,
    values: Values<'w>,
}

impl Writing<'_> {
    /// The stored object: what leaves, without `id` and `tool`, which the queue keeps beside it. Of `project` and
    /// `user` only what stands for them is in it.
    fn write(&mut self, found: Found<'_>, out: &mut Vec<u8>) {
        let event = self.event;
        out.extend_from_slice(b"{\"event\":");
        match found {
            Found::Exact(_) => out.extend_from_slice(event.event_raw.as_bytes()),
            _ => self.values.string(event.event_raw, out),
        }
        out.extend_from_slice(b",\"time\":\"");
        match event.time {
            Some(EventTime::Text(text)) => out.extend_from_slice(text.as_bytes()),
            Some(EventTime::Millis(ms)) => out.extend_from_slice(&Rfc3339(ms).bytes()),
            None => out.extend_from_slice(&self.occasion.received),
        }
        out.push(b'"');
        if let Some(version) = event.version_raw {
            out.extend_from_slice(b",\"tool_version\":");
            self.values.string(version, out);
        }
        out.extend_from_slice(b",\"properties\":");
        let place = Place::top("properties");
        match found {
            Found::Exact(listed) | Found::Wild(listed) => match &listed.properties {
                Properties::Listed(table) => self.values.object(event.properties, table, place, out),
                Properties::Any => self.values.free_object(event.properties, place, out),
            },
            Found::Any | Found::Unlisted => self.values.free_object(event.properties, place, out),
        }
        // What is the same in a tool's events comes last: the queue stores a common end once.
        self.identity(out);
        let terms = &self.tool.terms;
        let any = matches!(terms.events, Events::Any);
        let facts = (terms.context, any);
        context::write(&mut self.values, event.context, self.occasion.machine, facts, out);
        out.push(b'}');
    }

    /// `anonymous_id` and `project_id`. In continuous integration, and where no secret lasts, there is no user.
    fn identity(&mut self, out: &mut Vec<u8>) {
        let (event, identity) = (self.event, self.tool.terms.identity);
        let user = event.user.as_deref();
        let own = user.filter(|id| identity.user == User::FromTool && pseudonym::is_id(id));
        if identity.user != User::None && !self.in_ci {
            if let Some(id) = own {
                member(b",\"anonymous_id\":", id, out);
            } else {
                let pseudonyms = self.values.keeper.pseudonyms(event.tool, self.tool.epoch);
                if pseudonyms.lasting() {
                    member(b",\"anonymous_id\":", pseudonyms.user(user), out);
                }
            }
        }
        let Some(project) = event.project.as_deref() else {
            return;
        };
        match identity.project {
            Project::None => {}
            Project::FromTool if pseudonym::is_id(project) => {
                member(b",\"project_id\":", &pseudonym::shared_project(project), out);
            }
            Project::FromTool | Project::Hashed => {
                let pseudonyms = self.values.keeper.pseudonyms(event.tool, self.tool.epoch);
                if pseudonyms.lasting() && !self.in_ci {
                    member(b",\"project_id\":", pseudonyms.project(project), out);
                }
            }
        }
    }
}

fn member(name: &[u8], text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    push_string(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent_file::UserConsent;
    use crate::policy::Parts;
    use telemetry_protocol::json;

    /// Keeps nothing.
    struct Nobody(Pseudonyms);

    impl Keeper for Nobody {
        fn pseudonyms(&mut self, _: &str, _: u64) -> &mut Pseudonyms {
            &mut self.0
        }

        fn today(&mut self, _: &str) -> u64 {
            0
        }

        fn admitted(&mut self, _: &str) {}
    }

    fn admitted(line: &str, consent: &str) -> (Admission, String) {
        let policy = Policy::new(Parts {
            user: UserConsent::parse("consent.toml", consent),
            default_destination: "default".into(),
            ..Parts::default()
        });
        let mut members = Vec::new();
        let event = Event::parse(&json::scan(line.as_bytes(), 32, &mut members).unwrap()).unwrap();
        let mut out = Vec::new();
        let occasion = Occasion {
            id: [0; 16],
            received: Rfc3339(0).bytes(),
            subject: &Subject::default(),
            machine: &MachineFacts::default(),
        };
        let mut keeper = Nobody(Pseudonyms::new([7; 32], false));
        let admission = admit(
            &event,
            &policy,
            &occasion,
            &mut keeper,
            &mut Report::default(),
            &mut out,
        );
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
