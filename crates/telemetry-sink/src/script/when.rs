//! The conditions of a step. All that are given must hold.

use std::time::Duration;

use serde_json::Value;

use crate::received::{Content, Encoding};

/// When a step applies. The default is always.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct When {
    /// The request's number, 1 for the first that this sink got.
    pub nth: Option<u64>,
    /// Every n-th request: n, 2n, 3n…
    pub every: Option<u64>,
    /// Not before this long after the sink began.
    pub after: Option<Duration>,
    /// Only until this long after the sink began.
    pub until: Option<Duration>,
    /// The path, without the query.
    pub path: Option<String>,
    /// A header has this value. The name in lower case.
    pub header: Option<(String, String)>,
    /// The body has more bytes than this, its content coding undone.
    pub bytes_over: Option<u64>,
    /// The batch has more events than this.
    pub events_over: Option<u64>,
    /// The body's encoding.
    pub encoding: Option<Encoding>,
    /// An event of this tool is in the batch.
    pub tool: Option<String>,
    /// An event of this name is in the batch.
    pub event: Option<String>,
    /// An event with this property is in the batch; with a value, it must be equal.
    /// Together with `tool` and `event`, one event must meet all of them.
    pub property: Option<(String, Option<Value>)>,
}

/// What is known of a request when a script decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) number: u64,
    pub(crate) elapsed: Duration,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(String, String)],
    /// `None` before the body was read.
    pub(crate) body: Option<Body<'a>>,
}

/// The half of the facts that needs the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a> {
    pub(crate) bytes: u64,
    /// `None` where it could not be decoded.
    pub(crate) content: Option<&'a Content>,
}

impl When {
    /// Whether the body has to be read to answer.
    pub(crate) fn reads_body(&self) -> bool {
        self.bytes_over.is_some()
            || self.events_over.is_some()
            || self.encoding.is_some()
            || self.reads_events()
    }

    /// Whether the events have to be parsed to answer.
    pub(crate) fn reads_events(&self) -> bool {
        self.tool.is_some() || self.event.is_some() || self.property.is_some()
    }

    /// Whether all conditions hold. One that needs a body that is not there does not.
    pub(crate) fn holds(&self, facts: &Facts<'_>) -> bool {
        self.head_holds(facts) && (!self.reads_body() || facts.body.is_some_and(|body| self.body_holds(body)))
    }

    fn head_holds(&self, facts: &Facts<'_>) -> bool {
        let path = facts.path.split('?').next().unwrap_or_default();
        self.nth.is_none_or(|nth| facts.number == nth)
            && self.every.is_none_or(|every| facts.number.is_multiple_of(every))
            && self.after.is_none_or(|after| facts.elapsed >= after)
            && self.until.is_none_or(|until| facts.elapsed < until)
            && self.path.as_deref().is_none_or(|own| own == path)
            && self
                .header
                .as_ref()
                .is_none_or(|wanted| facts.headers.contains(wanted))
    }

    fn body_holds(&self, body: Body<'_>) -> bool {
        if self.bytes_over.is_some_and(|over| body.bytes <= over) {
            return false;
        }
        let needs_content = self.events_over.is_some() || self.encoding.is_some() || self.reads_events();
        let Some(content) = body.content else {
            return !needs_content;
        };
        self.events_over.is_none_or(|over| content.count as u64 > over)
            && self.encoding.is_none_or(|encoding| content.encoding == encoding)
            && (!self.reads_events() || content.events.iter().any(|event| self.event_holds(event)))
    }

    /// Whether one event meets what is asked of an event.
    pub(crate) fn event_holds(&self, event: &Value) -> bool {
        let is = |key: &str, wanted: &Option<String>| {
            wanted
                .as_deref()
                .is_none_or(|wanted| event.get(key).and_then(Value::as_str) == Some(wanted))
        };
        is("tool", &self.tool)
            && is("event", &self.event)
            && self.property.as_ref().is_none_or(|(name, wanted)| {
                let found = event
                    .get("properties")
                    .and_then(|properties| properties.get(name));
                found.is_some_and(|found| wanted.as_ref().is_none_or(|wanted| wanted == found))
            })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts(number: u64) -> Facts<'static> {
        Facts {
            number,
            elapsed: Duration::from_secs(3),
            path: "/v1/events?a=b",
            headers: &[],
            body: None,
        }
    }

    fn content(events: Vec<Value>) -> Content {
        let count = events.len();
        Content {
            encoding: Encoding::Json,
            batch_id: None,
            sent_at: None,
            source: None,
            losses: None,
            events,
            count,
        }
    }

    #[test]
    fn counts_times_and_paths_are_told_by_the_head() {
        assert!(When::default().holds(&facts(1)));
        assert!(
            When {
                nth: Some(2),
                ..When::default()
            }
            .holds(&facts(2))
        );
        assert!(
            !When {
                nth: Some(2),
                ..When::default()
            }
            .holds(&facts(3))
        );
        assert!(
            When {
                every: Some(3),
                ..When::default()
            }
            .holds(&facts(6))
        );
        assert!(
            !When {
                every: Some(3),
                ..When::default()
            }
            .holds(&facts(7))
        );
        assert!(
            When {
                path: Some("/v1/events".into()),
                ..When::default()
            }
            .holds(&facts(1))
        );
        let window = |after, until| When {
            after: Some(Duration::from_secs(after)),
            until: Some(Duration::from_secs(until)),
            ..When::default()
        };
        assert!(window(3, 4).holds(&facts(1)));
        assert!(!window(2, 3).holds(&facts(1)));
        assert!(!window(4, 9).holds(&facts(1)));
    }

    #[test]
    fn one_event_must_meet_all_that_is_asked_of_an_event() {
        let when = When {
            event: Some("run".into()),
            property: Some(("poison".into(), Some(json!(true)))),
            ..When::default()
        };
        let scattered = content(vec![
            json!({"event":"run","properties":{"poison":false}}),
            json!({"event":"stop","properties":{"poison":true}}),
        ]);
        let together = content(vec![json!({"event":"run","properties":{"poison":true}})]);
        let with = |content| Facts {
            body: Some(Body {
                bytes: 9,
                content: Some(content),
            }),
            ..facts(1)
        };
        assert!(!when.holds(&with(&scattered)));
        assert!(when.holds(&with(&together)));
        assert!(!when.holds(&facts(1)), "nothing is known of the events yet");
    }

    #[test]
    fn a_property_without_a_value_is_met_by_being_there() {
        let when = When {
            property: Some(("big".into(), None)),
            ..When::default()
        };
        assert!(when.event_holds(&json!({"properties":{"big":null}})));
        assert!(!when.event_holds(&json!({"properties":{}})));
    }
}
