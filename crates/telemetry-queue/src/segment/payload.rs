//! Payloads of one segment that begin or end alike: what a tool says again and again (names, version, machine,
//! ids of its own) is stored once a segment.
//!
//! Front coding, as sorted tables have it (LevelDB's table format, "shared_bytes"), with the first payload of the
//! segment as the only reference, and at both ends: any payload is then read from two places, in any order.

/// Fewer bytes in common than this are not worth the two lengths and the two more pieces.
const LEAST: usize = 16;

/// A payload as a segment has it: in up to three pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Payload<'a> {
    /// In common with the beginning of the segment's first payload.
    head: &'a [u8],
    /// Its own.
    own: &'a [u8],
    /// In common with the end of the segment's first payload.
    tail: &'a [u8],
}

impl<'a> Payload<'a> {
    /// A payload in one piece.
    pub(crate) fn whole(own: &'a [u8]) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// A payload of which `head` bytes and `tail` bytes are the reference's; `None` where it has not so many.
    pub(super) fn of(reference: &'a [u8], head: usize, own: &'a [u8], tail: usize) -> Option<Self> {
        let tail = reference.len().checked_sub(tail)?;
        Some(Self {
            head: reference.get(..head)?,
            own,
            tail: &reference[tail..],
        })
    }

    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.own.len() + self.tail.len()
    }

    /// The bytes, in order.
    pub(crate) fn append_to(&self, to: &mut Vec<u8>) {
        to.reserve(self.len());
        to.extend_from_slice(self.head);
        to.extend_from_slice(self.own);
        to.extend_from_slice(self.tail);
    }

    /// The bytes, in order.
    pub(crate) fn to_vec(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        bytes
    }

    /// Its bytes in one piece, where they are.
    pub(super) fn as_whole(&self) -> Option<&'a [u8]> {
        (self.head.is_empty() && self.tail.is_empty()).then_some(self.own)
    }
}

/// How many bytes at its beginning, and how many of the others at its end, a payload has in common with the
/// reference; both 0 where that is not worth it.
pub(super) fn common(reference: &[u8], payload: &[u8]) -> (usize, usize) {
    let head = alike(reference, payload);
    let tail = alike_at_the_end(&reference[head..], &payload[head..]);
    if head + tail < LEAST { (0, 0) } else { (head, tail) }
}

/// Eight bytes at a time: this runs for each event that is stored.
const WORD: usize = 8;

fn alike(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(WORD).zip(b.chunks_exact(WORD));
    let at = words.take_while(|(a, b)| a == b).count() * WORD;
    at + a[at..].iter().zip(&b[at..]).take_while(|(a, b)| a == b).count()
}

fn alike_at_the_end(a: &[u8], b: &[u8]) -> usize {
    let words = a.rchunks_exact(WORD).zip(b.rchunks_exact(WORD));
    let at = words.take_while(|(a, b)| a == b).count() * WORD;
    let (a, b) = (&a[..a.len() - at], &b[..b.len() - at]);
    at + a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(a, b)| a == b)
        .count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split<'a>(reference: &'a [u8], payload: &'a [u8]) -> Payload<'a> {
        let (head, tail) = common(reference, payload);
        Payload::of(reference, head, &payload[head..payload.len() - tail], tail).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_split_is_whole_again(reference in "[ab]{0,60}", payload in "[ab]{0,60}") {
            let split = split(reference.as_bytes(), payload.as_bytes());
            prop_assert_eq!(split.len(), payload.len());
            prop_assert_eq!(split.to_vec(), payload.as_bytes());
        }
    }

    #[test]
    fn only_what_differs_is_stored_again() {
        let event =
            |token: &str| format!(r#"{{"event":"run","properties":{{"token":"{token}"}},"os":"linux"}}"#);
        let (first, second) = (event("aaaa"), event("bbbb"));
        let split = split(first.as_bytes(), second.as_bytes());
        assert_eq!(split.own, b"bbbb");
    }

    #[test]
    fn head_and_tail_do_not_overlap_where_one_is_the_others_half() {
        let (short, long) = (b"x".repeat(20), b"x".repeat(40));
        assert_eq!(split(&short, &long).to_vec(), long);
        assert_eq!(split(&long, &short).to_vec(), short);
        assert_eq!(common(&long, &long), (40, 0));
    }

    #[test]
    fn a_few_bytes_in_common_are_not_worth_it() {
        assert_eq!(common(b"{\"event\":1}", b"{\"event\":2}"), (0, 0));
    }
}
