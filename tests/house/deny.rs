//! `deny.toml` refuses what it is there to refuse: what `cargo ci deny` asks of the whole tree, asked here of trees
//! with one thing wrong each. A list that nobody sees refusing may have been empty for a year.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::tree;

/// The tool that `cargo ci` found or built, else the one on PATH; `None` where there is none, which `CI=true` makes
/// a failure.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn tool() -> Option<PathBuf> {
    let program = std::env::var_os("CARGO_DENY_BIN").map_or_else(|| "cargo-deny".into(), PathBuf::from);
    let mut version = Command::new(&program);
    version
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if version.status().is_ok_and(|status| status.success()) {
        return Some(program);
    }
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{} cannot be started",
        program.display()
    );
    eprintln!("skipped: needs cargo-deny (`cargo ci deny` builds it, or CARGO_DENY_BIN)");
    None
}

/// A package in a directory of its own.
fn package(at: &Path, name: &str, licence: &str, dependencies: &str) {
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2024\"\npublish = false\n\
         license = \"{licence}\"\n{dependencies}"
    );
    fs::create_dir_all(at.join("src")).expect("a directory can be made");
    fs::write(at.join("src/lib.rs"), "").expect("a file can be written");
    fs::write(at.join("Cargo.toml"), manifest).expect("a file can be written");
}

/// A package that has another one among `dependencies`: what cargo says of the two, with `source` as where the other
/// one came from.
fn metadata(dir: &Path, dependencies: &str, name: &str, licence: &str, source: Option<&str>) -> PathBuf {
    let entry = format!("[{dependencies}]\n{name} = {{ path = \"{name}\", version = \"1\" }}\n");
    package(dir, "whole", "MIT", &entry);
    package(&dir.join(name), name, licence, "");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--offline", "--format-version", "1"])
        .current_dir(dir)
        .output()
        .expect("cargo can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {said}");
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    for package in metadata["packages"].as_array_mut().expect("packages") {
        if package["name"] == name {
            package["source"] = source.into();
        }
    }
    let path = dir.join("metadata.json");
    fs::write(&path, metadata.to_string()).expect("a file can be written");
    path
}

#[test]
fn deny_toml_refuses_a_banned_crate_a_licence_that_is_not_listed_and_any_other_source() {
    let Some(program) = tool() else { return };
    // (where it is asked for, the crate, its licence, where it came from) → the check that refuses it
    let git = Some("git+https://example.org/ordinary.git#0000000000000000000000000000000000000000");
    let registry = Some("registry+https://example.org/index");
    let cases = [
        (("dependencies", "ordinary", "MIT", None), None),
        (("dependencies", "ordinary", "GPL-3.0-only OR ISC", None), None),
        (("dependencies", "native-tls", "MIT", None), Some("bans")),
        (("dev-dependencies", "openssl-sys", "MIT", None), Some("bans")),
        (("build-dependencies", "aws-lc-sys", "ISC", None), Some("bans")),
        (
            ("dependencies", "ordinary", "GPL-3.0-only", None),
            Some("licenses"),
        ),
        (
            ("dependencies", "ordinary", "MIT AND MPL-2.0", None),
            Some("licenses"),
        ),
        (
            ("dev-dependencies", "ordinary", "AGPL-3.0-only", None),
            Some("licenses"),
        ),
        (("dependencies", "ordinary", "MIT", git), Some("sources")),
        (("dependencies", "ordinary", "MIT", registry), Some("sources")),
    ];
    for ((dependencies, name, licence, source), refused_by) in cases {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let metadata = metadata(dir.path(), dependencies, name, licence, source);
        let output = Command::new(&program)
            .args(["--offline", "--color", "never", "--metadata-path"])
            .arg(&metadata)
            .arg("--config")
            .arg(tree::root().join("deny.toml"))
            .args([
                "check",
                "--allow",
                "unmatched-skip",
                "--allow",
                "license-not-encountered",
            ])
            .args(["bans", "licenses", "sources"])
            .current_dir(dir.path())
            .output()
            .expect("cargo-deny can be started");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let case = format!("{dependencies}: {name}, {licence}, {source:?}\n{said}");
        assert_eq!(output.status.success(), refused_by.is_none(), "{case}");
        for check in ["bans", "licenses", "sources"] {
            let word = if refused_by == Some(check) { "FAILED" } else { "ok" };
            assert!(said.contains(&format!("{check} {word}")), "{case}");
        }
    }
}
