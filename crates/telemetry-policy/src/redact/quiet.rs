//! Whether no rule can begin in a text: true of almost every string that a tool sends, and what this room costs an event
//! is how fast that is found. ASCII is read 64 bytes at a time (I4: what it lets by, [`super::pass`] would find nothing in).

mod marks;

use self::marks::{BLOCK, Marks, odd_up_to, places};
use super::bytes::{self, ATOM, CLASS, GLUED, LOUD, WORD};
use super::{Subject, secret};

/// Whether no rule can begin in this text. What has a backslash in it is never quiet, so that the inside of a JSON string
/// may be asked about as it came: it is quiet only where it is what it says.
pub(crate) fn is_quiet(raw: &str, subject: &Subject) -> bool {
    if raw.len() >= SHORT && raw.is_ascii() {
        by_block::<false>(raw.as_bytes(), subject)
    } else {
        by_byte(raw, subject)
    }
}

/// Shorter texts are not worth the blocks.
const SHORT: usize = 32;

/// An IPv4 address has three dots; `-----BEGIN` and a MAC address with dashes have five.
const fn may_be_address(dots: u32, dashes: u32) -> bool {
    dots >= 3 || dashes >= 5
}

/// Whether an option that is followed by a secret begins with the dash at `at`. Asked once for each atom, so that it is
/// read twice at most.
fn may_be_option(text: &[u8], at: usize) -> bool {
    let begins_atom = at == 0 || !bytes::is(text[at - 1], ATOM);
    begins_atom && secret::may_be_option(&text[at..])
}

/// Whether no rule can begin in any string of this object or array, names among them, and all of it may be stored as it
/// came: it is of ASCII, has no escape in it, and no space between its parts. It was accepted by
/// [`scan`](telemetry_protocol::json::scan).
pub(crate) fn is_quiet_json(raw: &str, subject: &Subject) -> bool {
    raw.is_ascii() && by_block::<true>(raw.as_bytes(), subject)
}

/// Reads ASCII by blocks: one text, or the strings of compact JSON.
fn by_block<const JSON: bool>(text: &[u8], subject: &Subject) -> bool {
    let (mut dots, mut dashes) = (0, 0);
    // What the block before leaves: whether it ended with a word's byte, and inside of a string.
    let (mut in_word, mut in_string) = (0, 0);
    for (number, block) in text.chunks(BLOCK).enumerate() {
        let from = number * BLOCK;
        let marks = Marks::of(block);
        let mut inside = u64::MAX;
        if JSON {
            // Quotes are in pairs, since whoever meets a backslash gives up. A string's first is inside, its last is not.
            inside = odd_up_to(marks.quotes) ^ in_string;
            let all = u64::MAX >> (BLOCK - block.len());
            if all & !(marks.visible | inside) != 0 {
                return false;
            }
        }
        // Only where a word begins: its bytes without those that another one stands before.
        for at in places(inside & marks.words & !(marks.words << 1 | in_word)) {
            if subject.may_begin(&text[from + at..]) {
                return false;
            }
        }
        for at in places(inside & marks.visible & !marks.words) {
            let byte = block[at];
            if bytes::is(byte, LOUD) || byte == b'-' && may_be_option(text, from + at) {
                return false;
            }
            if JSON && byte == b'"' {
                (dots, dashes) = (0, 0);
            }
            dots += u32::from(byte == b'.');
            dashes += u32::from(byte == b'-');
            if may_be_address(dots, dashes) {
                return false;
            }
        }
        in_word = marks.words >> (BLOCK - 1);
        in_string = 0_u64.wrapping_sub(inside >> (BLOCK - 1));
    }
    true
}

/// The same of any text, byte by byte.
fn by_byte(raw: &str, subject: &Subject) -> bool {
    let text = &*bytes::seen(raw);
    let (mut dots, mut dashes, mut in_word) = (0, 0, false);
    for (at, &byte) in text.iter().enumerate() {
        let class = CLASS[usize::from(byte)];
        if class & WORD != 0 {
            if !in_word && subject.may_begin(&raw.as_bytes()[at..]) {
                return false;
            }
            in_word = class & GLUED == 0;
            continue;
        }
        in_word = false;
        if class & LOUD != 0 || byte == b'-' && may_be_option(text, at) {
            return false;
        }
        dots += u32::from(byte == b'.');
        dashes += u32::from(byte == b'-');
    }
    !may_be_address(dots, dashes)
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::{Value, json};

    use super::super::table;
    use super::*;

    /// What texts are made of here: words, what stands between them, and what rules begin with.
    const PIECES: [&str; 27] = [
        "a",
        "Z9",
        " ",
        "  ",
        ".",
        "-",
        "_",
        ",",
        "\n",
        "\u{7f}",
        "\0",
        "alice",
        "ALICE",
        "malice",
        "bearer",
        "basic",
        "AKIA0123456789ABCDEF",
        "eyJhbGciOiJIUzI1NiJ9",
        "--token ",
        "--db-password x",
        "a--token x",
        "1.2",
        "x=1",
        "a@b",
        "/",
        "word",
        "words of a text that goes on for a while, as texts do",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn blocks_say_what_reading_byte_by_byte_says(pieces in vec(select(&PIECES[..]), 0..12)) {
            let text: String = pieces.concat();
            let subject = Subject::new(["alice", "Bob Builder"], ["/home/alice"]);
            prop_assert_eq!(by_block::<false>(text.as_bytes(), &subject), by_byte(&text, &subject));
        }

        #[test]
        fn no_rule_finds_anything_in_what_is_quiet(pieces in vec(prop_oneof![
            select(&PIECES[..]).prop_map(str::to_owned),
            (select(&table::KEYS[..]), "[A-Za-z0-9_-]{14,64}").prop_map(|(key, body)| format!("{}{body}", key.prefix)),
            (select(&table::ASSIGNED[..]), any::<bool>()).prop_map(|(name, loud)| match loud {
                true => format!("--{} hunter22", name.to_uppercase()),
                false => format!("--db-{} hunter22", name.replace('_', "-")),
            }),
            (select(&table::SCHEMES[..]), "[A-Za-z0-9]{16,40}").prop_map(|(scheme, token)| format!("{scheme} {token}")),
            "[bB][oO][bB] [bB]uilder|alICE|@|:|=|/|~|10\\.0\\.0\\.1|00-1b-44-11-3a-b7".prop_map(String::from),
        ], 0..5)) {
            let text: String = pieces.concat();
            let subject = Subject::new(["alice", "Bob Builder"], ["/home/alice"]);
            prop_assert!(!is_quiet(&text, &subject) || super::super::pass(&text, &subject).is_none(), "{}", text);
        }

        #[test]
        fn json_is_quiet_where_all_its_strings_are_and_it_is_written_without_space_and_escapes(
            value in any_json(),
        ) {
            let subject = Subject::new(["alice", "Bob Builder"], ["/home/alice"]);
            let raw = value.to_string();
            let plain = raw.is_ascii() && !raw.contains('\\');
            let quiet = plain && strings(&value).iter().all(|text| is_quiet(text, &subject));
            prop_assert_eq!(is_quiet_json(&raw, &subject), quiet, "{}", raw);
        }

        #[test]
        fn json_with_space_between_its_parts_is_not_stored_as_it_came(value in any_json(), at in any::<prop::sample::Index>()) {
            let subject = Subject::default();
            let raw = value.to_string();
            let parts: Vec<usize> = (1..raw.len()).filter(|&at| is_between_parts(&raw, at)).collect();
            let at = *at.get(&parts);
            for space in [" ", "\t", "\n", "\r\n"] {
                let spaced = format!("{}{space}{}", &raw[..at], &raw[at..]);
                prop_assert!(!is_quiet_json(&spaced, &subject), "{}", spaced);
            }
        }
    }

    /// Objects and arrays of strings that rules like and numbers that they must not be asked about.
    fn any_json() -> impl Strategy<Value = Value> {
        let text = || vec(select(&PIECES[..]), 0..4).prop_map(|pieces| pieces.concat());
        let leaf = prop_oneof![
            text().prop_map(Value::from),
            text().prop_map(Value::from),
            Just(json!(-1.25e-7)),
            Just(Value::Null),
        ];
        let any = leaf.prop_recursive(3, 24, 6, move |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                btree_map(text(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        any.prop_map(|value| match value {
            Value::Object(_) | Value::Array(_) => value,
            other => json!({ "value": other }),
        })
    }

    /// All strings of a value, names among them.
    fn strings(value: &Value) -> Vec<String> {
        match value {
            Value::String(text) => vec![text.clone()],
            Value::Array(items) => items.iter().flat_map(strings).collect(),
            Value::Object(members) => members
                .iter()
                .flat_map(|(name, value)| std::iter::once(name.clone()).chain(strings(value)))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a space may stand before this byte of a compact value: outside of strings, and behind a sign of the
    /// grammar.
    fn is_between_parts(raw: &str, at: usize) -> bool {
        let mut quotes = 0;
        let bytes = raw.as_bytes();
        for (place, byte) in bytes[..at].iter().enumerate() {
            let escapes = bytes[..place]
                .iter()
                .rev()
                .take_while(|&&byte| byte == b'\\')
                .count();
            quotes += u32::from(*byte == b'"' && escapes % 2 == 0);
        }
        quotes % 2 == 0 && matches!(bytes[at - 1], b'{' | b'[' | b',' | b':' | b'}' | b']')
    }
}
