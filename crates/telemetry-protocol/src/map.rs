//! `[map]` of a manifest: how a vendor's dashboards know what leaves (TOOLS.md).
//!
//! A mapping names, for each field that it builds, the dotted path of the target and where its value comes from. It
//! is checked here, once; what it does to an event is the delivery room's.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Fields that one mapping may build (I6). The largest form among the seed tools has 24.
pub const MAX_FIELDS: usize = 256;
/// Bytes of a target's or a source's path.
pub const MAX_PATH: usize = 256;
/// Names in a target's path: objects in objects.
pub const MAX_TARGET_DEPTH: usize = 8;
/// Bytes of all constants of a mapping, as JSON: they go with each event.
pub const MAX_CONSTANTS: usize = 4096;

/// Where a field's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `properties.NAME`: this property (a name may hold dots), or what is found below it by dots. `None`:
    /// `properties`, all of them as an object.
    Properties(Option<Box<str>>),
    /// `context.NAME`, in the same way.
    Context(Option<Box<str>>),
    /// The pseudonym of the user.
    AnonymousId,
    /// The pseudonym of the project.
    ProjectId,
    /// The tool's version.
    ToolVersion,
    /// The event's name.
    Event,
    /// When it happened.
    Time,
    /// `{ value = … }`
    Constant(Value),
}

/// A source as a manifest writes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Written<'a> {
    /// A string: `"context.ci"`.
    Path(&'a str),
    /// What stands in `{ value = … }`.
    Constant(Value),
}

/// One field that is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    target: Box<str>,
    source: Source,
}

impl Field {
    /// The target's path, dots between its names.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The names of the target's path, at least one, at most [`MAX_TARGET_DEPTH`].
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.target.split('.')
    }

    /// Where its value comes from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }
}

/// What is wrong with a line of `[map]`, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("map.{}: {message}", Quoted(target))]
pub struct MapError {
    /// The target as it was written.
    pub target: String,
    /// What is wrong with it, and what may stand there.
    pub message: String,
}

/// A target as TOML has it: in quotes where it holds a dot or anything else that a bare key may not.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if !self.0.is_empty() && self.0.bytes().all(bare) {
            f.write_str(self.0)
        } else {
            write!(f, "{:?}", self.0)
        }
    }
}

/// A checked mapping: targets are well formed, none is written twice, none is inside of another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mapping {
    fields: Vec<Field>,
}

impl Mapping {
    /// Checks pairs of target and source; the fields keep their order.
    ///
    /// # Errors
    /// Every pair that is wrong, and why.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, Written<'a>)>) -> Result<Self, Vec<MapError>> {
        let mut fields: Vec<Field> = Vec::new();
        let mut wrong = Vec::new();
        let mut constants = 0;
        for (target, written) in pairs {
            let mut fail = |message: String| {
                wrong.push(MapError {
                    target: target.to_owned(),
                    message,
                });
            };
            if fields.len() == MAX_FIELDS {
                fail(format!("at most {MAX_FIELDS} fields can be built"));
                break;
            }
            if let Err(message) = check_target(target) {
                fail(message);
                continue;
            }
            if let Some(other) = fields.iter().find(|field| overlap(&field.target, target)) {
                fail(match &*other.target == target {
                    true => "written twice".to_owned(),
                    false => format!(
                        "it and {:?} cannot both be built: one is inside of the other",
                        other.target
                    ),
                });
                continue;
            }
            match written.check() {
                Ok(source) => {
                    if let Source::Constant(value) = &source {
                        constants += value.to_string().len();
                        if constants > MAX_CONSTANTS {
                            fail(format!(
                                "the constants have more than {MAX_CONSTANTS} bytes together"
                            ));
                            continue;
                        }
                    }
                    fields.push(Field {
                        target: target.into(),
                        source,
                    });
                }
                Err(message) => fail(message),
            }
        }
        if wrong.is_empty() {
            Ok(Self { fields })
        } else {
            Err(wrong)
        }
    }

    /// The fields in the manifest's order.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether it builds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// What may stand at the right of a target.
const SOURCES: &str = "\"properties.NAME\", \"context.NAME\", \"anonymous_id\", \"project_id\", \"tool_version\", \
                       \"event\", \"time\" or { value = … }";

impl Written<'_> {
    fn check(self) -> Result<Source, String> {
        let path = match self {
            Self::Constant(value) => return Ok(Source::Constant(value)),
            Self::Path(path) => path,
        };
        if path.len() > MAX_PATH {
            return Err(format!("the source has more than {MAX_PATH} bytes"));
        }
        let below = |name: &str| match path.strip_prefix(name)?.strip_prefix('.') {
            Some(rest) if !rest.is_empty() => Some(Some(rest.into())),
            Some(_) => None,
            None => (path == name).then_some(None),
        };
        Ok(match path {
            "anonymous_id" => Source::AnonymousId,
            "project_id" => Source::ProjectId,
            "tool_version" => Source::ToolVersion,
            "event" => Source::Event,
            "time" => Source::Time,
            _ => {
                if let Some(name) = below("properties") {
                    Source::Properties(name)
                } else if let Some(name) = below("context") {
                    Source::Context(name)
                } else {
                    return Err(format!("expected {SOURCES}, found {path:?}"));
                }
            }
        })
    }
}

fn check_target(target: &str) -> Result<(), String> {
    if target.is_empty() || target.len() > MAX_PATH {
        return Err(format!("a target has 1 to {MAX_PATH} bytes"));
    }
    if target.split('.').any(str::is_empty) {
        return Err("a target is names with dots between them, like \"properties.is_ci_env\"".to_owned());
    }
    if target.split('.').count() > MAX_TARGET_DEPTH {
        return Err(format!("a target has at most {MAX_TARGET_DEPTH} names"));
    }
    if target.chars().any(char::is_control) {
        return Err("a target holds no control characters".to_owned());
    }
    Ok(())
}

/// Whether one is the other, or inside of it.
fn overlap(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() {
        (one, other)
    } else {
        (other, one)
    };
    long.strip_prefix(short)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(target: &str, source: &str) -> Result<Source, String> {
        Mapping::new([(target, Written::Path(source))])
            .map(|mapping| mapping.fields()[0].source().clone())
            .map_err(|wrong| wrong[0].to_string())
    }

    #[test]
    fn each_source_of_the_contract_is_known() {
        for (written, source) in [
            ("anonymous_id", Source::AnonymousId),
            ("project_id", Source::ProjectId),
            ("tool_version", Source::ToolVersion),
            ("event", Source::Event),
            ("time", Source::Time),
            ("properties", Source::Properties(None)),
            ("properties.a.b c", Source::Properties(Some("a.b c".into()))),
            ("context.os.name", Source::Context(Some("os.name".into()))),
        ] {
            assert_eq!(one("x", written), Ok(source), "{written}");
        }
        let constant = Mapping::new([("x", Written::Constant(Value::from(7)))]).unwrap();
        assert_eq!(constant.fields()[0].source(), &Source::Constant(Value::from(7)));
    }

    #[test]
    fn what_is_no_source_is_refused_with_what_may_stand_there() {
        for written in [
            "",
            "user",
            "properties.",
            "contexts.os",
            "property.x",
            "Event",
            "properties_x",
        ] {
            let message = one("properties.x", written).unwrap_err();
            assert!(
                message.starts_with("map.\"properties.x\": expected \"properties.NAME\""),
                "{message}"
            );
        }
    }

    #[test]
    fn a_target_is_names_with_dots_and_none_stands_inside_of_another() {
        for bad in ["", ".", "a.", ".a", "a..b", "a\u{7}", "1.2.3.4.5.6.7.8.9"] {
            assert!(one(bad, "event").is_err(), "{bad:?}");
        }
        let pairs = |names: &[&'static str]| {
            Mapping::new(names.iter().map(|name| (*name, Written::Path("event"))))
                .map_err(|wrong| wrong.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(pairs(&["a", "a"]), Err(vec!["map.a: written twice".to_owned()]));
        assert!(pairs(&["a.b", "a"]).unwrap_err()[0].contains("inside of the other"));
        assert!(pairs(&["a", "a.b.c"]).is_err());
        assert_eq!(pairs(&["a.b", "ab", "a.c"]).unwrap().fields().len(), 3);
    }

    #[test]
    fn a_mapping_is_bounded() {
        let names: Vec<String> = (0..=MAX_FIELDS).map(|n| format!("f{n}")).collect();
        let pairs = names.iter().map(|name| (name.as_str(), Written::Path("event")));
        assert_eq!(Mapping::new(pairs).unwrap_err().len(), 1);
        let long = Value::from("x".repeat(MAX_CONSTANTS));
        assert!(Mapping::new([("x", Written::Constant(long))]).is_err());
        assert!(one("x", &format!("context.{}", "x".repeat(MAX_PATH))).is_err());
    }
}
