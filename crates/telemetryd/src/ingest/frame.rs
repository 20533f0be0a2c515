//! Lines out of bytes. What a connection holds between two reads is at most one line; an overlong line is
//! skipped to its newline without being held (I6).

use memchr::memchr;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'b> {
    /// A line without its newline.
    Line(&'b [u8]),
    /// A line of so many bytes, over the limit.
    TooLong(usize),
}

/// The state between two reads.
#[derive(Debug, Default)]
pub(super) struct Framer {
    /// The begin of a line whose newline has not come.
    rest: Vec<u8>,
    /// Bytes of an overlong line that were skipped so far.
    skipped: usize,
}

impl Framer {
    /// Calls `each` for every line that ends in `bytes`, which were just read.
    pub(super) fn lines(&mut self, mut bytes: &[u8], max: usize, mut each: impl FnMut(Frame<'_>)) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, after) = (&bytes[..end], &bytes[end + 1..]);
            bytes = after;
            let length = self.skipped + self.rest.len() + line.len();
            if self.skipped > 0 || length > max {
                // `\r\n` ends a line too; its `\r` counts as little as the `\n`.
                let limit = max + usize::from(line.last() == Some(&b'\r'));
                if self.skipped > 0 || length > limit {
                    each(Frame::TooLong(length));
                    self.skipped = 0;
                    self.rest = Vec::new();
                    continue;
                }
            }
            if self.rest.is_empty() {
                each(Frame::Line(line));
            } else {
                self.rest.extend_from_slice(line);
                each(Frame::Line(&self.rest));
                // Given back: an idle connection holds nothing.
                self.rest = Vec::new();
            }
        }
        if self.skipped > 0 || self.rest.len() + bytes.len() > max + 1 {
            self.skipped += self.rest.len() + bytes.len();
            self.rest = Vec::new();
        } else {
            self.rest.extend_from_slice(bytes);
        }
    }

    /// Whether the last line has no newline.
    pub(super) fn unfinished(&self) -> bool {
        self.skipped > 0 || !self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(text: &[u8], piece: usize, max: usize) -> (Vec<Result<Vec<u8>, usize>>, bool) {
        let (mut framer, mut found) = (Framer::default(), Vec::new());
        for bytes in text.chunks(piece) {
            framer.lines(bytes, max, |frame| {
                found.push(match frame {
                    Frame::Line(line) => Ok(line.to_vec()),
                    Frame::TooLong(length) => Err(length),
                });
            });
            assert!(framer.rest.len() <= max + 1, "held {}", framer.rest.len());
        }
        (found, framer.unfinished())
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut() {
        let text = b"one\r\ntwo\n\n0123456789\n0123456789A\n0123456789ABCDEFGHIJ\nlast";
        let whole = framed(text, text.len(), 10);
        assert_eq!(
            whole.0,
            [
                Ok(b"one\r".to_vec()),
                Ok(b"two".to_vec()),
                Ok(vec![]),
                Ok(b"0123456789".to_vec()),
                Err(11),
                Err(20)
            ]
        );
        assert!(whole.1, "the last line is not finished");
        for piece in 1..text.len() {
            assert_eq!(framed(text, piece, 10), whole, "cut at {piece}");
        }
    }

    #[test]
    fn a_carriage_return_does_not_make_a_line_too_long() {
        assert_eq!(framed(b"0123456789\r\n", 3, 10).0, [Ok(b"0123456789\r".to_vec())]);
    }
}
