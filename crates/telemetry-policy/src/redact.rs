//! Value rules: what no string may carry to the disk, listed by a manifest or not (I4).
//!
//! One scanner walks over a string from left to right. It cuts it into atoms (letters and digits of every script,
//! `._%+-`; behind a letter of a script without blanks another word may begin) and what stands between them, and asks
//! the rules only where one of them could begin. No rule looks back over what another one read, and none looks ahead
//! without a bound, so that the time is linear whatever the input.
//! The closed list of rules, with the source of each, is [`table`]; their cases are `tests/vectors/redaction/`.
//!
//! What is not looked for: relative paths, names of hosts, words that merely sound private, and anything that was
//! encoded (base64, percent signs). Free text in a listed string passes, by design: that is what listing it means.

mod address;
mod bytes;
mod path;
mod person;
mod quiet;
mod secret;
pub mod table;
mod web;

use std::borrow::Cow;

use self::bytes::{ANCHOR, ATOM, CLASS, GLUED, WORD};
pub use self::person::Subject;
pub(crate) use self::quiet::{is_quiet, is_quiet_json};
pub use self::table::Marker;

/// How often a text is read again after something was replaced in it. What is left of a text after a replacement can
/// look like something else; almost always one more reading finds nothing.
const PASSES: usize = 4;

/// The text with all that the rules know replaced by a [`Marker`]; the text itself where they find nothing.
///
/// Reading the answer again finds nothing, and it is never longer than three times the text and eight bytes.
#[must_use]
pub fn text<'a>(text: &'a str, subject: &Subject) -> Cow<'a, str> {
    match is_quiet(text, subject) {
        true => Cow::Borrowed(text),
        false => loud(text, subject),
    }
}

/// The same of a text that is not [quiet](is_quiet).
pub(crate) fn loud<'a>(text: &'a str, subject: &Subject) -> Cow<'a, str> {
    let Some(mut found) = pass(text, subject) else {
        return Cow::Borrowed(text);
    };
    for _ in 0..PASSES {
        match pass(&found, subject) {
            None => return Cow::Owned(found),
            Some(again) => found = again,
        }
    }
    // It keeps looking like something new: nobody wrote that for a statistic.
    Cow::Owned(Marker::Secret.as_str().to_owned())
}

/// One reading: `None` where nothing was found.
fn pass(text: &str, subject: &Subject) -> Option<String> {
    let seen = bytes::seen(text);
    let mut scan = Scan::new(text.as_bytes(), &seen, subject);
    let mut hit = scan.next()?;
    let mut out = String::with_capacity(text.len());
    let mut kept = 0;
    loop {
        out.push_str(&text[kept..hit.start]);
        out.push_str(hit.marker.as_str());
        kept = hit.end;
        match scan.next() {
            Some(next) => hit = next,
            None => break,
        }
    }
    out.push_str(&text[kept..]);
    Some(out)
}

/// Something that may not leave, and what stands for it. No end lies inside a character, since all its bytes are of
/// the same classes.
struct Hit {
    start: usize,
    end: usize,
    marker: Marker,
}

/// A reading of one text.
struct Scan<'a> {
    /// The text itself: names and home directories are compared with it.
    raw: &'a [u8],
    /// The text as [`bytes::seen`] gives it, for everything else.
    bytes: &'a [u8],
    subject: &'a Subject,
    /// Where it stands.
    at: usize,
    /// Where the atom ends that it stands in.
    atom_end: usize,
    /// Where the last replacement or marker ended: what follows is read as if `>` stood before it, as it will.
    fresh: usize,
    /// Up to here it is a URL that may pass: its slashes begin no path.
    url_end: usize,
    /// Up to here no JWT can begin, since the letters from here back were seen to lead to none.
    no_jwt: usize,
}

impl<'a> Scan<'a> {
    fn new(raw: &'a [u8], bytes: &'a [u8], subject: &'a Subject) -> Self {
        Self {
            raw,
            bytes,
            subject,
            at: 0,
            atom_end: 0,
            fresh: usize::MAX,
            url_end: 0,
            no_jwt: 0,
        }
    }

    /// The next thing to replace.
    fn next(&mut self) -> Option<Hit> {
        while let Some(&byte) = self.bytes.get(self.at) {
            let start = self.at;
            let class = CLASS[usize::from(byte)];
            let hit = if start < self.atom_end {
                // The rest of an atom in which a word was replaced: as a whole it was asked about before.
                self.at = self.atom_end;
                self.words(start, self.atom_end)
            } else if class & ATOM != 0 {
                let end = bytes::run(self.bytes, start, ATOM);
                self.at = end;
                self.atom_end = end;
                self.atom(start, end)
            } else {
                self.at = start + 1;
                if class & ANCHOR != 0 {
                    self.between(byte, start)
                } else {
                    None
                }
            };
            if let Some(hit) = hit {
                debug_assert!(hit.start >= start && hit.end > hit.start);
                self.at = hit.end;
                self.fresh = hit.end;
                return Some(hit);
            }
        }
        None
    }

    /// Rules that begin with a run of atom bytes.
    fn atom(&mut self, start: usize, end: usize) -> Option<Hit> {
        let next = self.bytes.get(end).copied().unwrap_or(0);
        let whole = match next {
            b'@' => web::email(self, start, end),
            b':' if self.bytes[end..].starts_with(b"://") => web::url(self, start, end),
            b':' => path::drive(self, start, end),
            _ => None,
        };
        whole
            .or_else(|| secret::named(self, start, end, next))
            .or_else(|| self.words(start, end))
    }

    /// Rules that begin with a word: letters and digits.
    fn words(&mut self, start: usize, end: usize) -> Option<Hit> {
        let mut at = start;
        while at < end {
            if !bytes::is(self.bytes[at], WORD) {
                at += 1;
                continue;
            }
            let word_end = bytes::run(self.bytes, at, WORD);
            let hit = address::at(self, at, word_end)
                .or_else(|| secret::key(self, at))
                .or_else(|| person::user(self, at))
                .or_else(|| person::escaped(self, at));
            if hit.is_some() {
                return hit;
            }
            at = self.next_word(at, word_end);
        }
        None
    }

    /// Where in these letters and digits the next word may begin: behind a letter that needs no blank behind it.
    fn next_word(&self, at: usize, end: usize) -> usize {
        let glued = |place: usize| self.is(place - 1, GLUED) && !self.is(place, GLUED);
        (at + 1..end).find(|place| glued(*place)).unwrap_or(end)
    }

    /// Whether the word at a place goes on to the left.
    fn word_before(&self, at: usize) -> bool {
        bytes::is(self.before(at), WORD) && !bytes::is(self.before(at), GLUED)
    }

    /// Whether a word that ends before a place goes on there.
    fn word_at(&self, at: usize) -> bool {
        self.is(at, WORD) && !self.is(at, GLUED)
    }

    /// The same of an atom.
    fn atom_before(&self, at: usize) -> bool {
        bytes::is(self.before(at), ATOM) && !bytes::is(self.before(at), GLUED)
    }

    /// Rules that begin between atoms.
    fn between(&mut self, byte: u8, at: usize) -> Option<Hit> {
        match byte {
            b'/' => path::slash(self, at),
            b'\\' => path::share(self, at).or_else(|| path::escaped(self, at)),
            b'~' => path::tilde(self, at),
            b':' => address::colons(self, at),
            b'<' => {
                if let Some(length) = table::marker_at(&self.bytes[at..]) {
                    self.at = at + length;
                    self.fresh = self.at;
                }
                None
            }
            _ => None,
        }
    }

    /// The byte before a place, where it is not the end of a marker (then 0, which is in no class).
    fn before(&self, at: usize) -> u8 {
        if at == 0 || at == self.fresh {
            0
        } else {
            self.bytes[at - 1]
        }
    }

    /// The byte at a place, or 0 behind the end.
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn is(&self, at: usize, class: u16) -> bool {
        bytes::is(self.byte(at), class)
    }
}
