//! What only this process can know of where it runs: CI, containers, notebooks, agents, this library (TOOLS.md,
//! "Context"). A pure function of variables and of files that are there or not, by the tables in [`table`].

pub mod table;

use std::ffi::OsStr;
use std::path::Path;

use serde_json::{Map, Value};
use telemetry_policy::Variables;

use self::table::{Rule, Sign};

/// What is known, in words of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The CI system's name; `None`: it is none.
    pub ci: Option<&'static str>,
    /// Where the process runs: each word once, in the table's order.
    pub exec_info: Vec<&'static str>,
    /// In a virtual environment.
    pub venv: bool,
    /// In an environment of conda.
    pub conda: bool,
}

/// A name and a version, where it is known.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// E.g. `telemetryd-rust`.
    pub name: &'a str,
    /// E.g. `0.1.0`.
    pub version: Option<&'a str>,
}

/// This library, as `context.library` names it.
pub const LIBRARY: Named<'static> = Named {
    name: "telemetryd-rust",
    version: Some(env!("CARGO_PKG_VERSION")),
};

impl Context {
    /// As the environment and the files of this machine have it.
    #[must_use]
    pub fn of_this_process(variables: &Variables) -> Self {
        Self::see(variables, &|path| Path::new(path).exists())
    }

    /// As `variables` have it; `exists` is asked about the files of the table.
    #[must_use]
    pub fn see(variables: &Variables, exists: &dyn Fn(&str) -> bool) -> Self {
        let fits = |rule: &&Rule| holds(rule.sign, variables, exists);
        let ci = table::CI.iter().chain([&table::SOME_CI]).find(fits);
        let mut exec_info: Vec<&'static str> = Vec::new();
        for rule in table::EXECUTION.iter().filter(fits) {
            if !exec_info.contains(&rule.word) {
                exec_info.push(rule.word);
            }
        }
        Self {
            ci: ci.map(|rule| rule.word),
            exec_info,
            venv: any_set(variables, table::VENV),
            conda: any_set(variables, table::CONDA),
        }
    }

    /// The `context` of an event's line. `runtime` is left out where nobody says it.
    #[must_use]
    pub fn value(&self, library: Named<'_>, runtime: Option<Named<'_>>) -> Value {
        let mut out = Map::new();
        out.insert("ci".to_owned(), self.ci.is_some().into());
        if let Some(name) = self.ci {
            out.insert("ci_name".to_owned(), name.into());
        }
        if let Some(runtime) = runtime {
            out.insert("runtime".to_owned(), runtime.json());
        }
        out.insert("library".to_owned(), library.json());
        out.insert("exec_info".to_owned(), self.exec_info.as_slice().into());
        out.insert("venv".to_owned(), self.venv.into());
        out.insert("conda".to_owned(), self.conda.into());
        Value::Object(out)
    }
}

impl Named<'_> {
    fn json(self) -> Value {
        let mut out = Map::new();
        out.insert("name".to_owned(), self.name.into());
        if let Some(version) = self.version {
            out.insert("version".to_owned(), version.into());
        }
        Value::Object(out)
    }
}

fn holds(sign: Sign, variables: &Variables, exists: &dyn Fn(&str) -> bool) -> bool {
    let is = |name: &str, value: &str| {
        let found = variables.get(name).and_then(OsStr::to_str);
        found.is_some_and(|found| found.eq_ignore_ascii_case(value))
    };
    match sign {
        Sign::Set(names) => any_set(variables, names),
        Sign::Is(name, value) => is(name, value),
        Sign::SetAndIs(set, name, value) => any_set(variables, &[set]) && is(name, value),
        Sign::There(path) => exists(path),
    }
}

/// Whether one of them has a value that does not say no.
fn any_set(variables: &Variables, names: &[&str]) -> bool {
    let says_no = |value: &OsStr| {
        let text = value.to_str().map(str::trim);
        text.is_some_and(|text| table::NO.iter().any(|no| text.eq_ignore_ascii_case(no)))
    };
    names
        .iter()
        .any(|name| variables.get(name).is_some_and(|value| !says_no(value)))
}
