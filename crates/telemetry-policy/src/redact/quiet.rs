//! Whether no rule can begin in a text: true of almost every string that a tool sends, and what this room costs an event
//! is how fast that is found. ASCII is read 64 bytes at a time (I4: what it lets by, [`super::pass`] would find nothing in).

use super::bytes::{self, ATOM, CLASS, GLUED, LOUD, WORD};
use super::{Subject, secret};

/// Whether no rule can begin in this text.
pub(super) fn is_quiet(raw: &str, subject: &Subject) -> bool {
    if raw.len() >= SHORT && raw.is_ascii() {
        by_block(raw.as_bytes(), subject)
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

/// Bytes that are read at a time: a bit for each.
const BLOCK: usize = 64;

fn by_block(text: &[u8], subject: &Subject) -> bool {
    let (mut dots, mut dashes, mut in_word) = (0, 0, 0);
    for (number, block) in text.chunks(BLOCK).enumerate() {
        let from = number * BLOCK;
        let marks = Marks::of(block);
        // Only where a word begins: its bytes without those that another one stands before.
        for at in places(marks.words & !(marks.words << 1 | in_word)) {
            if subject.may_begin(&text[from + at..]) {
                return false;
            }
        }
        in_word = marks.words >> (BLOCK - 1);
        for at in places(marks.between) {
            let byte = block[at];
            if bytes::is(byte, LOUD) || byte == b'-' && may_be_option(text, from + at) {
                return false;
            }
            dots += u32::from(byte == b'.');
            dashes += u32::from(byte == b'-');
        }
    }
    !may_be_address(dots, dashes)
}

/// The places of the bits that are set, from the first.
fn places(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = (bits != 0).then_some(bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        at
    })
}

/// What up to 64 bytes of ASCII are.
#[derive(Debug, PartialEq, Eq)]
struct Marks {
    /// Letters and digits.
    words: u64,
    /// Neither those nor a space.
    between: u64,
}

impl Marks {
    /// Eight bytes at a time in one register ("SIMD within a register", Lamport 1975): no sum carries into the next byte,
    /// since each of ASCII is below 0x80 and what is added to it brings it to 0x80 exactly where it is at least a bound.
    fn of(block: &[u8]) -> Self {
        const EACH: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x80 * EACH;
        const fn at_least(bytes: u64, bound: u8) -> u64 {
            bytes + (0x80 - bound as u64) * EACH
        }
        const fn within(bytes: u64, first: u8, last: u8) -> u64 {
            at_least(bytes, first) & !at_least(bytes, last + 1)
        }
        let (mut words, mut between) = (0, 0);
        for (number, eight) in block.chunks(8).enumerate() {
            let mut padded = [b' '; 8];
            let bytes = u64::from_le_bytes(match eight.try_into() {
                Ok(eight) => eight,
                Err(_) => {
                    padded[..eight.len()].copy_from_slice(eight);
                    padded
                }
            });
            let letters = within(bytes | (0x20 * EACH), b'a', b'z');
            let digits = within(bytes, b'0', b'9');
            let word = (letters | digits) & HIGH;
            let space = within(bytes, b' ', b' ') & HIGH;
            words |= gathered(word) << (8 * number);
            let other = !(word | space) & HIGH;
            if other != 0 {
                between |= gathered(other) << (8 * number);
            }
        }
        Self { words, between }
    }
}

/// The highest bits of eight bytes as the lowest byte, by a multiplication that adds each shifted to its place ("Chess
/// Programming Wiki", "Flipping, Mirroring and Rotating": a file to a rank).
const fn gathered(high: u64) -> u64 {
    (high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
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
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    #[test]
    fn every_byte_of_ascii_is_marked_as_its_class_says_wherever_it_stands() {
        for byte in 0..0x80_u8 {
            for length in [1, 7, 8, 9, 63, 64] {
                for at in 0..length {
                    let mut block = vec![b' '; length];
                    block[at] = byte;
                    let word = bytes::is(byte, WORD);
                    let wanted = Marks {
                        words: u64::from(word) << at,
                        between: u64::from(!word && byte != b' ') << at,
                    };
                    assert_eq!(Marks::of(&block), wanted, "{byte:#x} at {at} of {length}");
                }
            }
        }
    }

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
            prop_assert_eq!(by_block(text.as_bytes(), &subject), by_byte(&text, &subject));
        }
    }
}
