//! JSON that is being put together: raw pieces are spliced as they are, and an object is opened only where
//! something is set inside of it.

use std::borrow::Cow;

use super::read::members;
use super::write_string;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Tree<'a> {
    /// JSON as it stands somewhere.
    Raw(Cow<'a, str>),
    /// An object whose members may change. Their order is kept.
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
}

impl<'a> Tree<'a> {
    /// JSON that is borrowed.
    pub(super) const fn raw(raw: &'a str) -> Self {
        Self::Raw(Cow::Borrowed(raw))
    }

    /// A string.
    pub(super) fn text(text: &str) -> Self {
        let mut out = Vec::with_capacity(text.len() + 2);
        write_string(&mut out, text);
        Self::Raw(Cow::Owned(String::from_utf8(out).unwrap_or_default()))
    }

    /// An object of these members.
    pub(super) fn object<const N: usize>(members: [(&'a str, Option<Self>); N]) -> Self {
        let there = members
            .into_iter()
            .filter_map(|(name, value)| Some((Cow::Borrowed(name), value?)));
        Self::Object(there.collect())
    }

    /// Its members, opened; what is no object becomes an empty one.
    fn open(&mut self) -> &mut Vec<(Cow<'a, str>, Tree<'a>)> {
        if let Self::Raw(raw) = self {
            let opened = match raw {
                Cow::Borrowed(raw) => {
                    let raw: &'a str = raw;
                    members(raw)
                        .into_iter()
                        .map(|(name, value)| (name, Self::raw(value)))
                        .collect()
                }
                Cow::Owned(raw) => members(raw)
                    .into_iter()
                    .map(|(name, value)| {
                        (
                            Cow::Owned(name.into_owned()),
                            Self::Raw(Cow::Owned(value.to_owned())),
                        )
                    })
                    .collect(),
            };
            *self = Self::Object(opened);
        }
        match self {
            Self::Object(members) => members,
            Self::Raw(_) => unreachable!("it was opened above"),
        }
    }

    /// Sets what is below these names, making objects on the way and replacing what is none.
    pub(super) fn set<'n>(&mut self, names: impl Iterator<Item = &'n str>, value: Self) {
        let mut at = self;
        for name in names {
            let members = at.open();
            let found = members.iter().position(|(own, _)| own == name);
            let found = found.unwrap_or_else(|| {
                members.push((Cow::Owned(name.to_owned()), Self::Object(Vec::new())));
                members.len() - 1
            });
            at = &mut members[found].1;
        }
        *at = value;
    }

    /// Turns a member into a string of its JSON, where it is there.
    pub(super) fn make_text(&mut self, name: &str) {
        if let Some((_, value)) = self.open().iter_mut().find(|(own, _)| own == name) {
            *value = Self::text(&value.json());
        }
    }

    /// Takes out what [`super::read::find`] finds.
    pub(super) fn remove(&mut self, name: &str) {
        let members = self.open();
        if let Some(at) = members.iter().position(|(own, _)| own == name) {
            members.remove(at);
            return;
        }
        for (dot, _) in name.match_indices('.') {
            let (first, rest) = (&name[..dot], &name[dot + 1..]);
            if let Some((_, inner)) = members.iter_mut().find(|(own, _)| own == first)
                && inner.holds(rest)
            {
                inner.remove(rest);
                return;
            }
        }
    }

    fn holds(&self, name: &str) -> bool {
        match self {
            Self::Raw(raw) => super::read::find(raw, name).is_some(),
            Self::Object(members) => {
                members.iter().any(|(own, _)| own == name)
                    || name.match_indices('.').any(|(dot, _)| {
                        let inner = members.iter().find(|(own, _)| *own == name[..dot]);
                        inner.is_some_and(|(_, inner)| inner.holds(&name[dot + 1..]))
                    })
            }
        }
    }

    /// Appends it as JSON.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Raw(raw) => out.extend_from_slice(raw.as_bytes()),
            Self::Object(members) => {
                out.push(b'{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_string(out, name);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }

    /// It as JSON text.
    pub(super) fn json(&self) -> Cow<'_, str> {
        match self {
            Self::Raw(raw) => Cow::Borrowed(raw),
            Self::Object(_) => {
                let mut out = Vec::new();
                self.write(&mut out);
                Cow::Owned(String::from_utf8(out).unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(raw: &str, path: &str, value: &str) -> String {
        let mut tree = Tree::raw(raw);
        tree.set(path.split('.'), Tree::raw(value));
        tree.json().into_owned()
    }

    #[test]
    fn a_field_is_set_in_its_place_and_the_rest_stays_as_it_was() {
        assert_eq!(set(r#"{"a":1.10,"b":2}"#, "a", "3"), r#"{"a":3,"b":2}"#);
        assert_eq!(
            set(r#"{"a":{"x": 1}}"#, "a.y.z", "[]"),
            r#"{"a":{"x":1,"y":{"z":[]}}}"#
        );
        assert_eq!(set(r#"{"a":7}"#, "a.b", "8"), r#"{"a":{"b":8}}"#);
        assert_eq!(set("{}", "a\"", "8"), r#"{"a\"":8}"#);
        assert_eq!(
            Tree::raw("{ \"n\" : 1 }").json(),
            "{ \"n\" : 1 }",
            "unopened, it is spliced"
        );
    }

    #[test]
    fn what_is_found_is_what_is_removed() {
        for (name, left) in [
            ("a.b", r#"{"a":{"c":2},"x.y":3}"#),
            ("x.y", r#"{"a":{"b":1,"c":2}}"#),
            ("a", r#"{"x.y":3}"#),
            ("q", r#"{"a":{"b":1,"c":2},"x.y":3}"#),
            ("a.q", r#"{"a":{"b":1,"c":2},"x.y":3}"#),
        ] {
            let mut tree = Tree::raw(r#"{"a":{"b":1,"c":2},"x.y":3}"#);
            tree.remove(name);
            assert_eq!(tree.json(), left, "{name}");
        }
    }
}
