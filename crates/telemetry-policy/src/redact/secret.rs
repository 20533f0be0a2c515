//! Keys, tokens and passwords: by how they begin, or by the name before them.

use super::bytes::{self, ATOM, BASE64URL, BLANK, DIGIT, WORD};
use super::{Hit, Marker, Scan, table};

/// Where the keys of [`table::KEYS`] begin that begin with a byte, and where they end.
static FIRST: [(u8, u8); 256] = {
    let mut first = [(0, 0); 256];
    let mut place = 0;
    while place < table::KEYS.len() {
        let byte = table::KEYS[place].prefix.as_bytes()[0] as usize;
        if first[byte].1 == 0 {
            first[byte].0 = place as u8;
        }
        first[byte].1 = place as u8 + 1;
        place += 1;
    }
    first
};

/// For each first byte of a word the two behind it ([`bytes::bit_of_two`]) with which something that is looked for here
/// goes on.
pub(super) static NEXT_TWO: [u64; 256] = {
    let mut next = [0; 256];
    let mut place = 0;
    while place < table::KEYS.len() {
        let prefix = table::KEYS[place].prefix.as_bytes();
        assert!(prefix.len() >= 3, "the first three bytes are looked at");
        next[prefix[0] as usize] |= bytes::bit_of_two(prefix[1], prefix[2]);
        place += 1;
    }
    next[JWT[0] as usize] |= bytes::bit_of_two(JWT[1], JWT[2]);
    next[SLACK[0] as usize] |= bytes::bit_of_two(SLACK[1], SLACK[2]);
    next
};

/// For each last byte of an option's name the ones before it ([`bytes::bit`]) that one of [`table::ASSIGNED`] ends with.
static LAST_TWO: [u64; 256] = {
    let mut last = [0; 256];
    let mut place = 0;
    while place < table::ASSIGNED.len() {
        let [.., before, end] = table::ASSIGNED[place].as_bytes() else {
            panic!("names have two letters")
        };
        assert!(
            before.is_ascii_lowercase() && end.is_ascii_lowercase(),
            "no sign that may be written in another way"
        );
        let both = bytes::bit(*before) | bytes::bit(before.to_ascii_uppercase());
        last[*end as usize] |= both;
        last[end.to_ascii_uppercase() as usize] |= both;
        place += 1;
    }
    last
};

/// Nothing that is looked for here is shorter, prefix included.
const SHORTEST: usize = 16;

/// `eyJ`: base64url of `{"`, with which the header of every JSON Web Token begins (RFC 7519 §3.1).
const JWT: &[u8] = b"eyJ";
/// Shorter parts of a token are not one.
const JWT_PART: usize = 10;

/// `xoxb-`, `xoxp-`, `xoxe.` and their like: Slack, "Token types".
const SLACK: &[u8] = b"xox";
/// Shorter than any of Slack's tokens behind their prefix.
const SLACK_LEAST: usize = 12;

/// What the private key blocks begin with (RFC 7468 §2); `PRIVATE KEY` follows before the line ends.
const BEGIN: &[u8] = b"-----BEGIN";
/// How far behind [`BEGIN`] that is looked for: `ENCRYPTED`, `OPENSSH`, `PGP … BLOCK` are the longest.
const LABEL: usize = 40;

/// The credentials of an `Authorization` header are at least so long.
const BEARER: usize = 16;
/// A value of a name that is not always a password's is a secret from so many bytes on.
const ASSIGNED_LEAST: usize = 8;

/// Those of [`table::KEYS`] that begin with this byte.
fn beginning_with(byte: u8) -> &'static [table::Key] {
    let (from, to) = FIRST[usize::from(byte)];
    &table::KEYS[usize::from(from)..usize::from(to)]
}

/// Whether a text begins as a key does.
pub(super) fn may_begin(text: &[u8]) -> bool {
    text.len() >= SHORTEST
        && (text.starts_with(JWT)
            || text.starts_with(SLACK)
            || beginning_with(text[0])
                .iter()
                // The third byte first: every prefix has one, and words of any language share two.
                .any(|key| text[2] == key.prefix.as_bytes()[2] && text.starts_with(key.prefix.as_bytes())))
}

/// The word behind an option is a secret from so many bytes on.
const OPTION_LEAST: usize = 4;

/// A key of a well-known format that begins with the word at `at`.
pub(super) fn key(scan: &mut Scan<'_>, at: usize) -> Option<Hit> {
    let text = &scan.bytes[at..];
    if text.len() < SHORTEST || NEXT_TWO[usize::from(text[0])] & bytes::bit_of_two(text[1], text[2]) == 0 {
        return None;
    }
    if scan.word_before(at) {
        return None;
    }
    if text.starts_with(JWT) {
        return jwt(scan, at);
    }
    if text.starts_with(SLACK) {
        return slack(scan, at);
    }
    beginning_with(text[0]).iter().find_map(|key| {
        let body = at + key.prefix.len();
        if !text.starts_with(key.prefix.as_bytes()) {
            return None;
        }
        let fits = |end: usize| scan.is(end, key.body) && scan.byte(end) < 0x80;
        // Looked at no further than the form says, so that a text of nothing but prefixes is read once.
        let bound = if key.most == 0 {
            key.least
        } else {
            key.most.saturating_add(1)
        };
        let mut end = body;
        while end - body < usize::from(bound) && fits(end) {
            end += 1;
        }
        if end - body < usize::from(key.least) || (key.most != 0 && end - body > usize::from(key.most)) {
            return None;
        }
        if key.most == 0 {
            while fits(end) {
                end += 1;
            }
        } else if scan.word_at(end) {
            return None;
        }
        Some(secret(at, rest_of_key(scan, end)))
    })
}

/// Some keys have parts with dots between them (SendGrid, Dynatrace, Doppler): what hangs on goes with them.
fn rest_of_key(scan: &Scan<'_>, end: usize) -> usize {
    let mut at = end;
    while matches!(scan.byte(at), b'.' | b'-' | b'_' | b'=' | b'/' | b'+') && scan.is(at + 1, BASE64URL) {
        at = bytes::run(scan.bytes, at + 1, BASE64URL);
    }
    bytes::run(scan.bytes, at, WORD)
}

/// A token of RFC 7519: a header and at least one more part, with dots between them.
fn jwt(scan: &mut Scan<'_>, at: usize) -> Option<Hit> {
    if at < scan.no_jwt {
        return None;
    }
    let header = bytes::run(scan.bytes, at, BASE64URL);
    if header - at < JWT_PART || scan.byte(header) != b'.' || !scan.is(header + 1, BASE64URL) {
        scan.no_jwt = header;
        return None;
    }
    let mut end = header;
    while scan.byte(end) == b'.' && (scan.is(end + 1, BASE64URL) || scan.byte(end + 1) == b'.') {
        end = bytes::run(scan.bytes, end + 1, BASE64URL);
    }
    if end - header <= JWT_PART {
        scan.no_jwt = header;
        return None;
    }
    Some(secret(at, bytes::run(scan.bytes, end, WORD)))
}

/// Slack's tokens: `xox`, a letter, `-`, and numbers and letters in groups (Slack, "Token types").
fn slack(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    if !scan.byte(at + 3).is_ascii_lowercase() || !matches!(scan.byte(at + 4), b'-' | b'.') {
        return None;
    }
    // The number of the workspace comes early, and a token is never short.
    let body = at + 5;
    let long = (body..body + SLACK_LEAST).all(|place| scan.is(place, BASE64URL));
    let numbered = (body..body + SLACK_LEAST).any(|place| scan.is(place, DIGIT));
    (long && numbered).then(|| {
        let end = bytes::run(scan.bytes, body, BASE64URL);
        secret(at, bytes::run(scan.bytes, end, WORD))
    })
}

/// What is a secret because of what stands before it: a block, a header's scheme, a name with a value.
pub(super) fn named(scan: &Scan<'_>, start: usize, end: usize, next: u8) -> Option<Hit> {
    let atom = &scan.bytes[start..end];
    match next {
        b' ' if atom.ends_with(BEGIN) => block(scan, end - BEGIN.len(), end),
        b' ' if table::SCHEMES
            .iter()
            .any(|scheme| atom.eq_ignore_ascii_case(scheme.as_bytes())) =>
        {
            header(scan, end + 1)
        }
        b'=' | b':' | b'"' | b'\'' => assigned(scan, atom, end),
        b' ' if matches!(scan.byte(end + 1), b'=' | b':') => assigned(scan, atom, end),
        b' ' if atom.starts_with(b"--") => option(scan, atom, end + 1),
        _ => None,
    }
}

/// A private key, to the end of its block; one without an end takes the rest of the text with it.
fn block(scan: &Scan<'_>, start: usize, end: usize) -> Option<Hit> {
    let label = &scan.bytes[end..scan.bytes.len().min(end + LABEL)];
    let label = label.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let private = memchr::memmem::find(label, b"PRIVATE KEY")?;
    let body = end + private;
    let end = memchr::memmem::find(&scan.bytes[body..], b"-----END ").map_or(scan.bytes.len(), |at| {
        let last = body + at + b"-----END ".len();
        memchr::memmem::find(&scan.bytes[last..], b"-----").map_or(scan.bytes.len(), |at| last + at + 5)
    });
    let end = bytes::run(scan.bytes, end, WORD);
    Some(secret(start, end))
}

/// What follows `Bearer` or `Basic`, if it is no word of a sentence.
fn header(scan: &Scan<'_>, from: usize) -> Option<Hit> {
    let fits = |byte: u8| {
        bytes::is(byte, BASE64URL) && byte < 0x80 || matches!(byte, b'.' | b'~' | b'+' | b'/' | b'=')
    };
    let end = (from..).find(|at| !fits(scan.byte(*at)))?;
    let value = &scan.bytes[from..end];
    let plain = value
        .iter()
        .all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'.' | b'/'));
    (value.len() >= BEARER && !plain && !scan.word_at(end)).then(|| secret(from, end))
}

/// The value of a name of [`table::ASSIGNED`]: `password=…`, `"token": "…"`, `Pwd = …;`.
fn assigned(scan: &Scan<'_>, atom: &[u8], end: usize) -> Option<Hit> {
    let name = table::ASSIGNED.iter().find(|name| ends_with_name(atom, name))?;
    let skip =
        |at: usize, any: &[u8]| at + usize::from(at < scan.bytes.len() && any.contains(&scan.byte(at)));
    let mut at = skip(skip(end, b"\"'"), b" ");
    if !matches!(scan.byte(at), b'=' | b':') {
        return None;
    }
    let sign = scan.byte(at);
    at = skip(at + 1, b" ");
    let quote = scan.byte(at);
    let quoted = matches!(quote, b'"' | b'\'' | b'`');
    let from = at + usize::from(quoted);
    // What a rule wrote here before.
    if table::marker_at(scan.bytes.get(from..)?).is_some() {
        return None;
    }
    let stop = |byte: u8| match quoted {
        true => byte == quote || (bytes::is(byte, BLANK) && byte != b' '),
        false => {
            bytes::is(byte, BLANK)
                || matches!(
                    byte,
                    b'"' | b'\'' | b'`' | b'&' | b';' | b',' | b')' | b']' | b'}'
                )
        }
    };
    let to = from
        + scan
            .bytes
            .get(from..)?
            .iter()
            .position(|byte| stop(*byte))
            .unwrap_or(scan.bytes.len() - from);
    let value = &scan.bytes[from..to];
    // `token: identifier` is a sentence, `password: str` a type; a password is one whatever it looks like, from the
    // first letter on behind `=` or in quotes.
    let strict = name.starts_with("pass") || *name == "pwd";
    let written = quoted || sign == b'=';
    let least = if strict && written { 1 } else { ASSIGNED_LEAST };
    let plain = value
        .iter()
        .all(|byte| bytes::is(*byte, DIGIT) || matches!(byte, b'*' | b'.'))
        || table::NOT_ASSIGNED
            .iter()
            .any(|word| value.eq_ignore_ascii_case(word.as_bytes()));
    let prose = !written && !strict && value.iter().all(u8::is_ascii_lowercase);
    (value.len() >= least && !plain && !prose).then(|| secret(from, to))
}

/// The word behind an option of such a name (`--password hunter2`), if it is no word of a sentence.
fn option(scan: &Scan<'_>, atom: &[u8], from: usize) -> Option<Hit> {
    table::ASSIGNED.iter().find(|name| ends_with_name(atom, name))?;
    let rest = scan.bytes.get(from..)?;
    let to = from
        + rest
            .iter()
            .position(|byte| bytes::is(*byte, BLANK))
            .unwrap_or(rest.len());
    let value = &scan.bytes[from..to];
    let plain = value
        .iter()
        .all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'*' | b'.'));
    let another = value.starts_with(b"-") || table::marker_at(value).is_some();
    (value.len() >= OPTION_LEAST && !plain && !another).then(|| secret(from, to))
}

/// Whether a text begins with an option of such a name and a blank.
pub(super) fn may_be_option(text: &[u8]) -> bool {
    let (option, rest) = text.split_at(bytes::run(text, 0, ATOM));
    let [b'-', b'-', .., before, last] = option else {
        return false;
    };
    rest.starts_with(b" ")
        && LAST_TWO[usize::from(*last)] & bytes::bit(*before) != 0
        && table::ASSIGNED.iter().any(|name| ends_with_name(option, name))
}

/// Without case, and `-` as `_`.
fn same((one, other): (&u8, &u8)) -> bool {
    one.eq_ignore_ascii_case(other) || (*one == b'-' && *other == b'_')
}

/// Whether an atom ends with this name, as a name of its own or the last part of one (`db_password`, `ApiKey`); those of
/// [`table::GLUED`] as the end of any word (`PGPASSWORD`).
fn ends_with_name(atom: &[u8], name: &str) -> bool {
    let Some(from) = atom.len().checked_sub(name.len()) else {
        return false;
    };
    atom[from..].iter().zip(name.as_bytes()).rev().all(same)
        && (from == 0
            || table::GLUED.contains(&name)
            || !atom[from - 1].is_ascii_alphabetic()
            || (atom[from].is_ascii_uppercase() && atom[from - 1].is_ascii_lowercase()))
}

fn secret(start: usize, end: usize) -> Hit {
    Hit {
        start,
        end,
        marker: Marker::Secret,
    }
}
