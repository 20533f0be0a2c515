//! What 64 bytes of ASCII are, a bit for each: read eight at a time in one register.

use std::ops::BitOr;

/// Bytes that are read at a time: a bit for each.
pub(super) const BLOCK: usize = 64;

/// What up to 64 bytes of ASCII are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Letters and digits.
    pub(super) words: u64,
    /// What is neither space nor one of the control characters below it.
    pub(super) visible: u64,
    /// `"`
    pub(super) quotes: u64,
}

impl Marks {
    /// What lies behind the end is nothing of all that.
    pub(super) fn of(block: &[u8]) -> Self {
        debug_assert!(block.len() <= BLOCK && block.is_ascii());
        let (eights, rest) = block.as_chunks::<8>();
        let mut marks = Self::default();
        for (number, eight) in eights.iter().enumerate() {
            marks = marks | Self::eight(u64::from_le_bytes(*eight), 8 * number);
        }
        if !rest.is_empty() {
            // The last eight bytes, less those that were read: what comes in from above is none of the block.
            let bytes = match block.last_chunk::<8>() {
                Some(last) => u64::from_le_bytes(*last) >> (8 * (8 - rest.len())),
                None => rest.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte)),
            };
            let Self {
                words,
                visible,
                quotes,
            } = Self::eight(bytes, 0);
            let (own, from) = ((1 << rest.len()) - 1, 8 * eights.len());
            marks = marks
                | Self {
                    words: (words & own) << from,
                    visible: (visible & own) << from,
                    quotes: (quotes & own) << from,
                };
        }
        marks
    }

    /// Eight bytes in one register ("SIMD within a register", Lamport 1975): no sum carries into the next byte, since
    /// each of ASCII is below 0x80 and what is added to it brings it to 0x80 exactly where it is at least a bound.
    #[inline(always)]
    const fn eight(bytes: u64, from: usize) -> Self {
        const EACH: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x80 * EACH;
        const fn at_least(bytes: u64, bound: u8) -> u64 {
            bytes + (0x80 - bound as u64) * EACH
        }
        const fn within(bytes: u64, first: u8, last: u8) -> u64 {
            at_least(bytes, first) & !at_least(bytes, last + 1)
        }
        let letters = within(bytes | (0x20 * EACH), b'a', b'z');
        let digits = within(bytes, b'0', b'9');
        Self {
            words: gathered((letters | digits) & HIGH) << from,
            visible: gathered(at_least(bytes, b' ' + 1) & HIGH) << from,
            quotes: gathered(within(bytes, b'"', b'"') & HIGH) << from,
        }
    }
}

impl BitOr for Marks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            words: self.words | other.words,
            visible: self.visible | other.visible,
            quotes: self.quotes | other.quotes,
        }
    }
}

/// The highest bits of eight bytes as the lowest byte, by a multiplication that adds each shifted to its place ("Chess
/// Programming Wiki", "Flipping, Mirroring and Rotating": a file to a rank).
const fn gathered(high: u64) -> u64 {
    (high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// The places of the bits that are set, from the first.
pub(super) fn places(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = (bits != 0).then_some(bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        at
    })
}

/// For each bit whether an odd number of those up to it is set, itself among them: where quotes are set, what is inside of
/// a string (Langdale and Lemire, "Parsing Gigabytes of JSON per Second", 2019, section 3.1.1).
pub(super) const fn odd_up_to(mut bits: u64) -> u64 {
    let mut shift = 1;
    while shift < u64::BITS {
        bits ^= bits << shift;
        shift *= 2;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::super::super::bytes::{self, WORD};
    use super::*;

    #[test]
    fn every_byte_of_ascii_is_marked_as_its_class_says_wherever_it_stands() {
        for byte in 0..0x80_u8 {
            for length in [1, 7, 8, 9, 15, 63, 64] {
                for at in 0..length {
                    let mut block = vec![b' '; length];
                    block[at] = byte;
                    let this = |holds: bool| u64::from(holds) << at;
                    let wanted = Marks {
                        words: this(bytes::is(byte, WORD)),
                        visible: this(byte > b' '),
                        quotes: this(byte == b'"'),
                    };
                    assert_eq!(Marks::of(&block), wanted, "{byte:#x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn what_stands_behind_an_odd_number_of_quotes_is_inside() {
        let by_hand = |bits: u64| -> u64 {
            let odd = |at: &u32| (bits & (u64::MAX >> (63 - at))).count_ones() % 2 == 1;
            (0..u64::BITS).filter(odd).map(|at| 1 << at).sum()
        };
        for bits in [0, 1, 0b0100_1000_0001, 1 << 63, u64::MAX, 0x8421_0f0f_1248_0001] {
            assert_eq!(odd_up_to(bits), by_hand(bits), "{bits:#b}");
        }
    }
}
