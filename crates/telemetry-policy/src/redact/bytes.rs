//! What a byte can be to the scanner: one look into a table instead of a chain of comparisons.

/// A letter, a digit, or part of a character that is not ASCII.
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

/// The classes of every byte.
pub(super) static CLASS: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        let mut class = 0;
        if byte.is_ascii_alphanumeric() || byte >= 0x80 {
            class |= WORD | ATOM;
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
