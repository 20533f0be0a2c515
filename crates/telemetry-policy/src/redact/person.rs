//! Who a string may be about: names and home directories that the caller knows.

use super::bytes::{self, HEX, WORD};
use super::{Hit, Marker, Scan, secret, table};

/// Shorter names are not looked for: they are words of every language, and would hide more than they protect.
const SHORTEST_NAME: usize = 4;

/// Who the strings are about: the names and home directories that are looked for in them, found in any case of ASCII
/// letters. Made once, used for every event of that user.
#[derive(Clone, Debug)]
pub struct Subject {
    names: Vec<Box<[u8]>>,
    homes: Vec<Box<[u8]>>,
    /// Which bytes a name begins with.
    initial: [bool; 256],
    /// For each first byte of a word the two behind it ([`bytes::bit_of_two`]) with which something goes on that is
    /// looked for.
    next_two: Box<[u64; 256]>,
}

impl Default for Subject {
    /// Nobody: the rules that need no name still hold.
    fn default() -> Self {
        Self::new([], [])
    }
}

impl Subject {
    /// From the user's names (login, full name) and home directories, as they are written.
    ///
    /// Ignored are names of fewer than four characters, those of [`table::EVERYONE`], which images and installers give
    /// to everybody, and homes that are a whole disk.
    #[must_use]
    pub fn new<'s>(
        names: impl IntoIterator<Item = &'s str>,
        homes: impl IntoIterator<Item = &'s str>,
    ) -> Self {
        let names: Vec<Box<[u8]>> = names
            .into_iter()
            .map(str::trim)
            .filter(|name| name.chars().count() >= SHORTEST_NAME)
            .map(str::to_ascii_lowercase)
            .filter(|name| !table::EVERYONE.contains(&name.as_str()))
            .map(|name| name.into_bytes().into())
            .collect();
        let homes = homes
            .into_iter()
            .map(|home| home.trim_end_matches(['/', '\\']))
            .filter(|home| home.len() > 1 && !home.ends_with(':'))
            .map(|home| home.bytes().map(folded).collect())
            .collect();
        let mut initial = [false; 256];
        let mut next_two = Box::new(secret::NEXT_TWO);
        for name in &names {
            for first in [name[0], name[0].to_ascii_uppercase()] {
                initial[usize::from(first)] = true;
            }
        }
        for word in names
            .iter()
            .map(|name| &**name)
            .chain(table::SCHEMES.map(str::as_bytes))
        {
            let cases = |at: usize| [word[at], word[at].to_ascii_uppercase()];
            for first in cases(0) {
                for second in cases(1) {
                    for third in cases(2) {
                        next_two[usize::from(first)] |= bytes::bit_of_two(second, third);
                    }
                }
            }
        }
        Self {
            names,
            homes,
            initial,
            next_two,
        }
    }

    /// Whether this text begins with what may be a name, a key or the scheme of a header.
    #[inline(always)]
    pub(super) fn may_begin(&self, text: &[u8]) -> bool {
        let &[first, second, third, ..] = text else {
            return false;
        };
        self.next_two[usize::from(first)] & bytes::bit_of_two(second, third) != 0 && self.begins(text)
    }

    /// The same, word by word. Seldom asked; out of the way of the loop that asks [`Subject::may_begin`].
    #[cold]
    #[inline(never)]
    fn begins(&self, text: &[u8]) -> bool {
        let any_case =
            |word: &[u8]| text.len() >= word.len() && text[..word.len()].eq_ignore_ascii_case(word);
        secret::may_begin(text)
            || table::SCHEMES.iter().any(|scheme| any_case(scheme.as_bytes()))
            || self.names.iter().any(|name| any_case(name))
    }

    /// How long the home directory is that begins here, if one does.
    pub(super) fn home(&self, scan: &Scan<'_>, at: usize) -> Option<usize> {
        let text = &scan.raw[at..];
        self.homes
            .iter()
            .filter(|home| {
                text.len() >= home.len()
                    && text.iter().zip(home.iter()).all(|(byte, want)| folded(*byte) == *want)
                    // `/home/alice2` is somebody else's.
                    && !scan.is(at + home.len(), WORD)
            })
            .map(|home| home.len())
            .max()
    }
}

/// Both slashes are one, and so are both cases: Windows compares so, and elsewhere it does no harm.
fn folded(byte: u8) -> u8 {
    if byte == b'\\' {
        b'/'
    } else {
        byte.to_ascii_lowercase()
    }
}

/// A name behind a byte that was written as `%2F` (RFC 3986 §2.1): in a URL or a query, a path looks so.
pub(super) fn escaped(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    (scan.before(at) == b'%' && scan.is(at, HEX) && scan.is(at + 1, HEX))
        .then(|| name_at(scan, at + 2))
        .flatten()
}

/// A name of the subject's as whole words: no letter or digit before or after it. (`alice_2024` has one, `malice` not.)
pub(super) fn user(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    if scan.word_before(at) {
        return None;
    }
    name_at(scan, at)
}

fn name_at(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    let rest = scan.raw.get(at..)?;
    if !scan.subject.initial[usize::from(*rest.first()?)] {
        return None;
    }
    scan.subject
        .names
        .iter()
        .filter(|name| {
            rest.len() >= name.len()
                && rest[..name.len()].eq_ignore_ascii_case(name)
                && !scan.word_at(at + name.len())
        })
        .map(|name| name.len())
        .max()
        .map(|length| Hit {
            start: at,
            end: at + length,
            marker: Marker::User,
        })
}
