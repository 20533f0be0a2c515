//! Where each effective setting came from, and the list that shows them (secrets masked).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

/// Stands where a secret would be shown.
pub const MASK: &str = "*****";

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A file.
    File {
        /// Its path.
        path: Arc<Path>,
        /// The line of the key, from 1; 0 where it is about the whole file.
        line: u32,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: Arc<str>,
    },
    /// A flag of the command line.
    Flag {
        /// As it is written, `--idle-exit`.
        flag: &'static str,
    },
}

impl Origin {
    /// The line, where there is one.
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::File { line, .. } if *line > 0 => Some(*line),
            _ => None,
        }
    }

    /// The file, where it is one.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        match self {
            Self::File { path, .. } => Some(path.to_path_buf()),
            _ => None,
        }
    }

    /// `default`, the file's path, the variable's name or the flag; without the line.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::File { path, .. } => path.display().to_string(),
            Self::Environment { variable } => variable.to_string(),
            Self::Flag { flag } => (*flag).to_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        match self.line() {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

/// Every effective setting with its origin, by the key's dotted path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origins {
    settings: BTreeMap<String, (toml::Value, Origin)>,
}

impl Origins {
    /// Notes a setting; `value` is masked already.
    pub(super) fn note(&mut self, key: String, value: toml::Value, origin: Origin) {
        self.settings.insert(key, (value, origin));
    }

    /// Where the setting `key` (`queue.max_bytes`) came from; `None` for keys that are not set and have no default.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Origin> {
        self.settings.get(key).map(|(_, origin)| origin)
    }

    /// All settings, sorted by key.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let shown = |(key, (value, origin)): (&String, &(toml::Value, Origin))| Shown {
            key: key.clone(),
            value: value.clone(),
            origin: origin.name(),
            line: origin.line(),
        };
        self.settings.iter().map(shown).collect()
    }
}

/// One line of `telemetryd --show-config`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// Its dotted path.
    pub key: String,
    /// Its effective value as it was written; secrets are `*****`.
    pub value: toml::Value,
    /// `default`, a file, an environment variable or a flag.
    pub origin: String,
    /// The line in the file.
    pub line: Option<u32>,
}

impl fmt::Display for Shown {
    /// `queue.max_bytes = "64MiB"  # default`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} = {}  # {}",
            self.key,
            super::units::literal(&self.value),
            self.origin
        )?;
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}
