//! A manifest: the contract that a user can read and the daemon enforces (TOOLS.md).
//!
//! This version knows whole events (`events = "any"`); listed events and properties come with the room
//! that enforces them, and until then a manifest that lists some is refused rather than half obeyed.

use telemetry_protocol::consent::ToolDefault;
use telemetry_protocol::limits::is_tool_name;
use telemetry_protocol::reason::ErrorCode;
use toml::de::DeValue;

use crate::nearest::nearest;
use crate::opt_out::{self, OptOuts};
pub use crate::toml_lines::Mistake;
use crate::toml_lines::{Document, kind};

/// Where a manifest came from; the first place that has one wins, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// `/etc/telemetryd/tools.d`.
    Admin,
    /// `/usr/share/telemetryd/tools.d`.
    Package,
    /// The user's `tools.d`.
    User,
    /// Brought by the tool itself.
    Registered,
}

impl Origin {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Package => "package",
            Self::User => "user",
            Self::Registered => "registered",
        }
    }
}

/// Whether something must be shown to the user before anything is collected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notice {
    /// Nothing needs to be shown.
    #[default]
    None,
    /// Declined until the client says that it was shown.
    Required,
    /// The tool shows its own.
    ByTool,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The tool.
    pub name: String,
    /// One line about what is collected.
    pub about: Option<String>,
    /// Where to read more.
    pub homepage: Option<String>,
    /// On unless denied, or off until allowed (the default).
    pub consent: ToolDefault,
    /// The name of a destination in the config; `None`: `defaults.destination`.
    pub destination: Option<String>,
    /// Whether something must be shown first.
    pub notice: Notice,
    /// What is shown.
    pub notice_text: Option<String>,
    /// Variables and files of the tool's own that count as an answer.
    pub opt_outs: OptOuts,
    /// As it was written: what a person agreed to is kept as this text (see [`widens`](crate::widens)).
    pub text: String,
}

/// Keys that this version reads.
const KEYS: &[&str] = &[
    "name",
    "about",
    "homepage",
    "consent",
    "destination",
    "events",
    "notice",
    "notice_required",
    "opt_out_env",
    "project_files",
    "user_files",
];
/// Keys of TOOLS.md whose rooms are not built yet: refused, so that nothing is promised that is not kept.
const LATER: &[&str] = &[
    "identity",
    "context",
    "ci",
    "sample",
    "max_per_day",
    "privacy",
    "map",
    "vocabulary",
];

impl Manifest {
    /// Reads a manifest's text.
    ///
    /// # Errors
    /// Every mistake with its line: unknown keys (with a suggestion), wrong types, missing names.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let document = Document::parse(text).map_err(|mistake| vec![mistake])?;
        let mut mistakes = Vec::new();
        let mut manifest = Self {
            name: String::new(),
            about: None,
            homepage: None,
            consent: ToolDefault::OptIn,
            destination: None,
            notice: Notice::None,
            notice_text: None,
            opt_outs: OptOuts::default(),
            text: text.to_owned(),
        };
        let mut events_any = false;
        for (key, value) in document.table.get_ref() {
            let line = document.line(key);
            let found = value.get_ref();
            let word = found.as_str();
            if let name @ ("opt_out_env" | "project_files" | "user_files") = key.get_ref().as_ref() {
                opt_out::parse(
                    &document,
                    name,
                    line,
                    found,
                    &mut manifest.opt_outs,
                    &mut mistakes,
                );
                continue;
            }
            let mut wrong = |expected: &str| {
                mistakes.push(Mistake {
                    line,
                    message: format!("{}: expected {expected}, found {}", key.get_ref(), kind(found)),
                });
            };
            match (key.get_ref().as_ref(), word) {
                ("name", Some(name)) if is_tool_name(name) => manifest.name = name.to_owned(),
                ("name", _) => wrong("a string like [a-z0-9][a-z0-9._-]{0,63}"),
                ("about", Some(text)) => manifest.about = Some(text.to_owned()),
                ("homepage", Some(text)) => manifest.homepage = Some(text.to_owned()),
                ("about" | "homepage", None) => wrong("a string"),
                ("consent", Some("opt-out")) => manifest.consent = ToolDefault::OptOut,
                ("consent", Some("opt-in")) => manifest.consent = ToolDefault::OptIn,
                ("consent", _) => wrong("\"opt-in\" or \"opt-out\""),
                ("destination", Some(name)) if !name.is_empty() => {
                    manifest.destination = Some(name.to_owned())
                }
                ("destination", _) => {
                    wrong("the name of a destination in the config (this version takes no other)")
                }
                ("events", Some("any")) => events_any = true,
                ("events", _) => wrong("\"any\" (this version cannot enforce listed events yet)"),
                ("notice" | "notice_required", Some("tool")) => manifest.notice = Notice::ByTool,
                ("notice", Some(text)) => manifest.notice_text = Some(text.to_owned()),
                ("notice", None) => wrong("a string"),
                ("notice_required", _) => match found {
                    DeValue::Boolean(true) => manifest.notice = Notice::Required,
                    DeValue::Boolean(false) => {}
                    _ => wrong("true, false or \"tool\""),
                },
                (later, _) if LATER.contains(&later) => mistakes.push(Mistake {
                    line,
                    message: format!("{later}: this version does not know this key yet"),
                }),
                (unknown, _) => {
                    let hint =
                        nearest(unknown, KEYS).map_or_else(String::new, |n| format!("; did you mean {n}?"));
                    mistakes.push(Mistake {
                        line,
                        message: format!("{unknown}: unknown key{hint}"),
                    });
                }
            }
        }
        for (missing, key) in [(manifest.name.is_empty(), "name"), (!events_any, "events")] {
            if missing && document.table.get_ref().get(key).is_none() {
                let what = if key == "events" {
                    "events: missing; expected \"any\""
                } else {
                    "name: missing"
                };
                mistakes.push(Mistake {
                    line: 1,
                    message: what.to_owned(),
                });
            }
        }
        if mistakes.is_empty() {
            Ok(manifest)
        } else {
            Err(mistakes)
        }
    }

    /// What a tool may bring by itself: it may not be on by default without telling its user.
    ///
    /// # Errors
    /// A sentence that says what it lacks.
    pub fn may_register(&self) -> Result<(), (ErrorCode, String)> {
        if self.consent == ToolDefault::OptOut && self.notice == Notice::None {
            return Err((
                ErrorCode::NotAllowed,
                "consent: a manifest that a tool brings itself is opt-in, or has notice_required = true or \"tool\""
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_manifest_is_opt_in() {
        let manifest = Manifest::parse("name = \"kedro\"\nevents = \"any\"\n").unwrap();
        assert_eq!(
            (manifest.name.as_str(), manifest.consent),
            ("kedro", ToolDefault::OptIn)
        );
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_line() {
        let text = "name = \"Kedro\"\ndestinaton = \"x\"\nconsent = true\nsample = 0.5\n[events.run]\nabout = \"x\"\n";
        let mistakes: Vec<String> = Manifest::parse(text)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        for expected in [
            "line 1: name: expected a string like",
            "line 2: destinaton: unknown key; did you mean destination?",
            "line 3: consent: expected \"opt-in\" or \"opt-out\", found a boolean",
            "line 4: sample: this version does not know this key yet",
            "line 5: events: expected \"any\"",
        ] {
            assert!(
                mistakes.iter().any(|m| m.starts_with(expected)),
                "{expected} in {mistakes:#?}"
            );
        }
    }

    #[test]
    fn the_opt_outs_of_a_tool_are_read_and_their_mistakes_told() {
        let text = |more: &str| format!("name = \"t\"\nevents = \"any\"\n{more}\n");
        let good = "opt_out_env = [\"A_B\", { name = \"C\", unless = [\"1\"] }, { name = \"D\", equals = \"x\" }]\n\
            project_files = [{ path = \".telemetry\", format = \"yaml\", key = \"consent\" }]\n\
            user_files = [{ path = \"~/.dlt/config.toml\", format = \"toml\", key = \"runtime.dlthub_telemetry\" }]";
        let opt_outs = Manifest::parse(&text(good)).unwrap().opt_outs;
        assert_eq!((opt_outs.variables.len(), opt_outs.project_files.len()), (3, 1));
        assert_eq!(opt_outs.user_files[0].key, ["runtime", "dlthub_telemetry"]);
        for bad in [
            "opt_out_env = \"A\"",
            "opt_out_env = [3]",
            "opt_out_env = [\"not a name\"]",
            "opt_out_env = [{ name = \"DO_NOT_TRACK\", unless = [\"0\"] }]",
            "opt_out_env = [{ name = \"DO_NOT_TRACK\", equals = \"1\" }]",
            "opt_out_env = [{ name = \"A\", unless = [\"1\"], equals = \"1\" }]",
            "opt_out_env = [{ name = \"A\", except = [\"1\"] }]",
            "project_files = [{ path = \"/etc/x\", format = \"yaml\", key = \"k\" }]",
            "project_files = [{ path = \"../x\", format = \"yaml\", key = \"k\" }]",
            "project_files = [{ path = \"~/x\", format = \"yaml\", key = \"k\" }]",
            "project_files = [{ path = \"x\", format = \"yaml\", key = \"a.b\" }]",
            "project_files = [{ path = \"x\", format = \"json\", key = \"k\" }]",
            "project_files = [{ path = \"x\", key = \"k\" }]",
            "user_files = [{ path = \"/etc/x\", format = \"toml\", key = \"k\" }]",
            "user_files = [{ path = \"~/../x\", format = \"toml\", key = \"k\" }]",
            "user_files = [\"x\"]",
        ] {
            let mistakes = Manifest::parse(&text(bad)).unwrap_err();
            assert_eq!((mistakes.len(), mistakes[0].line), (1, 3), "{bad}: {mistakes:?}");
        }
    }

    #[test]
    fn a_text_that_is_not_toml_says_where() {
        let mistakes = Manifest::parse("name = \"x\"\nevents = \n").unwrap_err();
        assert_eq!(mistakes[0].line, 2, "{mistakes:?}");
    }

    #[test]
    fn a_tool_cannot_switch_itself_on_silently() {
        let on = |more: &str| {
            Manifest::parse(&format!(
                "name = \"t\"\nevents = \"any\"\nconsent = \"opt-out\"\n{more}"
            ))
            .unwrap()
        };
        assert!(on("").may_register().is_err());
        assert!(on("notice_required = \"tool\"").may_register().is_ok());
        assert!(
            on("notice_required = true\nnotice = \"we count\"")
                .may_register()
                .is_ok()
        );
    }
}
