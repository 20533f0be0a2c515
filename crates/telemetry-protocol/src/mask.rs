//! A command line without what its user wrote in it: a pure function of words and the tool's own command tree.
//!
//! Clients mask, since they have the vocabulary; the daemon masks again what a manifest marks `mask = "command"`,
//! before it is stored (I4). What comes out of [`mask_command`] is borrowed from the vocabulary or is the mask, so
//! that no byte of the user's can pass, whatever the input. Vectors: `tests/vectors/masking/`.

mod vocabulary;

use std::borrow::Cow;

pub use self::vocabulary::{Takes, Vocabulary};

/// What stands for a word that is not public.
pub const MASK: &str = "*****";

/// The words of a command line (without the program's name) as they may leave.
///
/// Walks down while words are commands of the current level. From there a known option keeps its name, a public value
/// of an option is kept, everything else becomes [`MASK`]. `--x=v` becomes two words, if `--x` is known. An option's
/// value is masked even where it looks like an option or a command; after `--` everything is masked.
///
/// ```
/// use telemetry_protocol::mask::{Vocabulary, mask_command};
///
/// let kedro: Vocabulary = serde_json::from_str(r#"{"run": {"--pipeline": 1, "--env": 1}}"#).unwrap();
/// let masked = mask_command(["run", "--pipeline=ds", "--env=test"], &kedro);
/// assert_eq!(masked, ["run", "--pipeline", "*****", "--env", "*****"]);
/// ```
pub fn mask_command<'v, W: AsRef<str>>(
    argv: impl IntoIterator<Item = W>,
    vocabulary: &'v Vocabulary,
) -> Vec<&'v str> {
    let mut out = Vec::new();
    let mut level = vocabulary;
    let mut walking = true;
    let mut closed = false;
    // Values that the last option still takes, and which of them are public.
    let mut owed: Option<(u8, &'v Takes)> = None;
    for word in argv {
        let word = word.as_ref();
        if let Some((left, takes)) = owed.take() {
            out.push(takes.public(word).unwrap_or(MASK));
            owed = (left > 1).then(|| (left - 1, takes));
            continue;
        }
        if closed {
            out.push(MASK);
            continue;
        }
        if walking && let Some((name, below)) = level.command(word) {
            out.push(name);
            level = below;
            continue;
        }
        walking = false;
        if word == "--" {
            closed = true;
            out.push(MASK);
        } else if let Some((name, takes)) = level.option(word) {
            out.push(name);
            owed = (takes.count() > 0).then(|| (takes.count(), takes));
        } else if let Some((option, value)) = word.split_once('=')
            && let Some((name, takes)) = level.option(option)
        {
            out.push(name);
            out.push(takes.public(value).unwrap_or(MASK));
        } else {
            out.push(MASK);
        }
    }
    out
}

/// A command line that a client wrote as one text (words between blanks), masked again.
///
/// With a vocabulary by [`mask_command`], after `program` where the text begins with it. Without one, every word that
/// is not [`MASK`] or a bare word of ASCII letters, digits, `-` and `_` becomes the mask. A text that was masked before
/// comes out as it went in.
#[must_use]
pub fn mask_again<'a>(text: &'a str, program: &str, vocabulary: Option<&Vocabulary>) -> Cow<'a, str> {
    // As a client that masks sends it: nothing is built anew.
    if vocabulary.is_none() && text.split(' ').all(|word| !word.is_empty() && bare(word)) {
        return Cow::Borrowed(text);
    }
    let mut words = text.split_ascii_whitespace().peekable();
    let masked = match vocabulary {
        Some(vocabulary) => {
            let named = words.next_if(|word| *word == program);
            let rest = mask_command(words, vocabulary);
            named.into_iter().chain(rest).collect::<Vec<_>>().join(" ")
        }
        None => words
            .map(|word| if bare(word) { word } else { MASK })
            .collect::<Vec<_>>()
            .join(" "),
    };
    if masked == text {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(masked)
    }
}

/// Whether a word may pass where no vocabulary says which words are public.
fn bare(word: &str) -> bool {
    word == MASK
        || word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests;
