//! One event, ready to be put into somebody's form: its parts, and what `[map]` of its tool makes of them.
//!
//! `[map]` does three things (TOOLS.md). A target in `properties` is added to the properties; a property that was its
//! source and is no target itself has been renamed, and is gone from its old place. A target in `context` means that
//! the mapping builds the whole context: what it does not name does not leave. Any other target is a field of the
//! vendor's form itself, beside or in place of those that the encoding writes, ids aside.
//!
//! What every event may have (`anonymous_id`, `project_id`, `tool_version`) is null where the event has none; a
//! property or a fact of the context that is not there is left out.

use std::borrow::Cow;

use telemetry_protocol::map::{Field, Mapping, Source};
use telemetry_protocol::time::Rfc3339;
use uuid::Uuid;

use super::read::{Parts, find};
use super::tree::Tree;
use crate::types::{Batch, Event};

/// An event in its parts.
pub(super) struct Shaped<'a> {
    /// Its name, JSON.
    pub(super) event: &'a str,
    /// When it happened, JSON: the client's word, else when it was received.
    pub(super) time: Cow<'a, str>,
    /// As it is stored.
    pub(super) parts: Parts<'a>,
    /// An object.
    pub(super) properties: Tree<'a>,
    /// An object, where there is any.
    pub(super) context: Option<Tree<'a>>,
    /// Fields of the form itself, by path.
    pub(super) own: Vec<(&'a Field, Tree<'a>)>,
}

impl<'a> Shaped<'a> {
    /// Takes `event` of `batch` apart and maps it. `somebody`: the form must have an anonymous id.
    pub(super) fn of(batch: &Batch<'_>, event: &Event<'a>, somebody: bool) -> Self {
        let mut shaped = Self::unmapped(batch, event);
        if let Some(map) = event.map.filter(|map| !map.is_empty()) {
            shaped.map(map, event.id, somebody);
        }
        shaped
    }

    /// Takes it apart.
    pub(super) fn unmapped(batch: &Batch<'_>, event: &Event<'a>) -> Self {
        let parts = Parts::of(event.payload);
        let time = match parts.time() {
            Some(time) => Cow::Borrowed(time),
            None => Cow::Owned(quoted_time(received_ms(batch, event))),
        };
        Self {
            event: parts.event().unwrap_or("\"\""),
            time,
            parts,
            properties: Tree::raw(parts.properties()),
            context: parts.context().map(Tree::raw),
            own: Vec::new(),
        }
    }

    /// The user's pseudonym; where there is none, one that says nothing and is the same at each try: the event's own.
    pub(super) fn somebody(&self, id: Uuid) -> Tree<'a> {
        self.parts
            .anonymous_id()
            .map_or_else(|| Tree::text(&stand_in(id)), Tree::raw)
    }

    fn map(&mut self, map: &'a Mapping, id: Uuid, somebody: bool) {
        let fields = map.fields();
        for field in fields {
            if let Source::Properties(Some(name)) = field.source()
                && !fields.iter().any(|other| stays(other, name))
            {
                self.properties.remove(name);
            }
        }
        if fields.iter().any(|field| field.names().next() == Some("context")) {
            self.context = Some(Tree::Object(Vec::new()));
        }
        for field in fields {
            let Some(value) = self.value(field.source(), id, somebody) else {
                continue;
            };
            let mut names = field.names();
            match names.next() {
                Some("properties") => self.properties.set(names, value),
                Some("context") => {
                    let context = self.context.get_or_insert_with(|| Tree::Object(Vec::new()));
                    context.set(names, value);
                }
                _ => self.own.push((field, value)),
            }
        }
    }

    /// What a source says of this event.
    pub(super) fn value(&self, source: &Source, id: Uuid, somebody: bool) -> Option<Tree<'a>> {
        const NULL: Tree<'static> = Tree::raw("null");
        let parts = self.parts;
        let or_null = |raw: Option<&'a str>| Some(raw.map_or(NULL, Tree::raw));
        match source {
            Source::Properties(None) => Some(Tree::raw(parts.properties())),
            Source::Properties(Some(name)) => find(parts.properties(), name).map(Tree::raw),
            Source::Context(None) => parts.context().map(Tree::raw),
            Source::Context(Some(name)) => find(parts.context()?, name).map(Tree::raw),
            Source::AnonymousId if somebody => Some(self.somebody(id)),
            Source::AnonymousId => or_null(parts.anonymous_id()),
            Source::ProjectId => or_null(parts.project_id()),
            Source::ToolVersion => or_null(parts.tool_version()),
            Source::Event => Some(Tree::raw(self.event)),
            Source::Time => Some(Tree::Raw(self.time.clone())),
            Source::Constant(value) => Some(Tree::Raw(Cow::Owned(value.to_string()))),
        }
    }
}

/// Whether this field keeps the property `name` in its place.
fn stays(field: &Field, name: &str) -> bool {
    field.target().strip_prefix("properties.") == Some(name)
}

/// Sets the fields of the form itself in `form`, those aside whose first name is among `kept`.
pub(super) fn set_own<'a>(form: &mut Tree<'a>, own: Vec<(&'a Field, Tree<'a>)>, kept: &[&str]) {
    for (field, value) in own {
        if field.names().next().is_some_and(|name| !kept.contains(&name)) {
            form.set(field.names(), value);
        }
    }
}

/// For forms that cannot be without an anonymous id: a UUIDv5 (RFC 9562, section 5.5) in the namespace of the event's
/// own id. A resend has the same, and no two events do.
pub(super) fn stand_in(id: Uuid) -> String {
    Uuid::new_v5(&id, b"anonymous_id").hyphenated().to_string()
}

/// The wall clock at which an event was received, milliseconds, by what the batch says of its age.
pub(super) fn received_ms(batch: &Batch<'_>, event: &Event<'_>) -> i64 {
    let age = i64::try_from(event.age_ms).unwrap_or(i64::MAX);
    batch.sent_at_ms.saturating_sub(age)
}

/// A time as a JSON string.
pub(super) fn quoted_time(at_ms: i64) -> String {
    let bytes = Rfc3339(at_ms).bytes();
    format!("\"{}\"", std::str::from_utf8(&bytes).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Losses;
    use telemetry_protocol::map::Written;

    const PAYLOAD: &str = concat!(
        r#"{"event":"ran","time":"2026-11-21T10:00:00Z","properties":{"old":1,"kept":2,"a.b":3,"n":null},"#,
        r#""context":{"ci":false,"os":{"name":"linux"},"arch":"x86_64"}}"#,
    );

    fn mapped(pairs: &[(&str, &str)], somebody: bool) -> (String, String, String) {
        let map = Mapping::new(
            pairs
                .iter()
                .map(|(target, source)| (*target, Written::Path(source))),
        )
        .unwrap();
        let event = Event {
            id: Uuid::from_u128(7),
            tool: "t",
            payload: PAYLOAD.as_bytes(),
            age_ms: 0,
            map: Some(&map),
        };
        let batch = Batch {
            id: Uuid::nil(),
            sent_at_ms: 0,
            losses: Losses::default(),
            events: vec![event],
        };
        let shaped = Shaped::of(&batch, &event, somebody);
        let mut form = Tree::object([("id", Some(Tree::raw("9")))]);
        let (properties, context) = (shaped.properties.json().into_owned(), shaped.context);
        set_own(&mut form, shaped.own, &["id"]);
        (
            properties,
            context.map_or_else(String::new, |context| context.json().into_owned()),
            form.json().into_owned(),
        )
    }

    #[test]
    fn a_property_is_renamed_and_facts_are_added_beside_it() {
        let (properties, context, _) = mapped(
            &[
                ("properties.new", "properties.old"),
                ("properties.is_ci_env", "context.ci"),
                ("properties.missing", "context.nothing"),
                ("properties.c", "properties.a.b"),
                ("properties.null", "properties.n"),
            ],
            false,
        );
        assert_eq!(
            properties,
            r#"{"kept":2,"new":1,"is_ci_env":false,"c":3,"null":null}"#
        );
        assert!(
            context.contains("x86_64"),
            "nothing of the context was built: it stays"
        );
    }

    #[test]
    fn a_property_that_is_a_target_itself_stays() {
        let (properties, ..) = mapped(
            &[
                ("properties.copy", "properties.old"),
                ("properties.old", "properties.old"),
            ],
            false,
        );
        assert_eq!(properties, r#"{"old":1,"kept":2,"a.b":3,"n":null,"copy":1}"#);
    }

    #[test]
    fn a_context_that_is_built_is_built_whole() {
        let (_, context, _) = mapped(
            &[("context.ci_run", "context.ci"), ("context.os", "context.os")],
            false,
        );
        assert_eq!(context, r#"{"ci_run":false,"os":{"name":"linux"}}"#);
    }

    #[test]
    fn a_field_of_the_form_is_set_but_never_its_id() {
        let (.., form) = mapped(
            &[
                ("id", "event"),
                ("a.name", "event"),
                ("a.at", "time"),
                ("who", "anonymous_id"),
                ("version", "tool_version"),
            ],
            false,
        );
        assert_eq!(
            form,
            r#"{"id":9,"a":{"name":"ran","at":"2026-11-21T10:00:00Z"},"who":null,"version":null}"#
        );
    }

    #[test]
    fn who_has_no_anonymous_id_gets_the_same_one_at_each_try_where_there_must_be_one() {
        let (.., form) = mapped(&[("who", "anonymous_id")], true);
        let (.., again) = mapped(&[("who", "anonymous_id")], true);
        assert_eq!(form, again);
        let id = Uuid::parse_str(&form[r#"{"id":9,"who":""#.len()..form.len() - 2]).unwrap();
        assert_eq!(id.get_version_num(), 5);
    }
}
