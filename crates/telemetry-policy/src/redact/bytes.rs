//! What a byte can be to the scanner: one look into a table instead of a chain of comparisons. What is not ASCII is
//! told apart before, character by character: [`seen`].

use std::borrow::Cow;

/// A letter or a digit, of whatever script.
pub(super) const WORD: u16 = 1;
/// What addresses, schemes, versions and names are made of: a word's bytes and `._%+-`.
pub(super) const ATOM: u16 = 2;
/// Between atoms, and a rule may begin with it.
pub(super) const ANCHOR: u16 = 4;
/// `0-9a-fA-F`
pub(super) const HEX: u16 = 8;
/// `0-9`
pub(super) const DIGIT: u16 = 16;
/// A blank, a control character: nothing runs over it.
pub(super) const BLANK: u16 = 32;
/// Letters, digits, `-` and `_`: the alphabet of base64url (RFC 4648 §5), without padding.
pub(super) const BASE64URL: u16 = 64;
/// An upper-case letter or a digit.
pub(super) const UPPER: u16 = 128;
/// Without one of these (or a word, dots, dashes) no rule begins: anchors, and what makes an address or an assignment.
pub(super) const LOUD: u16 = 256;
/// Part of a character beyond ASCII that is no letter and no digit: a quotation mark, a dash, a blank, an emoji.
pub(super) const OTHER: u16 = 512;

/// Part of a letter of a script that puts no blanks between its words: what follows it may be a word of its own.
pub(super) const GLUED: u16 = 1024;

/// What [`seen`] writes for [`GLUED`]: another such byte.
const GLUED_BYTE: u8 = 0xfe;
/// What [`seen`] writes for [`OTHER`]: a byte that UTF-8 never has (RFC 3629 §1).
const OTHER_BYTE: u8 = 0xff;

/// The classes of every byte.
pub(super) static CLASS: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        let mut class = 0;
        if byte == OTHER_BYTE {
            class |= OTHER;
        } else if byte.is_ascii_alphanumeric() || byte >= 0x80 {
            class |= WORD | ATOM;
        }
        if byte == GLUED_BYTE {
            class |= GLUED;
        }
        if matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-') {
            class |= ATOM;
        }
        if matches!(byte, b'/' | b'\\' | b'~' | b':' | b'<') {
            class |= ANCHOR;
        }
        if matches!(byte, b'/' | b'\\' | b'~' | b':' | b'@' | b'=' | b'%') {
            class |= LOUD;
        }
        if byte.is_ascii_hexdigit() {
            class |= HEX;
        }
        if byte.is_ascii_digit() {
            class |= DIGIT;
        }
        if byte <= b' ' || byte == 0x7f {
            class |= BLANK;
        }
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            class |= BASE64URL;
        }
        if byte.is_ascii_uppercase() || byte.is_ascii_digit() {
            class |= UPPER;
        }
        table[byte as usize] = class;
        if byte == 255 {
            break;
        }
        byte += 1;
    }
    table
};

/// A bit for each byte, shared with three others: for sets that are looked into before something is compared.
pub(super) const fn bit(byte: u8) -> u64 {
    1 << (byte & 63)
}

/// The same of two bytes in a row: a bit for each pair, shared with others.
pub(super) const fn bit_of_two(one: u8, other: u8) -> u64 {
    1 << ((one.wrapping_mul(5) ^ other) & 63)
}

/// The text as the scanner reads it: byte for byte the same, except that each byte of a character beyond ASCII which is
/// no letter and no digit is of the class [`OTHER`], and of a letter that may end a word anywhere of [`GLUED`]. Places in
/// the one are places in the other.
pub(super) fn seen(text: &str) -> Cow<'_, [u8]> {
    let mut seen = Cow::Borrowed(text.as_bytes());
    if text.is_ascii() {
        return seen;
    }
    let mut in_word = false;
    for (at, character) in text.char_indices() {
        in_word = character.is_alphanumeric() || (in_word && is_accent(character));
        let as_byte = match in_word {
            _ if character.is_ascii() => continue,
            false => OTHER_BYTE,
            true if is_glued(character) => GLUED_BYTE,
            true => continue,
        };
        seen.to_mut()[at..at + character.len_utf8()].fill(as_byte);
    }
    seen
}

/// Whether this belongs to the letter before it: the blocks of combining marks (Unicode 16, "Combining Diacritical
/// Marks" with its supplements, half marks). `é` is written so in the names of files on macOS.
fn is_accent(character: char) -> bool {
    matches!(
        character,
        '\u{300}'..='\u{36f}'
            | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}'
            | '\u{fe20}'..='\u{fe2f}'
    )
}

/// Whether this is of a script that is written without blanks, or with endings hung on foreign words: Thai to Tibetan,
/// Myanmar, Hangul, Khmer, kana, Han (blocks of Unicode 16).
fn is_glued(character: char) -> bool {
    matches!(
        character,
        '\u{e00}'..='\u{fff}'
            | '\u{1000}'..='\u{109f}'
            | '\u{1100}'..='\u{11ff}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{3005}'..='\u{9fff}'
            | '\u{ac00}'..='\u{d7ff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{ff66}'..='\u{ffdc}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

/// Whether a byte is of one of the classes.
pub(super) fn is(byte: u8, class: u16) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

/// Where the bytes of these classes end that begin at `start`.
pub(super) fn run(bytes: &[u8], start: usize, class: u16) -> usize {
    let mut at = start;
    while at < bytes.len() && is(bytes[at], class) {
        at += 1;
    }
    at
}
