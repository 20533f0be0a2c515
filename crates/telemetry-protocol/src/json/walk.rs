//! A second look at raw JSON that [`super::scan`] has accepted: members and items, one after the other, without
//! checking anything again and without building values.
//!
//! On anything else than scanned JSON it ends early; it never panics.

use std::borrow::Cow;

use super::{plain, unescape};

/// The inside of a scanned string: between its quotes, escapes as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// The string of a raw value; `None` where that is none.
    #[must_use]
    pub fn of(raw: &'a str) -> Option<Self> {
        Some(Self(raw.strip_prefix('"')?.strip_suffix('"')?))
    }

    /// The bytes as they came.
    #[must_use]
    pub const fn raw(self) -> &'a str {
        self.0
    }

    /// The text itself; borrowed unless there are escapes in it.
    #[must_use]
    pub fn get(self) -> Cow<'a, str> {
        unescape(self.0)
    }
}

/// The members of a raw object, in order.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    raw: &'a str,
    at: usize,
}

/// The members of `raw`, which begins with `{`.
#[must_use]
pub const fn members(raw: &str) -> Members<'_> {
    Members { raw, at: 1 }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Text<'a>, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.raw.as_bytes();
        let from = between(bytes, self.at);
        if bytes.get(from) != Some(&b'"') {
            self.at = bytes.len();
            return None;
        }
        let end = string_end(bytes, from);
        let key = Text(self.raw.get(from + 1..end.saturating_sub(1))?);
        let from = between(bytes, end);
        let end = value_end(bytes, from);
        self.at = end;
        Some((key, self.raw.get(from..end)?))
    }
}

/// The items of a raw array, in order.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    raw: &'a str,
    at: usize,
}

/// The items of `raw`, which begins with `[`.
#[must_use]
pub const fn items(raw: &str) -> Items<'_> {
    Items { raw, at: 1 }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.raw.as_bytes();
        let from = between(bytes, self.at);
        if matches!(bytes.get(from), None | Some(b']')) {
            self.at = bytes.len();
            return None;
        }
        let end = value_end(bytes, from);
        // Nothing that could be an item: not what a scan accepts, and no step forward.
        if end <= from {
            self.at = bytes.len();
            return None;
        }
        self.at = end;
        self.raw.get(from..end)
    }
}

/// Appends `text` as a JSON string, with its quotes.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let (mut copied, mut at) = (0, plain(bytes, 0));
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at - 1]);
        copied = at;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(control >> 4)]);
                out.push(HEX[usize::from(control & 15)]);
            }
        }
        at = plain(bytes, at);
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

/// Past what stands between two things: space, commas, colons.
fn between(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\r' | b'\n' | b',' | b':')) {
        at += 1;
    }
    at
}

/// Past the string that begins with the quote at `from`.
fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = plain(bytes, from + 1);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at = plain(bytes, at + 2),
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Past the value that begins at `from`.
fn value_end(bytes: &[u8], from: usize) -> usize {
    match bytes.get(from) {
        Some(b'"') => string_end(bytes, from),
        Some(b'{' | b'[') => {
            let mut depth = 0_usize;
            let mut at = from;
            while let Some(&byte) = bytes.get(at) {
                match byte {
                    b'"' => {
                        at = string_end(bytes, at);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return at + 1;
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
            bytes.len()
        }
        _ => {
            let plain = |byte: &&u8| !matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
            from + bytes
                .get(from..)
                .unwrap_or_default()
                .iter()
                .take_while(plain)
                .count()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// What the walk sees, built up again.
    fn rebuilt(raw: &str) -> Value {
        match raw.as_bytes().first() {
            Some(b'{') => members(raw)
                .map(|(key, value)| (key.get().into_owned(), rebuilt(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Some(b'[') => items(raw).map(rebuilt).collect(),
            Some(b'"') => Text::of(raw).unwrap().get().into(),
            _ => serde_json::from_str(raw).unwrap(),
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn members_and_items_are_found_with_space_and_without() {
        let raw = r#"{ "a" : [ 1 , "x,]" , {"b":null} ] , "c\n":-1.5e3,"d":{}, "e" : true }"#;
        let found: Vec<(String, &str)> = members(raw).map(|(k, v)| (k.get().into_owned(), v)).collect();
        let expected = [
            ("a", r#"[ 1 , "x,]" , {"b":null} ]"#),
            ("c\n", "-1.5e3"),
            ("d", "{}"),
            ("e", "true"),
        ];
        assert_eq!(found, expected.map(|(k, v)| (k.to_owned(), v)));
        assert_eq!(items("[ ]").count(), 0);
        assert_eq!(
            items(found[0].1).collect::<Vec<_>>(),
            ["1", "\"x,]\"", "{\"b\":null}"]
        );
    }

    proptest! {
        #[test]
        fn a_walk_sees_what_a_parser_sees(value in any_json()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                prop_assert_eq!(rebuilt(&text), value.clone());
            }
        }

        #[test]
        fn what_is_not_json_ends_the_walk(text in r#"[{\[][ -~]{0,60}"#) {
            let _ = (members(&text).count(), items(&text).count());
        }

        #[test]
        fn a_written_string_is_read_as_it_was(text in any::<String>()) {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
