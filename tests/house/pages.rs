//! The pages and the tree agree: links and paths lead somewhere, the changelog knows the version.

use crate::tree::File;
use crate::{hold, tree};

/// A path in backticks is looked up when it begins like this; crates may be named without `crates/`.
const TOPS: [&str; 12] = [
    "crates/",
    "tests/",
    "config/",
    "docs/",
    "systemd/",
    "launchd/",
    "packaging/",
    "xtask/",
    "clients/",
    ".ci/",
    ".config/",
    "telemetry",
];

/// Where ARCHITECTURE.md names what does not exist yet, to the page's end.
const COMING: &str = "## Coming";

#[test]
fn links_lead_to_files_that_exist() {
    let mut broken = Vec::new();
    for page in tree::pages() {
        for (number, line) in page.lines() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let file = target.split('#').next().unwrap_or("");
                let elsewhere = target.contains("://") || target.starts_with("mailto:");
                if !elsewhere
                    && !file.is_empty()
                    && !tree::root().join(&page.path).with_file_name(file).exists()
                {
                    broken.push(format!("{}:{number}: {target}", page.path));
                }
            }
        }
    }
    hold("a link in a page leads to a file that exists", &broken);
}

#[test]
fn the_paths_that_pages_name_exist() {
    let mut broken = Vec::new();
    for page in tree::pages()
        .into_iter()
        .filter(|page| page.path != "CHANGELOG.md")
    {
        let stands = page
            .text
            .find(COMING)
            .map_or(page.text.as_str(), |at| &page.text[..at]);
        let fenced = stands.split("```").step_by(2).collect::<Vec<_>>().join("\n");
        for path in fenced.split('`').skip(1).step_by(2).filter(|path| is_path(path)) {
            broken.extend(
                expand(path)
                    .into_iter()
                    .filter(|path| !exists(path, &page.path))
                    .map(|path| format!("{}: {path}", page.path)),
            );
        }
    }
    hold("a path that a page names is there", &broken);
}

/// Whether something in backticks is a path of this tree and not a command, a key or a URL.
fn is_path(text: &str) -> bool {
    let bare = TOPS.iter().any(|top| text.starts_with(top)) && text.contains('/');
    bare && !text.contains([' ', ':', '$', '=']) && !text.ends_with(".sock")
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn expand(path: &str) -> Vec<String> {
    match (path.find('{'), path.find('}')) {
        (Some(open), Some(close)) if open < close => {
            let (head, tail) = (&path[..open], &path[close + 1..]);
            path[open + 1..close]
                .split(',')
                .map(|word| format!("{head}{word}{tail}"))
                .collect()
        }
        _ => vec![path.to_owned()],
    }
}

/// Whether it is there, up to the first part that stands for something (`<verb>`, `*`, `NAME`): from the top, from
/// `crates/`, or from a directory above the page, as a crate's own page names its own files.
fn exists(path: &str, page: &str) -> bool {
    let open = |part: &&str| {
        part.contains(['<', '*', '…']) || part.chars().all(|c| c.is_ascii_uppercase() || "_.".contains(c))
    };
    let fixed: Vec<&str> = path
        .split('/')
        .take_while(|part| part.is_empty() || !open(part))
        .collect();
    let fixed = fixed.join("/");
    let root = tree::root();
    let above = root.join(page);
    let near = above
        .ancestors()
        .skip(1)
        .take_while(|place| place.starts_with(&root))
        .any(|place| place.join(&fixed).exists());
    near || root.join("crates").join(&fixed).exists()
}

#[test]
fn the_changelog_begins_with_the_version_that_is_being_built() {
    let manifest: toml::Table = tree::read("Cargo.toml").text.parse().expect("Cargo.toml is TOML");
    let version = manifest["workspace"]["package"]["version"]
        .as_str()
        .expect("the workspace has a version")
        .to_owned();
    let page = tree::read("CHANGELOG.md");
    let top = page
        .text
        .lines()
        .find_map(|line| line.strip_prefix("## "))
        .expect("the changelog has a section");
    assert!(
        top.starts_with("Unreleased") || top.starts_with(&version),
        "CHANGELOG.md begins with {top:?}; the workspace is at {version}"
    );
}

#[test]
fn xtask_and_nextest_want_the_same_runner() {
    let settings: toml::Table = tree::read(".config/nextest.toml")
        .text
        .parse()
        .expect("nextest.toml is TOML");
    let required = settings["nextest-version"]["required"]
        .as_str()
        .expect("a version")
        .to_owned();
    let parts = required.replace('.', ", ");
    let File { path, text } = tree::read("xtask/src/tool.rs");
    assert!(
        text.contains(&format!("verb: \"nextest\",\n    oldest: ({parts}),")),
        "{path} does not look for {required}"
    );
}

#[test]
fn placeholders_and_braces_in_paths_are_understood() {
    assert_eq!(expand("a/{b,c}.rs"), ["a/b.rs", "a/c.rs"]);
    assert!(exists("tests/house/<subject>.rs", "README.md") && !exists("xtask/src/nothing.rs", "README.md"));
    assert!(exists("src/ci.rs", "xtask/README.md") && exists("telemetryd/src/", "docs/page.md"));
    assert!(is_path("telemetryd/src/run.rs") && !is_path("telemetryctl sink") && !is_path("telemetryd"));
}
