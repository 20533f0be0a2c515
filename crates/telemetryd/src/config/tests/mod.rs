//! The whole way from files, environment and flags to what the program uses, in directories of the test's own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;

mod destinations;
mod encodings;
mod gateway;
mod layers;
mod problems;
mod reference;
mod sample;
mod secrets;
mod values;

/// A machine's and a user's config directory.
struct House {
    root: tempfile::TempDir,
    places: Places,
    flags: Flags,
    environment: Vec<(String, String)>,
}

impl House {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let places = Places {
            mode: Mode::User,
            config: vec![at("machine"), at("user")],
            consent: at("user"),
            state: at("state"),
            manifests: vec![],
            machine: vec![],
            socket: at("socket"),
        };
        Self {
            root,
            places,
            flags: Flags::default(),
            environment: Vec::new(),
        }
    }

    /// One whose user's config.toml says this.
    fn with(text: &str) -> Self {
        let house = Self::new();
        house.write("user/config.toml", text);
        house
    }

    fn system(mut self) -> Self {
        self.places.mode = Mode::System;
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    fn load(&self) -> Result<Loaded, Problems> {
        let environment: Environment = self
            .environment
            .iter()
            .map(|(name, value)| (name, value))
            .collect();
        load(&self.places, &self.flags, &environment)
    }

    fn checked(&self) -> Checked {
        self.loaded().checked
    }

    #[track_caller]
    fn loaded(&self) -> Loaded {
        match self.load() {
            Ok(loaded) => loaded,
            Err(problems) => panic!("{problems}"),
        }
    }

    /// The problems as they are printed, with the directory's own name taken out.
    #[track_caller]
    fn problems(&self) -> String {
        let printed = self.load().unwrap_err().to_string();
        printed.replace(&format!("{}/", self.root.path().display()), "")
    }

    /// What `--show-config` says of a key: value, origin and line.
    fn shown(&self, key: &str) -> Option<(String, String, Option<u32>)> {
        let shown = show(&self.loaded()).into_iter().find(|shown| shown.key == key)?;
        let origin = shown
            .origin
            .replace(&format!("{}/", self.root.path().display()), "");
        Some((units::literal(&shown.value), origin, shown.line))
    }
}

/// A config with one destination that has this too.
fn destination(rest: &str) -> String {
    format!("[destinations.default]\nurl = \"https://example.org/v1\"\n{rest}\n")
}

/// The problems of one user's config.
#[track_caller]
fn problems_of(text: &str) -> String {
    House::with(text).problems()
}
