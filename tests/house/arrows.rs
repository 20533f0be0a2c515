//! The arrows between the rooms: exactly those that ARCHITECTURE.md lists, and no forbidden name beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::{hold, tree};

/// What a room may not name at all, whatever for. The reasons are the "must never" column of ARCHITECTURE.md.
const FORBIDDEN: [(&str, &[&str]); 6] = [
    (
        "telemetry-protocol",
        &[
            "tokio",
            "tokio-util",
            "rusqlite",
            "hyper",
            "hyper-util",
            "tracing",
        ],
    ),
    (
        "telemetry-client",
        &[
            "tokio",
            "tokio-util",
            "rusqlite",
            "hyper",
            "hyper-util",
            "tracing",
            "clap",
        ],
    ),
    (
        "telemetry-policy",
        &["tokio", "tokio-util", "rusqlite", "hyper", "hyper-util", "notify"],
    ),
    ("telemetry-queue", &["hyper", "hyper-util", "serde_json"]),
    ("telemetry-delivery", &["rusqlite"]),
    ("telemetryd", &["telemetry-sink"]),
];

/// Who may name rusqlite: the queue, and the figures for the bare insert that the queue is measured against.
const NAMES_SQLITE: [&str; 2] = ["telemetry-queue", "telemetryd-bench"];

/// Who may lean on the daemon: the figures of a fleet are those of its own trigger, not of a copy.
const SIMULATES_FLEETS: &str = "telemetryd-bench";

/// The workspace forbids unsafe code for good; an audited exception is a crate of its own, with lints of its own.
const MAY_BE_UNSAFE: [&str; 2] = [
    "crates/telemetry-activation/Cargo.toml",
    "crates/telemetry-memory/Cargo.toml",
];

/// Which of our rooms a `[dev-dependencies]` may name: the endpoint and the tools of tests.
const FOR_TESTS: [&str; 2] = ["telemetry-testkit", "telemetry-sink"];

/// A package of the workspace: what it names, by kind.
struct Package {
    name: String,
    normal: BTreeSet<String>,
    dev: BTreeSet<String>,
}

fn packages() -> Vec<Package> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(tree::root())
        .output()
        .expect("cargo can be started");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let list = metadata["packages"]
        .as_array()
        .expect("cargo metadata lists packages");
    list.iter()
        .map(|package| {
            let named = |dev: bool| {
                let all = package["dependencies"]
                    .as_array()
                    .expect("a package lists dependencies");
                all.iter()
                    .filter(|one| (one["kind"] == "dev") == dev)
                    .filter_map(|one| one["name"].as_str().map(str::to_owned))
                    .collect()
            };
            let name = package["name"].as_str().expect("a package has a name").to_owned();
            Package {
                name,
                normal: named(false),
                dev: named(true),
            }
        })
        .collect()
}

/// A crate by the short name that ARCHITECTURE.md has for it.
fn short(name: &str) -> &str {
    match name {
        "telemetryd-bench" => "bench",
        _ => name.strip_prefix("telemetry-").unwrap_or(name),
    }
}

/// The arrows that ARCHITECTURE.md draws: for each room those it leans on.
fn drawn() -> BTreeMap<String, BTreeSet<String>> {
    let page = tree::read("ARCHITECTURE.md");
    let mut arrows = BTreeMap::new();
    for line in page.text.lines() {
        let Some(list) = ["Dependencies: ", "For tests and figures only: "]
            .iter()
            .find_map(|lead| line.strip_prefix(lead))
        else {
            continue;
        };
        for arrow in list.trim_end_matches('.').split(" · ") {
            let (from, to) = arrow
                .split_once(" → ")
                .unwrap_or_else(|| panic!("no arrow in {arrow:?}"));
            let to = to
                .split(", ")
                .filter(|room| *room != "nothing of ours")
                .map(str::to_owned)
                .collect();
            assert!(
                arrows.insert(from.to_owned(), to).is_none(),
                "{from} is drawn twice"
            );
        }
    }
    // "nothing → telemetryd" is a law of its own, below.
    arrows.remove("nothing");
    arrows
}

#[test]
fn the_arrows_between_the_rooms_are_those_that_the_architecture_draws() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut drawn = drawn();
    let mut broken = Vec::new();
    for package in &packages {
        let stands: BTreeSet<String> = package
            .normal
            .iter()
            .filter(|name| ours.contains(name.as_str()))
            .map(|name| short(name).to_owned())
            .collect();
        match drawn.remove(short(&package.name)) {
            None => broken.push(format!(
                "{} is in the workspace but not in the page",
                package.name
            )),
            Some(page) => {
                broken.extend(
                    stands
                        .difference(&page)
                        .map(|to| format!("{} → {to} is not in the page", package.name)),
                );
                broken.extend(
                    page.difference(&stands)
                        .map(|to| format!("{} → {to} is only in the page", package.name)),
                );
            }
        }
    }
    broken.extend(
        drawn
            .keys()
            .map(|room| format!("{room} is in the page but not in the workspace")),
    );
    hold(
        "ARCHITECTURE.md's lists of dependencies and the Cargo.toml files say the same",
        &broken,
    );
}

#[test]
fn no_room_names_what_it_must_never_name() {
    let mut broken = Vec::new();
    for package in packages() {
        let names = |name: &str| package.normal.contains(name);
        if (names("telemetryd") || package.dev.contains("telemetryd")) && package.name != SIMULATES_FLEETS {
            broken.push(format!(
                "{} → telemetryd: nothing leans on the daemon",
                package.name
            ));
        }
        if (names("rusqlite") || names("rusqlite_migration"))
            && !NAMES_SQLITE.contains(&package.name.as_str())
        {
            broken.push(format!(
                "{} names rusqlite, which is the queue's alone",
                package.name
            ));
        }
        let forbidden = FORBIDDEN
            .iter()
            .filter(|(room, _)| *room == package.name)
            .flat_map(|(_, names)| *names);
        broken.extend(
            forbidden
                .filter(|name| names(name))
                .map(|name| format!("{} names {name}", package.name)),
        );
    }
    hold(
        "each room keeps to the \"must never\" column of ARCHITECTURE.md",
        &broken,
    );
}

#[test]
fn the_tools_of_tests_stay_outside_of_what_is_shipped() {
    let packages = packages();
    let mut broken = Vec::new();
    for package in &packages {
        if package.name != "e2e" && package.normal.contains("telemetry-testkit") {
            broken.push(format!(
                "{} links telemetry-testkit outside of its tests",
                package.name
            ));
        }
        let ours = package
            .dev
            .iter()
            .filter(|name| packages.iter().any(|other| other.name == **name));
        let strange =
            ours.filter(|name| !FOR_TESTS.contains(&name.as_str()) && !package.normal.contains(*name));
        broken.extend(strange.map(|name| format!("the tests of {} lean on {name}", package.name)));
    }
    hold(
        "telemetry-testkit and telemetry-sink are what tests lean on, and only tests lean on the first",
        &broken,
    );
}

#[test]
fn every_package_takes_its_lints_from_the_workspace() {
    let manifests = tree::all()
        .into_iter()
        .filter(|file| file.path.contains('/') && file.path.ends_with("Cargo.toml"));
    let broken: Vec<String> = manifests
        .filter(|file| !MAY_BE_UNSAFE.contains(&file.path.as_str()))
        .filter(|file| {
            let manifest: toml::Table = file.text.parse().expect("a Cargo.toml is TOML");
            manifest.get("lints").and_then(|lints| lints.get("workspace"))
                != Some(&toml::Value::Boolean(true))
        })
        .map(|file| format!("{}: no [lints] workspace = true", file.path))
        .collect();
    hold(
        "the lints live in the workspace, and every package has them",
        &broken,
    );
}
