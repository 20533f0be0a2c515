//! Lines out of bytes. What a connection holds between two reads is at most one line; an overlong line is
//! skipped to its newline without being held (I6).

use std::ops::ControlFlow;

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
    /// Calls `each` for the lines that end in `bytes`, which were just read, until it breaks; returns how many
    /// bytes that took. Bytes behind the last newline are kept for the next read.
    pub(super) fn lines(
        &mut self,
        bytes: &[u8],
        max: usize,
        mut each: impl FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> usize {
        let mut at = 0;
        while let Some(end) = memchr(b'\n', &bytes[at..]) {
            let line = &bytes[at..at + end];
            at += end + 1;
            if self.line(line, max, &mut each).is_break() {
                return at;
            }
        }
        let rest = &bytes[at..];
        if self.skipped > 0 || self.rest.len() + rest.len() > max + 1 {
            self.skipped += self.rest.len() + rest.len();
            self.rest = Vec::new();
        } else {
            self.rest.extend_from_slice(rest);
        }
        bytes.len()
    }

    fn line(
        &mut self,
        line: &[u8],
        max: usize,
        each: &mut impl FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        // `\r\n` ends a line too; its `\r` counts as little as the `\n`.
        let limit = max + usize::from(line.last() == Some(&b'\r'));
        // Given back after each line: an idle connection holds nothing.
        let mut rest = std::mem::take(&mut self.rest);
        let length = std::mem::take(&mut self.skipped) + rest.len() + line.len();
        if length > limit {
            each(Frame::TooLong(length))
        } else if rest.is_empty() {
            each(Frame::Line(line))
        } else {
            rest.extend_from_slice(line);
            each(Frame::Line(&rest))
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
            let mut at = 0;
            while at < bytes.len() {
                // Broken off after each line, as a control request does.
                at += framer.lines(&bytes[at..], max, |frame| {
                    found.push(match frame {
                        Frame::Line(line) => Ok(line.to_vec()),
                        Frame::TooLong(length) => Err(length),
                    });
                    ControlFlow::Break(())
                });
            }
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
