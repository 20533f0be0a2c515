//! What one manifest lets through beside another: the events, properties and facts that came, went or changed, each in
//! words. `tools diff` shows them all; those that came or got wider are a reason to ask again ([`crate::widens()`]).

use crate::describe::kind;
use crate::manifest::Manifest;
use crate::manifest::events::{Event, Events, Properties};
use crate::manifest::property::{Kind, Property, Rule, Table};
use crate::manifest::terms::{Identity, Project, User};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// In words.
    pub what: String,
    /// More is let through than before.
    pub wider: bool,
    /// Something that was let through is not any more.
    pub narrower: bool,
}

/// The differences in what is let through, in the order of the manifest.
#[must_use]
pub fn changes(old: &Manifest, new: &Manifest) -> Vec<Change> {
    let mut all = Changes::default();
    events(&old.terms.events, &new.terms.events, &mut all);
    let (before, after) = (old.terms.context, new.terms.context);
    for name in crate::manifest::terms::FACTS {
        match (before.has(name), after.has(name)) {
            (false, true) => all.wider(format!("{name} is told of the machine or the process")),
            (true, false) => all.less(format!("{name} is not told any more")),
            _ => {}
        }
    }
    let (before, after) = (rank(old.terms.identity), rank(new.terms.identity));
    for (what, before, after) in [("user", before.0, after.0), ("project", before.1, after.1)] {
        if before != after {
            all.add(
                after > before,
                format!("the id of the {what} comes from elsewhere, or is there where it was not"),
            );
        }
    }
    let (before, after) = (old.terms.sample, new.terms.sample);
    if before != after {
        // What was kept of more events is still covered.
        all.0.push(Change {
            what: format!(
                "{} in 100 events are kept, not {}",
                after.share() * 100.0,
                before.share() * 100.0
            ),
            wider: after > before,
            narrower: false,
        });
    }
    all.0
}

#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn add(&mut self, wider: bool, what: String) {
        let narrower = !wider;
        self.0.push(Change {
            what,
            wider,
            narrower,
        });
    }

    fn wider(&mut self, what: String) {
        self.add(true, what);
    }

    fn less(&mut self, what: String) {
        self.add(false, what);
    }
}

/// How much an identity tells: nothing, what nobody else can join, what the tool has of its own.
fn rank(identity: Identity) -> (u8, u8) {
    let user = match identity.user {
        User::None => 0,
        User::Random => 1,
        User::FromTool => 2,
    };
    let project = match identity.project {
        Project::None => 0,
        Project::Hashed => 1,
        Project::FromTool => 2,
    };
    (user, project)
}

fn events(old: &Events, new: &Events, all: &mut Changes) {
    match (old, new) {
        (Events::Any, Events::Any) => return,
        (Events::Any, Events::Listed { .. }) => {
            return all.less("only listed events are taken now".to_owned());
        }
        (Events::Listed { .. }, Events::Any) => {
            return all.wider("every event is taken, listed or not".to_owned());
        }
        _ => {}
    }
    for (name, event) in new.iter() {
        match old.iter().find(|(known, _)| *known == name) {
            None => all.wider(format!("the event {name:?} is new")),
            Some((_, before)) => properties(&name, before, event, all),
        }
    }
    for (name, _) in old.iter() {
        if !new.iter().any(|(known, _)| known == name) {
            all.less(format!("the event {name:?} is gone"));
        }
    }
}

fn properties(event: &str, old: &Event, new: &Event, all: &mut Changes) {
    match (&old.properties, &new.properties) {
        (Properties::Any, Properties::Any) => {}
        (Properties::Any, Properties::Listed(_)) => {
            all.less(format!(
                "of the event {event:?} only listed properties are taken now"
            ));
        }
        (Properties::Listed(_), Properties::Any) => {
            all.wider(format!("of the event {event:?} every property is taken"));
        }
        (Properties::Listed(old), Properties::Listed(new)) => table(&format!("{event:?}"), old, new, all),
    }
}

fn table(of: &str, old: &Table, new: &Table, all: &mut Changes) {
    for (name, property) in new.iter().filter(|(_, property)| !property.drop) {
        let before = old.iter().find(|(known, before)| *known == name && !before.drop);
        let keys = |table: &Table| {
            table
                .wild()
                .iter()
                .find(|w| w.name.written() == name)
                .map(|w| w.keys.clone())
        };
        match before {
            None => all.wider(format!("{name} of {of} is new: {}", kind(property))),
            Some((_, before)) if before.kind != property.kind => {
                let what = format!(
                    "{name} of {of} is {} now; it was {}",
                    kind(property),
                    kind(before)
                );
                all.add(!within(property, before), what);
            }
            Some(_) if keys(old) != keys(new) => all.wider(format!("{name} of {of} takes other names")),
            Some(_) => {}
        }
    }
    for (name, _) in old.iter().filter(|(_, property)| !property.drop) {
        if !new
            .iter()
            .any(|(known, property)| known == name && !property.drop)
        {
            all.less(format!("{name} of {of} is gone"));
        }
    }
}

/// Whether all that `new` lets through, `old` did, too.
fn within(new: &Property, old: &Property) -> bool {
    match (&new.kind, &old.kind) {
        (Kind::String(new), Kind::String(old)) => match (new.rule, old.rule) {
            // A hash tells less than what it is of; a masked line less than the whole.
            (Rule::Hash, _) => true,
            (_, Rule::Hash) => false,
            (Rule::None, Rule::MaskCommand) => false,
            _ if new.only.is_empty() => old.only.is_empty() && new.max <= old.max,
            _ => old.only.is_empty() || new.only.iter().all(|word| old.only.contains(word)),
        },
        (Kind::Integer, Kind::Number) => true,
        (
            Kind::Array {
                items: new,
                max_items,
            },
            Kind::Array {
                items: old,
                max_items: before,
            },
        ) => max_items <= before && (new == old || within(new, old)),
        (Kind::Object(new), Kind::Object(old)) => {
            let mut all = Changes::default();
            table("it", old, new, &mut all);
            all.0.iter().all(|change| !change.wider)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(more: &str) -> Manifest {
        Manifest::parse(&format!("name = \"t\"\n{more}\n")).unwrap()
    }

    #[test]
    fn what_came_is_wider_and_what_went_is_not() {
        let base = "[events.e]\nproperties.a = { type = \"string\", max = 10 }";
        for (old, new, wider) in [
            (base, "events = \"any\"", true),
            (
                base,
                "[events.e]\nproperties.a = { type = \"string\", max = 11 }",
                true,
            ),
            (
                base,
                "[events.e]\nproperties.a = { type = \"string\", max = 9 }",
                false,
            ),
            (
                base,
                "[events.e]\nproperties.a = { type = \"string\", hash = true }",
                false,
            ),
            (
                base,
                "[events.e]\nproperties.a = { type = \"string\", enum = [\"x\"] }",
                false,
            ),
            (base, "[events.e]\nproperties.a = \"integer\"", true),
            (
                base,
                "[events.e]\nproperties.a = { type = \"string\", max = 10 }\nproperties.b = \"boolean\"",
                true,
            ),
            (base, "[events.e]\n[events.f]", true),
            (base, "[events.e]", false),
            (base, "[events.e]\nproperties = \"any\"", true),
            (
                "context = [\"os\"]\nevents = \"any\"",
                "context = [\"os\", \"ci\"]\nevents = \"any\"",
                true,
            ),
            ("events = \"any\"", "context = [\"os\"]\nevents = \"any\"", false),
            ("identity = \"none\"\nevents = \"any\"", "events = \"any\"", true),
            ("sample = 0.5\nevents = \"any\"", "events = \"any\"", true),
        ] {
            let found = changes(&manifest(old), &manifest(new));
            assert!(!found.is_empty(), "{old} to {new}");
            assert_eq!(
                found.iter().any(|change| change.wider),
                wider,
                "{old} to {new}: {found:?}"
            );
            assert!(changes(&manifest(new), &manifest(new)).is_empty());
        }
    }
}
