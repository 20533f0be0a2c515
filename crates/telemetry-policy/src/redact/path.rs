//! Absolute paths: of Unix (POSIX.1-2017 §3.2), of Windows (drives and shares, "Naming Files, Paths, and Namespaces"),
//! `~`, and the subject's home directories wherever they stand.
//!
//! A path runs to the quotation mark that closes the one before it. Without one it runs to a blank, a quotation mark, a
//! bracket of `<>` or a bar; over a blank only where another separator follows within a few words, as in
//! `C:\Program Files\…`. Too much is taken rather than too little.

use super::bytes::{self, ATOM, BLANK, GLUED, OTHER, WORD};
use super::{Hit, Marker, Scan};

/// How many words with blanks between them a path's folder may have.
const WORDS_OVER_BLANKS: usize = 3;

/// A letter or digit must come so soon: `/.`, `/...` and `/$)` are no names.
const NAME_WITHIN: usize = 4;

/// A path that begins with `/`, or the subject's home directory.
pub(super) fn slash(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    if let Some(length) = scan.subject.home(scan, at) {
        return hit(at, end(scan, at, at + length, b'/'));
    }
    if at < scan.url_end || !may_begin(scan, at) {
        return None;
    }
    named(scan, at, past(scan, at, b'/')?)
}

/// The same with its slashes escaped, as JSON may have them that stands in a string (RFC 8259 §7): `\/home\/alice`.
pub(super) fn escaped(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    if at < scan.url_end || !may_begin(scan, at) {
        return None;
    }
    let mut first = at;
    loop {
        let slash = past(scan, first, b'\\')?;
        if slash == first || scan.byte(slash) != b'/' {
            break;
        }
        first = past(scan, slash, b'/')?;
    }
    (first > at).then(|| named(scan, at, first)).flatten()
}

/// The path from `at` on, if that is a name which begins at `first`.
fn named(scan: &Scan<'_>, at: usize, first: usize) -> Option<Hit> {
    let name = bytes::run(scan.bytes, first, OTHER);
    let named = scan.is(name, ATOM) || matches!(scan.byte(name), b'$' | b'@');
    if !named || !(name..name + NAME_WITHIN).any(|place| scan.is(place, WORD)) {
        return None;
    }
    // Behind a letter that needs no blank behind it: `读/写` are two words, `见/home/bob` is not.
    let glued = bytes::is(scan.before(at), GLUED);
    if glued && scan.is(first, GLUED) {
        return None;
    }
    let end = end(scan, at, first, b'/');
    // `</p>` closes a tag.
    if (glued || scan.before(at) == b'<') && !scan.bytes[first..end].contains(&b'/') {
        return None;
    }
    hit(at, end)
}

/// The first place from `at` on where another byte stands.
fn past(scan: &Scan<'_>, at: usize, byte: u8) -> Option<usize> {
    (at..).find(|place| scan.byte(*place) != byte)
}

/// A path on a drive: `C:\…`, `C:/…`.
pub(super) fn drive(scan: &Scan<'_>, start: usize, colon: usize) -> Option<Hit> {
    let letter = colon - 1;
    if !scan.byte(letter).is_ascii_alphabetic() || !matches!(scan.byte(colon + 1), b'\\' | b'/') {
        return None;
    }
    let before = if letter == start {
        scan.before(letter)
    } else {
        scan.byte(letter - 1)
    };
    // `-IC:\include` is an option and its value.
    let option = letter >= start + 2 && before.is_ascii_alphabetic() && scan.byte(letter - 2) == b'-';
    if bytes::is(before, WORD) && !bytes::is(before, GLUED) && !option {
        return None;
    }
    hit(letter, end(scan, letter, colon + 2, scan.byte(colon + 1)))
}

/// A share: `\\server\share`, `\\?\C:\…`, however often the backslashes were escaped.
pub(super) fn share(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    if scan.atom_before(at) || matches!(scan.before(at), b'\\' | b'/') || at == scan.fresh {
        return None;
    }
    let first = past(scan, at, b'\\')?;
    if first - at < 2 || !(scan.is(first, ATOM | OTHER) || scan.byte(first) == b'?') {
        return None;
    }
    let end = end(scan, at, first, b'\\');
    // `\\d+` is a pattern: a share has a second part.
    scan.bytes[first..end]
        .contains(&b'\\')
        .then(|| hit(at, end))
        .flatten()
}

/// A path under a home directory that the shell knows: `~/…`, `~alice/…`.
pub(super) fn tilde(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    if scan.atom_before(at) || at == scan.fresh {
        return None;
    }
    let slash = bytes::run(scan.bytes, at + 1, ATOM | OTHER);
    matches!(scan.byte(slash), b'/' | b'\\')
        .then(|| hit(at, end(scan, at, slash + 1, scan.byte(slash))))
        .flatten()
}

fn hit(start: usize, end: usize) -> Option<Hit> {
    Some(Hit {
        start,
        end,
        marker: Marker::Path,
    })
}

/// Whether a slash here can begin a path: not in `and/or`, `./x`, `**/x`, `)/2`, nor behind another slash or a marker.
fn may_begin(scan: &Scan<'_>, at: usize) -> bool {
    let before = scan.before(at);
    if scan.atom_before(at) {
        // `-I/usr/include`, `-L/home/…`: one letter after one dash.
        return before.is_ascii_alphabetic() && at >= 2 && scan.byte(at - 2) == b'-' && {
            at == 2 || !scan.is(at - 3, ATOM)
        };
    }
    at != scan.fresh && !matches!(before, b'/' | b'\\' | b'*' | b'~' | b')' | b']' | b'}')
}

/// Where a path ends that begins at `start` and is known to reach to `from`.
pub(super) fn end(scan: &Scan<'_>, start: usize, from: usize, separator: u8) -> usize {
    let quote = scan.before(start);
    if let Some(end) = closed_by(scan, quote, from) {
        return end;
    }
    let mut at = from;
    while let Some(&byte) = scan.bytes.get(at) {
        match byte {
            b'"' | b'`' | b'<' | b'>' | b'|' => break,
            // An apostrophe within a name (`Bob's files`), unless it closes what it opened.
            b'\'' if !scan.is(at + 1, WORD) || !scan.is(at - 1, WORD) => break,
            b' ' if scan.byte(at - 1) == b'\\' => at += 1,
            b' ' => match over_blank(scan, at, separator) {
                Some(next) => at = next,
                None => break,
            },
            _ if bytes::is(byte, BLANK) => break,
            _ => at += 1,
        }
    }
    while at > from
        && (scan.is(at - 1, OTHER)
            || matches!(
                scan.byte(at - 1),
                b'.' | b',' | b';' | b':' | b'!' | b'?' | b')' | b']' | b'}' | b'\''
            ))
    {
        at -= 1;
    }
    at
}

/// Where the quotation mark stands that closes a path which one opened: blanks are part of it then. A text without the
/// second mark is looked through once, since the next search begins behind the next first one.
fn closed_by(scan: &Scan<'_>, quote: u8, from: usize) -> Option<usize> {
    if !matches!(quote, b'"' | b'\'' | b'`') {
        return None;
    }
    let mut at = from;
    loop {
        match scan.byte(at) {
            byte if byte == quote => {
                let apostrophe = byte == b'\'' && scan.is(at + 1, WORD) && scan.is(at - 1, WORD);
                if !apostrophe {
                    return Some(at);
                }
            }
            b' ' => {}
            byte if bytes::is(byte, BLANK) || matches!(byte, b'<' | b'>' | b'|') => return None,
            _ => {}
        }
        at += 1;
    }
}

/// Where the path goes on behind a blank: at the next separator, if it comes within a few plain words.
fn over_blank(scan: &Scan<'_>, blank: usize, separator: u8) -> Option<usize> {
    if matches!(scan.byte(blank - 1), b',' | b';' | b':' | b'!' | b'?' | b'.') {
        return None;
    }
    let mut at = blank;
    for _ in 0..WORDS_OVER_BLANKS {
        let word = at + 1;
        if matches!(scan.byte(word), b'/' | b'\\' | b'-' | b'~' | b'=' | b'&') {
            return None;
        }
        at = word;
        loop {
            match scan.byte(at) {
                byte if byte == separator => return Some(at),
                b' ' if at > word => break,
                // The end, a quotation mark, or the next thing in a list or sentence.
                0 | b'"' | b'\'' | b'`' | b'<' | b'>' | b'|' | b':' | b';' | b'=' => return None,
                byte if bytes::is(byte, BLANK) => return None,
                _ => at += 1,
            }
        }
    }
    None
}
