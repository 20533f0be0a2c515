//! One pass over a line: is it one JSON object (RFC 8259), and where do its members lie?
//!
//! The daemon keeps the bytes of `properties` as they came, so that no number is rounded and nothing
//! is written twice; this scanner makes that safe. It refuses what parsers disagree on (repeated keys,
//! lone surrogates) and bounds the nesting (I6). It allocates nothing but the spans that it is lent.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

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
        self.iter()
            .find(|(found, _)| found == key)
            .map(|(_, value)| value)
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
    let mut scanner = Scanner {
        bytes: line,
        at: 0,
        max_depth,
        keys: Vec::new(),
    };
    scanner.space();
    match scanner.peek() {
        Some(b'{') => scanner.object(1, Some(members))?,
        Some(_) => {
            let kind = kind_of(text[scanner.at..].trim_ascii());
            scanner.value(1)?;
            return Err(JsonError::NotAnObject(kind));
        }
        None => return Err(JsonError::Syntax(scanner.at, "an object")),
    }
    scanner.space();
    if scanner.at != line.len() {
        return Err(JsonError::Syntax(scanner.at, "the end of the line"));
    }
    Ok(Object { text, members })
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

/// More keys than this in one object are compared through a set instead of pairwise.
const PAIRWISE_KEYS: usize = 24;

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    max_depth: usize,
    /// The keys of all objects that are open, innermost last.
    keys: Vec<Range<usize>>,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(JsonError::Syntax(self.at, expected))
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{') => self.object(depth, None),
            Some(b'[') => self.array(depth),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(JsonError::Syntax(self.at, "a value")),
        }
    }

    fn object(&mut self, depth: usize, mut members: Option<&mut Vec<Member>>) -> Result<(), JsonError> {
        if depth > self.max_depth {
            return Err(JsonError::TooDeep(self.max_depth));
        }
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let first_key = self.keys.len();
        loop {
            let key = self.string()?;
            self.space();
            self.eat(b':', "`:`")?;
            self.space();
            let from = self.at;
            self.value(depth + 1)?;
            if let Some(members) = members.as_deref_mut() {
                let escaped = memchr::memchr(b'\\', &self.bytes[key.clone()]).is_some();
                members.push(Member {
                    key: key.clone(),
                    escaped,
                    value: from..self.at,
                });
            }
            self.keys.push(key);
            self.space();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.space();
                }
                Some(b'}') => {
                    self.at += 1;
                    break;
                }
                _ => return Err(JsonError::Syntax(self.at, "`,` or `}`")),
            }
        }
        self.refuse_repeated(first_key)?;
        self.keys.truncate(first_key);
        Ok(())
    }

    fn refuse_repeated(&self, first_key: usize) -> Result<(), JsonError> {
        let keys = &self.keys[first_key..];
        let repeated = |key: &Range<usize>| Err(JsonError::RepeatedKey(key.start.saturating_sub(1)));
        let escaped = keys
            .iter()
            .any(|key| memchr::memchr(b'\\', &self.bytes[key.clone()]).is_some());
        if escaped || keys.len() > PAIRWISE_KEYS {
            let mut seen = HashSet::with_capacity(keys.len());
            for key in keys {
                let inside = std::str::from_utf8(&self.bytes[key.clone()]).unwrap_or_default();
                if !seen.insert(unescape(inside)) {
                    return repeated(key);
                }
            }
            return Ok(());
        }
        for (nth, key) in keys.iter().enumerate() {
            if keys[..nth]
                .iter()
                .any(|other| self.bytes[other.clone()] == self.bytes[key.clone()])
            {
                return repeated(key);
            }
        }
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > self.max_depth {
            return Err(JsonError::TooDeep(self.max_depth));
        }
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.space();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.space();
                }
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(JsonError::Syntax(self.at, "`,` or `]`")),
            }
        }
    }

    /// Returns where the inside of the string lies.
    fn string(&mut self) -> Result<Range<usize>, JsonError> {
        self.eat(b'"', "a string")?;
        let from = self.at;
        loop {
            self.plain();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(from..self.at - 1);
                }
                Some(b'\\') => self.escape()?,
                Some(0..=0x1F) => return Err(JsonError::Syntax(self.at, "no bare control character")),
                Some(_) => self.at += 1,
                None => return Err(JsonError::Syntax(self.at, "the end of the string")),
            }
        }
    }

    /// Skips bytes of a string that mean themselves, eight at a time.
    fn plain(&mut self) {
        const ONES: u64 = u64::from_ne_bytes([1; 8]);
        const HIGHS: u64 = ONES << 7;
        // A byte of `word` is zero (Mycroft, 1987); a hit beside a true one may be false, so bytes decide then.
        let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
        while let Some(eight) = self
            .bytes
            .get(self.at..self.at + 8)
            .and_then(|b| <[u8; 8]>::try_from(b).ok())
        {
            let word = u64::from_ne_bytes(eight);
            let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
            let quote = has_zero(word ^ (ONES * u64::from(b'"')));
            let backslash = has_zero(word ^ (ONES * u64::from(b'\\')));
            if (control | quote | backslash) != 0 {
                return;
            }
            self.at += 8;
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => match self.unit()? {
                0xDC00..=0xDFFF => return Err(JsonError::LoneSurrogate(start)),
                0xD800..=0xDBFF => {
                    let pair = self.bytes.get(self.at..self.at + 2) == Some(b"\\u");
                    self.at += 1;
                    if !pair || !matches!(self.unit(), Ok(0xDC00..=0xDFFF)) {
                        return Err(JsonError::LoneSurrogate(start));
                    }
                }
                _ => {}
            },
            _ => return Err(JsonError::Syntax(self.at, "an escape")),
        }
        Ok(())
    }

    /// Reads `uXXXX`.
    fn unit(&mut self) -> Result<u32, JsonError> {
        let digits = self.bytes.get(self.at + 1..self.at + 5);
        let unit = digits.and_then(|d| {
            d.iter().try_fold(0, |sum, &b| {
                char::from(b).to_digit(16).map(|digit| sum * 16 + digit)
            })
        });
        self.at += 5;
        unit.ok_or(JsonError::Syntax(self.at - 5, "four hexadecimal digits"))
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), JsonError> {
        if self.bytes[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(JsonError::Syntax(self.at, "a value"))
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from {
            Err(JsonError::Syntax(from, "a digit"))
        } else {
            Ok(())
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }
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
