//! One pass over a line: is it one JSON object (RFC 8259), and where do its members lie?
//!
//! The daemon keeps the bytes of `properties` as they came, so that no number is rounded and nothing
//! is written twice; this scanner makes that safe. It refuses what parsers disagree on (repeated keys,
//! lone surrogates) and bounds the nesting (I6). It allocates nothing but the spans that it is lent.

mod scanner;
pub mod walk;

use std::borrow::Cow;
use std::ops::Range;

use self::scanner::Scanner;

/// Why a line is not one JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8 from this byte on.
    #[error("not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// Not JSON at this byte.
    #[error("not JSON at byte {0}: expected {1}")]
    Syntax(usize, &'static str),
    /// JSON, but not an object.
    #[error("not an object but {0}")]
    NotAnObject(&'static str),
    /// The same key twice in one object; the second begins at this byte.
    #[error("a key is repeated at byte {0}")]
    RepeatedKey(usize),
    /// Half of a surrogate pair, escaped.
    #[error("a lone surrogate at byte {0}")]
    LoneSurrogate(usize),
    /// More levels than allowed.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
}

/// One member of the line's object: where its key (without quotes) and its value lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Between the quotes, escapes as they came.
    pub key: Range<usize>,
    /// Whether the key has escapes in it.
    pub escaped: bool,
    /// The whole value, quotes and brackets included.
    pub value: Range<usize>,
    /// The key's first bytes: two keys of one length that differ in them are not the same.
    begins: u64,
}

/// A scanned line: its text and its members, in order.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    /// The whole line.
    pub text: &'a str,
    /// Its members.
    pub members: &'a [Member],
}

impl<'a> Object<'a> {
    /// The raw value of `key`, or `None`. (Keys with escapes in them are compared unescaped.)
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        let is_it = |member: &&Member| match &self.text[member.key.clone()] {
            escaped if member.escaped => unescape(escaped) == key,
            plain => plain == key,
        };
        let member = self.members.iter().find(is_it)?;
        Some(&self.text[member.value.clone()])
    }

    /// Keys, unescaped, and raw values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, &'a str)> + use<'a> {
        let text = self.text;
        self.members.iter().map(move |member| {
            let key = &text[member.key.clone()];
            let key = if member.escaped {
                unescape(key)
            } else {
                Cow::Borrowed(key)
            };
            (key, &text[member.value.clone()])
        })
    }
}

/// Scans `line`, which must be one JSON object of at most `max_depth` levels.
/// `members` is cleared and filled, so that a connection can lend the same vector again and again.
///
/// # Errors
/// The first thing that is wrong, with the byte where it is; never the bytes themselves.
pub fn scan<'a>(
    line: &'a [u8],
    max_depth: usize,
    members: &'a mut Vec<Member>,
) -> Result<Object<'a>, JsonError> {
    members.clear();
    let text = std::str::from_utf8(line).map_err(|e| JsonError::NotUtf8(e.valid_up_to()))?;
    let mut scanner = Scanner::new(line, max_depth, members);
    scanner.space();
    match scanner.peek() {
        Some(b'{') => scanner.object(1)?,
        Some(_) => {
            let kind = kind_of(text[scanner.at()..].trim_ascii());
            scanner.value(1)?;
            return Err(JsonError::NotAnObject(kind));
        }
        None => return Err(JsonError::Syntax(scanner.at(), "an object")),
    }
    scanner.space();
    if scanner.at() != line.len() {
        return Err(JsonError::Syntax(scanner.at(), "the end of the line"));
    }
    Ok(Object { text, members })
}

/// Past bytes of a string that mean themselves, eight at a time: the place of a quote, a backslash or a control character,
/// or one with less than eight bytes behind it.
fn plain(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    // A byte of `word` is zero (Mycroft, 1987). Above a true hit there may be false ones: the lowest is true.
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*eight);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let quote = has_zero(word ^ (ONES * u64::from(b'"')));
        let backslash = has_zero(word ^ (ONES * u64::from(b'\\')));
        let hits = control | quote | backslash;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at
}

/// What a raw JSON value is, in words: for messages, which name shapes and never values.
#[must_use]
pub fn kind_of(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The text of a raw JSON string that [`scan`] has accepted, quotes included; `None` for other values.
#[must_use]
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    Some(unescape(raw.strip_prefix('"')?.strip_suffix('"')?))
}

/// Undoes the escapes of a scanned string's inside.
fn unescape(inside: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', inside.as_bytes()) else {
        return Cow::Borrowed(inside);
    };
    let mut out = String::with_capacity(inside.len());
    out.push_str(&inside[..first]);
    let mut rest = inside[first..].chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let mut unit = four_hex(&mut rest);
                if (0xD800..0xDC00).contains(&unit) {
                    rest.nth(1); // the `\u` of the second half, which the scan has seen
                    unit = 0x10000
                        + ((unit - 0xD800) << 10)
                        + (four_hex(&mut rest).wrapping_sub(0xDC00) & 0x3FF);
                }
                out.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Cow::Owned(out)
}

fn four_hex(chars: &mut std::str::Chars<'_>) -> u32 {
    (0..4).fold(0, |sum, _| {
        sum * 16 + chars.next().and_then(|c| c.to_digit(16)).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scanned(line: &[u8]) -> Result<(), JsonError> {
        scan(line, 32, &mut Vec::new()).map(|_| ())
    }

    #[test]
    fn members_are_found_where_they_lie() {
        let mut members = Vec::new();
        let line = br#" { "tool" : "kedro", "to\u006fls":[1,{"a":2}] , "n":-1.5e3 } "#;
        let object = scan(line, 32, &mut members).unwrap();
        assert_eq!(object.get("tool"), Some("\"kedro\""));
        assert_eq!(object.get("tools"), Some("[1,{\"a\":2}]"));
        assert_eq!(object.get("n"), Some("-1.5e3"));
        assert_eq!(object.get("absent"), None);
    }

    #[test]
    fn repeated_keys_are_refused_at_every_level_however_they_are_written() {
        for line in [
            r#"{"a":1,"a":2}"#.to_owned(),
            r#"{"a":1,"\u0061":2}"#.to_owned(),
            r#"{"p":{"x":[{"k":1,"k":1}]}}"#.to_owned(),
            format!(
                "{{{}\"k7\":1}}",
                (0..40).map(|n| format!("\"k{n}\":0,")).collect::<String>()
            ),
        ] {
            assert!(
                matches!(scanned(line.as_bytes()), Err(JsonError::RepeatedKey(_))),
                "{line}"
            );
        }
        assert_eq!(scanned(br#"{"a":{"a":{"a":1}},"b":{"a":1}}"#), Ok(()));
    }

    #[test]
    fn lone_surrogates_are_refused_and_pairs_are_read() {
        for line in [
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\udc00"}"#,
            r#"{"a":"\ud83dx"}"#,
            r#"{"a":"\ud83d\u0041"}"#,
        ] {
            assert!(
                matches!(scanned(line.as_bytes()), Err(JsonError::LoneSurrogate(_))),
                "{line}"
            );
        }
        assert_eq!(string(r#""\ud83d\ude00 \u00e9\n""#).as_deref(), Some("😀 é\n"));
    }

    #[test]
    fn depth_counts_from_the_line_itself() {
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert_eq!(scanned(nested(32).as_bytes()), Ok(()));
        assert_eq!(scanned(nested(33).as_bytes()), Err(JsonError::TooDeep(32)));
        assert_eq!(
            scanned(format!("{{\"a\":{}", "[".repeat(60_000)).as_bytes()),
            Err(JsonError::TooDeep(32))
        );
    }

    #[test]
    fn what_is_not_an_object_is_named() {
        for (line, kind) in [
            ("[]", "an array"),
            ("\"x\"", "a string"),
            ("1", "a number"),
            ("null", "null"),
        ] {
            assert_eq!(
                scanned(line.as_bytes()),
                Err(JsonError::NotAnObject(kind)),
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_serde_json_on_what_is_json(line in r#"[ -~]{0,40}|[\[\]{}":,0-9a-z\\u.eE+\- ]{0,60}"#) {
            let text = format!("{{\"a\":{line}}}");
            let ours = scanned(text.as_bytes());
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            match ours {
                Ok(()) => prop_assert!(
                    // Numbers outside of f64 are JSON all the same.
                    theirs.is_ok() || theirs.is_err_and(|e| e.to_string().contains("out of range")), "{}", text),
                Err(JsonError::RepeatedKey(_) | JsonError::TooDeep(_)) => {}
                Err(_) => prop_assert!(theirs.is_err(), "{}", text),
            }
        }

        #[test]
        fn it_takes_all_that_serde_json_writes(text in any::<String>(), number in any::<f64>(), key in "[a-z]{1,4}") {
            let value = serde_json::json!({ "tool": text, "n": number, "nested": { key: [text, null, true] } });
            let line = serde_json::to_vec(&value).unwrap();
            let mut members = Vec::new();
            let object = scan(&line, 32, &mut members).unwrap();
            prop_assert_eq!(string(object.get("tool").unwrap()).unwrap(), text);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = scanned(&bytes);
        }
    }
}
