//! What starts the programs names only what the programs know: units, plists and the pages' command lines.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{hold, tree};

/// The help of a built program, or `None` where it was not built; with `CI=true` that is a failure.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn help(name: &str) -> Option<String> {
    let variable = format!("{}_BIN", name.to_uppercase());
    let beside = std::env::current_exe().expect("a test knows its own path");
    let program = std::env::var_os(&variable).map_or_else(
        // <target>/debug/deps/house-… → <target>/debug/<name>
        || {
            beside
                .ancestors()
                .nth(2)
                .expect("tests are built two levels deep")
                .join(name)
        },
        PathBuf::from,
    );
    if !program.exists() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "{} was not built",
            program.display()
        );
        eprintln!("skipped: needs {name} (cargo build --workspace, or {variable})");
        return None;
    }
    let output = Command::new(&program)
        .arg("--help")
        .stdin(Stdio::null())
        .output()
        .expect("the program can be started");
    assert!(output.status.success(), "{} --help failed", program.display());
    Some(String::from_utf8(output.stdout).expect("help is UTF-8"))
}

/// Whether a help text lists a flag, as a word of its own.
fn lists(help: &str, flag: &str) -> bool {
    help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .any(|word| word == flag)
}

/// The command lines of the service definitions, each with where it stands.
fn started() -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for file in tree::all() {
        if file.path.starts_with("systemd/") {
            let lines = file
                .text
                .lines()
                .filter_map(|line| line.trim_start_matches('#').trim().strip_prefix("ExecStart="));
            let words = lines.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
            found.extend(
                words
                    .filter(|words| !words.is_empty())
                    .map(|words| (file.path.clone(), words)),
            );
        } else if file.path.starts_with("launchd/") {
            let array = file
                .text
                .split_once("<key>ProgramArguments</key>")
                .and_then(|(_, rest)| rest.split_once("</array>"));
            let (array, _) = array.unwrap_or_else(|| panic!("{}: no ProgramArguments", file.path));
            let words = array
                .split("<string>")
                .skip(1)
                .filter_map(|rest| rest.split("</string>").next());
            found.push((file.path.clone(), words.map(str::to_owned).collect()));
        }
    }
    found
}

#[test]
fn units_and_plists_start_the_daemon_with_flags_that_exist() {
    let started = started();
    assert!(started.len() >= 2, "there is a unit and a plist");
    let Some(help) = help("telemetryd") else { return };
    let mut broken = Vec::new();
    for (path, words) in started {
        if words[0].rsplit('/').next() != Some("telemetryd") {
            broken.push(format!("{path}: starts {}", words[0]));
        }
        let flags = words[1..].iter().filter(|word| word.starts_with('-'));
        let unknown = flags.filter(|flag| !lists(&help, flag.split('=').next().unwrap_or(flag)));
        broken.extend(unknown.map(|flag| format!("{path}: {flag}")));
    }
    hold(
        "service definitions name only flags that `telemetryd --help` lists",
        &broken,
    );
}

/// The command lines in code on the pages that tell a reader what to type.
fn typed(program: &str) -> Vec<(String, String)> {
    let pages = tree::pages()
        .into_iter()
        .filter(|page| !matches!(page.path.as_str(), "ARCHITECTURE.md" | "CHANGELOG.md"));
    let mut found = Vec::new();
    for page in pages {
        let mut fenced = false;
        for (number, line) in page.lines() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
                continue;
            }
            let parts: Vec<&str> = if fenced || line.starts_with("    ") {
                vec![line]
            } else {
                line.split('`').skip(1).step_by(2).collect()
            };
            for part in parts {
                let typed = part.trim_start().trim_start_matches("$ ");
                if let Some(arguments) = typed.strip_prefix(program).filter(|rest| rest.starts_with(' ')) {
                    found.push((format!("{}:{number}", page.path), arguments.trim().to_owned()));
                }
            }
        }
    }
    found
}

#[test]
fn pages_type_only_what_the_programs_take() {
    let mut broken = Vec::new();
    if let Some(help) = help("telemetryd") {
        for (place, arguments) in typed("telemetryd") {
            let flags = arguments
                .split_whitespace()
                .take_while(|word| !word.starts_with('#'))
                .filter(|word| word.starts_with("--"));
            let unknown = flags.filter(|flag| !lists(&help, flag.split('=').next().unwrap_or(flag)));
            broken.extend(unknown.map(|flag| format!("{place}: telemetryd {flag}")));
        }
    }
    if let Some(help) = help("telemetryctl") {
        for (place, arguments) in typed("telemetryctl") {
            let word = arguments.split_whitespace().next().unwrap_or("");
            let command = word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            if command && !word.is_empty() && !lists(&help, word) {
                broken.push(format!("{place}: telemetryctl {word}"));
            }
        }
    }
    hold("what the pages tell a reader to type exists", &broken);
}
