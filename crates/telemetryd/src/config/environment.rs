//! The environment: a snapshot that tests can make up, and the layer that `TELEMETRYD__SECTION__KEY` says.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::file::{File, lenient};
use super::origin::Origin;
use super::problem::{Problem, Problems};

/// What settings in the environment begin with.
const PREFIX: &str = "TELEMETRYD__";
/// Segments of a key; the longest there is has four (I6: what follows is recursive).
const MAX_SEGMENTS: usize = 16;

/// The variables of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// This process's variables, as they are now.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The value of `name`; a variable that is set to nothing counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<OsString> {
        self.0
            .get(OsStr::new(name))
            .filter(|value| !value.is_empty())
            .cloned()
    }

    /// The layer that the variables say; `TELEMETRYD__DESTINATIONS__DEFAULT__BATCH__MAX_EVENTS` is
    /// `destinations.default.batch.max_events`. A value is read as TOML if it is that, else as a string.
    pub(super) fn layer(&self, problems: &mut Problems) -> File {
        let mut layer = File::empty();
        for (name, value) in &self.0 {
            if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                continue;
            }
            let shown = name.to_string_lossy();
            let origin = Origin::Environment {
                variable: shown.as_ref().into(),
            };
            let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
                problems.add(Problem::new(&origin, "the variable is not UTF-8"));
                continue;
            };
            let path: Vec<String> = name[PREFIX.len()..]
                .split("__")
                .map(str::to_ascii_lowercase)
                .collect();
            if path.len() > MAX_SEGMENTS || path.iter().any(String::is_empty) {
                problems.add(Problem::new(&origin, "the variable names no key").hint(
                    "settings are written TELEMETRYD__SECTION__KEY, like TELEMETRYD__QUEUE__MAX_BYTES",
                ));
                continue;
            }
            layer.join(File::single(&path, lenient(value, &origin), &origin));
        }
        layer
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}
