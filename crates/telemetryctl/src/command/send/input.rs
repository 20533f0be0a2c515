//! Lines from stdin, bounded: one that is too long is skipped to its newline without being held (I6).

use std::io::{BufRead, BufReader, Read};

use crate::failure::Failure;

/// The longest line that is read: as far as `limits.max_event_bytes` is ever set in earnest.
const LONGEST: usize = 1024 * 1024;

/// Numbered lines.
pub(super) struct Input<R: Read> {
    reader: BufReader<R>,
    number: u64,
}

/// A line's text, or why it is none.
pub(super) type Text = Result<String, String>;

impl<R: Read> Input<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::with_capacity(64 * 1024, reader),
            number: 0,
        }
    }

    /// The next line that is not empty, with its number from 1; `None` at the end.
    pub(super) fn next_line(&mut self) -> Result<Option<(u64, Text)>, Failure> {
        loop {
            self.number += 1;
            let Some(text) = self.read()? else {
                return Ok(None);
            };
            if text.as_ref().is_ok_and(|text| text.trim().is_empty()) {
                continue;
            }
            return Ok(Some((self.number, text)));
        }
    }

    /// Whether a whole line is here already.
    pub(super) fn has_more(&self) -> bool {
        self.reader.buffer().contains(&b'\n')
    }

    fn read(&mut self) -> Result<Option<Text>, Failure> {
        let mut line = Vec::new();
        let mut length = 0_usize;
        loop {
            let chunk = self
                .reader
                .fill_buf()
                .map_err(|error| Failure::failed("cannot read stdin").caused_by_io(&error))?;
            if chunk.is_empty() {
                if length == 0 {
                    return Ok(None);
                }
                break;
            }
            let newline = chunk.iter().position(|byte| *byte == b'\n');
            let part = chunk.get(..newline.unwrap_or(chunk.len())).unwrap_or_default();
            if length + part.len() <= LONGEST {
                line.extend_from_slice(part);
            }
            let used = newline.map_or(chunk.len(), |at| at + 1);
            length += used;
            self.reader.consume(used);
            if newline.is_some() {
                break;
            }
        }
        if length > LONGEST + 1 {
            return Ok(Some(Err(format!("the line is longer than {LONGEST} bytes"))));
        }
        Ok(Some(
            String::from_utf8(line).map_err(|_| "the line is not UTF-8".to_owned()),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<(u64, Text)> {
        let mut input = Input::new(bytes);
        std::iter::from_fn(|| input.next_line().unwrap()).collect()
    }

    #[test]
    fn empty_lines_are_passed_over_and_the_last_needs_no_newline() {
        let lines = all(b"a\n\n \r\nb");
        assert_eq!(lines, [(1, Ok("a".to_owned())), (4, Ok("b".to_owned()))]);
    }

    #[test]
    fn an_overlong_line_is_skipped_and_the_next_is_read() {
        let mut bytes = vec![b'x'; LONGEST + 10];
        bytes.extend_from_slice(b"\nnext\n");
        let lines = all(&bytes);
        assert!(matches!(&lines[0], (1, Err(why)) if why.contains("longer")));
        assert_eq!(lines[1], (2, Ok("next".to_owned())));
    }
}
