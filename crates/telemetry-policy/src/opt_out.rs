//! The opt-outs that a manifest names: variables of the calling process, files of the project, files of the
//! user (CONSENT.md, layers 2 to 4). What a manifest cannot do is to exempt a value of `DO_NOT_TRACK`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use telemetry_protocol::consent::{Fact, Layer, Verdict};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::toml_lines::{Document, Mistake, kind};

/// The variable that denies every tool.
pub const DO_NOT_TRACK: &str = "DO_NOT_TRACK";
/// Names and files that one manifest may name of a kind (I6). Evidently, with the most, has three.
const MAX_NAMED: usize = 32;

/// The variables of a process, as they were when it asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    /// Those of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        std::env::vars_os().collect()
    }

    /// A variable's value, the empty one included.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// The fact that denies every tool, if the process is told not to track.
    #[must_use]
    pub fn denies_everything(&self) -> Option<Fact> {
        let detail = "is set: an environment variable denies by being present";
        self.get(DO_NOT_TRACK)
            .map(|_| fact(Layer::Environment, DO_NOT_TRACK, detail))
    }

    /// What the variables say about a tool: one fact at least.
    #[must_use]
    pub fn facts(&self, opt_outs: &OptOuts) -> Vec<Fact> {
        let mut facts: Vec<Fact> = self.denies_everything().into_iter().collect();
        for variable in &opt_outs.variables {
            let Some(value) = self.get(&variable.name) else {
                continue;
            };
            if let Some(detail) = variable.denies(value) {
                facts.push(fact(Layer::Environment, &variable.name, &detail));
            }
        }
        if facts.is_empty() {
            let mut names = vec![DO_NOT_TRACK];
            names.extend(opt_outs.variables.iter().map(|v| v.name.as_str()));
            names.dedup();
            let silent = |v: &&Variable| self.get(&v.name).is_some();
            let detail = match opt_outs.variables.iter().find(silent) {
                Some(set) => format!(
                    "DO_NOT_TRACK is not set, and {} has a value that the manifest exempts",
                    set.name
                ),
                None => match names.as_slice() {
                    [one] => format!("{one} is not set"),
                    [rest @ .., last] => format!("{} and {last} are not set", rest.join(", ")),
                    [] => String::new(),
                },
            };
            facts.push(Fact {
                layer: Layer::Environment,
                verdict: None,
                source: "-".to_owned(),
                line: None,
                detail,
            });
        }
        facts
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let owned = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        Self(owned.collect())
    }
}

fn fact(layer: Layer, source: &str, detail: &str) -> Fact {
    Fact {
        layer,
        verdict: Some(Verdict::Deny),
        source: source.to_owned(),
        line: None,
        detail: detail.to_owned(),
    }
}

/// When a variable denies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// By being present, whatever its value.
    Present,
    /// By being present with any value but these.
    Unless(Vec<String>),
    /// By having this value.
    Equals(String),
}

/// A variable that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// When it denies.
    pub when: When,
}

impl Variable {
    /// Why this value denies, if it does. The value itself is never said.
    fn denies(&self, value: &OsStr) -> Option<String> {
        match &self.when {
            When::Present => Some("is set: an environment variable denies by being present".to_owned()),
            When::Unless(exempt) => {
                let exempted = exempt.iter().any(|word| value == OsStr::new(word));
                (!exempted).then(|| format!("is set to something other than {}", exempt.join(" or ")))
            }
            When::Equals(word) => (value == OsStr::new(word)).then(|| format!("is {word}")),
        }
    }
}

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A mapping of plain scalars.
    Yaml,
    /// TOML.
    Toml,
}

/// A file of the tool's own in which somebody may have answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolFile {
    /// Below the project's directory, or for a user-wide one `~/…` or `/var/…`.
    pub path: String,
    /// How it is read.
    pub format: Format,
    /// The way to the key; of YAML one word.
    pub key: Vec<String>,
}

/// All of a manifest's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptOuts {
    /// `opt_out_env`.
    pub variables: Vec<Variable>,
    /// `project_files`.
    pub project_files: Vec<ToolFile>,
    /// `user_files`.
    pub user_files: Vec<ToolFile>,
}

/// Reads one of the three keys.
pub(crate) fn parse(
    document: &Document<'_>,
    key: &str,
    line: u32,
    found: &DeValue<'_>,
    into: &mut OptOuts,
    mistakes: &mut Vec<Mistake>,
) {
    let mut wrong = |line: u32, message: String| {
        mistakes.push(Mistake {
            line,
            message: format!("{key}: {message}"),
        });
    };
    let DeValue::Array(items) = found else {
        return wrong(line, format!("expected a list, found {}", kind(found)));
    };
    if items.len() > MAX_NAMED {
        return wrong(
            line,
            format!("found {} entries, allowed are {MAX_NAMED}", items.len()),
        );
    }
    for item in items {
        let item: &Spanned<DeValue<'_>> = item;
        let line = document.line(item);
        let parsed = match (key, item.get_ref()) {
            ("opt_out_env", DeValue::String(name)) => {
                variable(name, When::Present).map(|v| into.variables.push(v))
            }
            ("opt_out_env", DeValue::Table(table)) => conditional(table).map(|v| into.variables.push(v)),
            ("opt_out_env", other) => Err(format!("expected a name or a table, found {}", kind(other))),
            ("project_files", DeValue::Table(table)) => {
                file(table, Place::Project).map(|f| into.project_files.push(f))
            }
            (_, DeValue::Table(table)) => file(table, Place::User).map(|f| into.user_files.push(f)),
            (_, other) => Err(format!("expected a table, found {}", kind(other))),
        };
        if let Err(message) = parsed {
            wrong(line, message);
        }
    }
}

fn variable(name: &str, when: When) -> Result<Variable, String> {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(letters) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("expected the name of a variable like KEDRO_DISABLE_TELEMETRY".to_owned());
    }
    if name == DO_NOT_TRACK && when != When::Present {
        return Err("DO_NOT_TRACK denies by being present; no value of it can be exempted".to_owned());
    }
    Ok(Variable {
        name: name.to_owned(),
        when,
    })
}

fn conditional(table: &DeTable<'_>) -> Result<Variable, String> {
    let (mut name, mut unless, mut equals) = (None, None, None);
    for (key, value) in table {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("name", DeValue::String(text)) => name = Some(text.to_string()),
            ("equals", DeValue::String(text)) => equals = Some(text.to_string()),
            ("unless", DeValue::Array(items)) => {
                let words = items
                    .iter()
                    .map(|item| item.get_ref().as_str().map(str::to_owned));
                unless = Some(
                    words
                        .collect::<Option<Vec<_>>>()
                        .ok_or("unless: expected a list of strings")?,
                );
            }
            (known @ ("name" | "equals"), other) => {
                return Err(format!("{known}: expected a string, found {}", kind(other)));
            }
            ("unless", other) => {
                return Err(format!(
                    "unless: expected a list of strings, found {}",
                    kind(other)
                ));
            }
            (unknown, _) => {
                return Err(format!(
                    "{unknown}: unknown key; known are name, unless and equals"
                ));
            }
        }
    }
    let name = name.ok_or("name: missing")?;
    match (unless, equals) {
        (Some(_), Some(_)) => Err("either unless or equals, not both".to_owned()),
        (Some(words), None) => variable(&name, When::Unless(words)),
        (None, Some(word)) => variable(&name, When::Equals(word)),
        (None, None) => variable(&name, When::Present),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Project,
    User,
}

fn file(table: &DeTable<'_>, place: Place) -> Result<ToolFile, String> {
    let (mut path, mut format, mut dotted) = (None, None, None);
    for (key, value) in table {
        match (key.get_ref().as_ref(), value.get_ref().as_str()) {
            ("path", Some(text)) => path = Some(text.to_owned()),
            ("key", Some(text)) => dotted = Some(text.to_owned()),
            ("format", Some("yaml")) => format = Some(Format::Yaml),
            ("format", Some("toml")) => format = Some(Format::Toml),
            ("format", _) => return Err("format: expected \"yaml\" or \"toml\"".to_owned()),
            (known @ ("path" | "key"), None) => {
                return Err(format!(
                    "{known}: expected a string, found {}",
                    kind(value.get_ref())
                ));
            }
            (unknown, _) => return Err(format!("{unknown}: unknown key; known are path, format and key")),
        }
    }
    let path = path.ok_or("path: missing")?;
    let below = match place {
        Place::Project => Some(path.as_str()),
        // Tools run by root keep what is a user's elsewhere in the machine's own state: dlt in /var/dlt.
        Place::User => path.strip_prefix("~/").or_else(|| path.strip_prefix("/var/")),
    };
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if !below.is_some_and(|below| !below.starts_with('~') && below.split('/').all(plain)) {
        return Err(match place {
            Place::Project => "path: expected one below the project's directory, like .telemetry".to_owned(),
            Place::User => {
                "path: expected one below the user's home, like ~/.tool/config.toml, or below /var".to_owned()
            }
        });
    }
    let format = format.ok_or("format: missing; \"yaml\" or \"toml\"")?;
    let dotted = dotted.ok_or("key: missing")?;
    let key: Vec<String> = dotted.split('.').map(str::to_owned).collect();
    if key.iter().any(String::is_empty) || (format == Format::Yaml && key.len() > 1) {
        return Err("key: expected a dotted way to the key, of YAML one word".to_owned());
    }
    Ok(ToolFile { path, format, key })
}
