//! The scanner itself: RFC 8259's grammar, one function a rule, one byte after the other.

use std::collections::HashSet;
use std::ops::Range;

use super::{JsonError, Member, plain, unescape};

/// More keys than this in one object are compared through a set instead of pairwise.
const PAIRWISE_KEYS: usize = 24;

/// A string: where its inside lies, and whether it has escapes in it.
struct Text {
    inside: Range<usize>,
    escaped: bool,
}

/// A position in a line, and what is open there.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    max_depth: usize,
    /// The members of all objects that are open, innermost last; in the end those of the line.
    members: &'a mut Vec<Member>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8], max_depth: usize, members: &'a mut Vec<Member>) -> Self {
        Self {
            bytes,
            at: 0,
            max_depth,
            members,
        }
    }

    /// The byte that is looked at.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn space(&mut self) {
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

    pub(super) fn value(&mut self, depth: usize) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{') => {
                let open = self.members.len();
                self.object(depth)?;
                self.members.truncate(open);
                Ok(())
            }
            Some(b'[') => self.array(depth),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(JsonError::Syntax(self.at, "a value")),
        }
    }

    /// An object; its members are the last ones then.
    pub(super) fn object(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > self.max_depth {
            return Err(JsonError::TooDeep(self.max_depth));
        }
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let first = self.members.len();
        loop {
            let Text { inside, escaped } = self.string()?;
            self.space();
            self.eat(b':', "`:`")?;
            self.space();
            let from = self.at;
            self.value(depth + 1)?;
            self.members.push(Member {
                begins: self.begins(&inside),
                key: inside,
                escaped,
                value: from..self.at,
            });
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
        self.refuse_repeated(first)
    }

    /// The first eight bytes of a key, or all of them.
    fn begins(&self, inside: &Range<usize>) -> u64 {
        let key = &self.bytes[inside.clone()];
        match key.first_chunk::<8>() {
            Some(eight) => u64::from_le_bytes(*eight),
            None => key.iter().fold(0, |all, &byte| all << 8 | u64::from(byte)),
        }
    }

    fn refuse_repeated(&self, first: usize) -> Result<(), JsonError> {
        let members = &self.members[first..];
        let repeated = |member: &Member| Err(JsonError::RepeatedKey(member.key.start.saturating_sub(1)));
        if members.len() > PAIRWISE_KEYS || members.iter().any(|member| member.escaped) {
            let mut seen = HashSet::with_capacity(members.len());
            for member in members {
                let key = std::str::from_utf8(&self.bytes[member.key.clone()]).unwrap_or_default();
                if !seen.insert(unescape(key)) {
                    return repeated(member);
                }
            }
            return Ok(());
        }
        for (nth, member) in members.iter().enumerate() {
            let same = |other: &Member| {
                other.begins == member.begins
                    && other.key.len() == member.key.len()
                    && self.bytes[other.key.clone()] == self.bytes[member.key.clone()]
            };
            if members[..nth].iter().any(same) {
                return repeated(member);
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

    fn string(&mut self) -> Result<Text, JsonError> {
        self.eat(b'"', "a string")?;
        let from = self.at;
        let mut escaped = false;
        loop {
            self.at = plain(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    let inside = from..self.at - 1;
                    return Ok(Text { inside, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..=0x1F) => return Err(JsonError::Syntax(self.at, "no bare control character")),
                Some(_) => self.at += 1,
                None => return Err(JsonError::Syntax(self.at, "the end of the string")),
            }
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
