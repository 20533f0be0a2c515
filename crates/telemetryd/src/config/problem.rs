//! What is wrong with a configuration: all of it at once, each with place, key, value and what is allowed.
//!
//! No problem ever holds a secret: whoever makes one masks the value first.

use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::origin::Origin;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: a file and line, a variable or a flag.
    pub place: Origin,
    /// The key's dotted path, where it is about one.
    pub key: Option<String>,
    /// What is wrong, in one lowercase line that names the value found and what is allowed.
    pub message: String,
    /// The value found, as TOML would write it, cut and masked.
    pub found: Option<String>,
    /// What is allowed.
    pub allowed: Option<String>,
    /// The cause below it (an I/O error).
    pub cause: Option<String>,
    /// What a person can do.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem with this place and message alone.
    pub(super) fn new(place: &Origin, message: impl Into<String>) -> Self {
        Self {
            place: place.clone(),
            key: None,
            message: message.into(),
            found: None,
            allowed: None,
            cause: None,
            hint: None,
        }
    }

    pub(super) fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub(super) fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.place)?;
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(cause) = &self.cause {
            write!(f, "\n  caused by: {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Problem", 9)?;
        object.serialize_field("origin", &self.place.name())?;
        object.serialize_field("file", &self.place.file().map(|path| path.display().to_string()))?;
        object.serialize_field("line", &self.place.line())?;
        object.serialize_field("key", &self.key)?;
        object.serialize_field("message", &self.message)?;
        object.serialize_field("found", &self.found)?;
        object.serialize_field("allowed", &self.allowed)?;
        object.serialize_field("cause", &self.cause)?;
        object.serialize_field("hint", &self.hint)?;
        object.end()
    }
}

/// Everything that is wrong: at least one thing, in the order in which the places are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Sorts by place: files in the order in which they first occur in `files`, then variables, then flags.
    pub(super) fn sort(&mut self, files: &[std::path::PathBuf]) {
        self.0.sort_by_key(|problem| match &problem.place {
            Origin::File { path, line } => {
                let index = files.iter().position(|file| file.as_path() == path.as_ref());
                (0, index.unwrap_or(files.len()), *line)
            }
            Origin::Environment { .. } => (1, 0, 0),
            Origin::Flag { .. } => (2, 0, 0),
            Origin::Default => (3, 0, 0),
        });
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
