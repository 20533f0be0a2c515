//! The tree as the inspection sees it: which files there are, and what of a Rust file is code.

use std::fs;
use std::path::{Path, PathBuf};

/// Hidden entries that belong to the project; others belong to somebody's editor or to git.
const HIDDEN: [&str; 4] = [".cargo", ".ci", ".config", ".gitignore"];

/// The top of the workspace.
pub(crate) fn root() -> PathBuf {
    // nextest and cargo set it while the test runs, so that a moved tree inspects itself and not its old place.
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent()
        .expect("tests/ is a directory of the workspace")
        .to_path_buf()
}

/// A text file of the project.
pub(crate) struct File {
    /// Its path from the top, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// Whether it is a test by its place: below a `tests/` directory, or a file of tests beside its module.
    pub(crate) fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| {
            matches!(part, "tests" | "benches" | "fuzz") || part == "tests.rs" || part.ends_with("_tests.rs")
        })
    }

    /// The numbered lines before the unit tests, without comments. A `//` inside a string cuts the line too, which
    /// costs these inspections nothing.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.before_tests()
            .map(|(number, line)| (number, line.split_once("//").map_or(line, |(code, _)| code)))
    }

    /// The numbered lines before the unit tests that are comments or end in one, from the `//` on.
    pub(crate) fn comments(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines()
            .filter_map(|(number, line)| line.find("//").map(|at| (number, &line[at..])))
    }

    /// All lines, numbered from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// The numbered lines before the unit tests that stand under the code.
    pub(crate) fn before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let all: Vec<&str> = self.text.lines().collect();
        let end = (0..all.len())
            .find(|&at| all[at].starts_with("#[cfg(test)]") && opens_a_block(&all[at + 1..]))
            .unwrap_or(all.len());
        all.into_iter()
            .take(end)
            .enumerate()
            .map(|(at, line)| (at + 1, line))
    }
}

/// Whether what follows a `#[cfg(test)]` is `mod tests {` and not a single item or a `mod tests;`.
fn opens_a_block(after: &[&str]) -> bool {
    after
        .iter()
        .take(4)
        .any(|line| line.starts_with("mod ") && line.ends_with('{'))
}

/// Every text file of the project, in the order of their paths.
pub(crate) fn all() -> Vec<File> {
    let mut found = Vec::new();
    walk(&root(), "", &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The Rust files of the crates, unit tests included.
pub(crate) fn sources() -> Vec<File> {
    all()
        .into_iter()
        .filter(|file| file.path.starts_with("crates/") && file.path.ends_with(".rs"))
        .collect()
}

/// All Rust files: crates, outer tests, xtask.
pub(crate) fn rust() -> Vec<File> {
    all()
        .into_iter()
        .filter(|file| file.path.ends_with(".rs"))
        .collect()
}

/// The pages: Markdown anywhere.
pub(crate) fn pages() -> Vec<File> {
    all()
        .into_iter()
        .filter(|file| file.path.ends_with(".md"))
        .collect()
}

/// One file by its path from the top.
#[track_caller]
pub(crate) fn read(path: &str) -> File {
    let text =
        fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    File {
        path: path.to_owned(),
        text,
    }
}

fn walk(directory: &Path, prefix: &str, found: &mut Vec<File>) {
    for entry in fs::read_dir(directory).expect("a directory of the project can be listed") {
        let entry = entry.expect("a directory of the project can be listed");
        let name = entry.file_name().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && !HIDDEN.contains(&name.as_str());
        // What .gitignore names: nothing built, nothing of an interpreter's cache, nothing of an editor.
        let built =
            (prefix.is_empty() && (name == "target" || name.starts_with("target-"))) || name == "__pycache__";
        if hidden || built || name.ends_with(".swp") {
            continue;
        }
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().expect("a file of the project has a type");
        if kind.is_dir() {
            walk(&entry.path(), &format!("{path}/"), found);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            found.push(File { path, text });
        }
    }
}

#[test]
fn unit_tests_and_comments_are_told_from_code() {
    let file = File {
        path: "crates/x/src/y.rs".into(),
        text: "//! I7\nfn a() {} // b\n#[cfg(test)]\nmod tests {\n    fn c() {}\n}\n".into(),
    };
    assert_eq!(
        file.code().map(|(_, line)| line.trim()).collect::<Vec<_>>(),
        ["", "fn a() {}"]
    );
    assert_eq!(file.comments().collect::<Vec<_>>(), [(1, "//! I7"), (2, "// b")]);
}
