//! `deny.toml` holds for what is built: the licences that may be shipped, the crates that may not come in, the places
//! that crates come from. `cargo deny check bans licenses sources` reads the same file; building it takes longer than
//! building all of this, so that here it is read with what cargo itself says.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::{hold, tree};

fn deny() -> toml::Table {
    let text = tree::read("deny.toml").text;
    text.parse().expect("deny.toml is TOML")
}

/// The strings of a list at this path.
fn words(section: &str, key: &str) -> Vec<String> {
    let deny = deny();
    let list = deny[section][key].as_array().expect("a list").clone();
    let word = |item: &toml::Value| match item {
        toml::Value::Table(table) => table["crate"].as_str().map(str::to_owned),
        other => other.as_str().map(str::to_owned),
    };
    list.iter().map(|item| word(item).expect("a string")).collect()
}

/// `[[package]]` of Cargo.lock: name and source, for every system that is built for.
fn locked() -> Vec<(String, Option<String>)> {
    let lock: toml::Table = tree::read("Cargo.lock").text.parse().expect("Cargo.lock is TOML");
    let packages = lock["package"].as_array().expect("packages");
    let text = |package: &toml::Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    packages
        .iter()
        .map(|package| (text(package, "name").expect("a name"), text(package, "source")))
        .collect()
}

#[test]
fn no_crate_comes_in_that_deny_toml_bans() {
    let banned = words("bans", "deny");
    assert!(banned.len() >= 5, "{banned:?}");
    let broken: Vec<String> = locked()
        .into_iter()
        .filter(|(name, _)| banned.contains(name))
        .map(|(name, _)| format!("Cargo.lock: {name}"))
        .collect();
    hold("bans of deny.toml", &broken);
}

#[test]
fn crates_come_from_the_registries_of_deny_toml_alone() {
    let allowed = words("sources", "allow-registry");
    let broken: Vec<String> = locked()
        .into_iter()
        .filter_map(|(name, source)| {
            let source = source?;
            let known = allowed
                .iter()
                .any(|registry| source == format!("registry+{registry}"));
            (!known).then(|| format!("Cargo.lock: {name} comes from {source}"))
        })
        .collect();
    hold("sources of deny.toml", &broken);
}

#[test]
fn what_is_built_may_be_shipped_by_the_licences_of_deny_toml() {
    let allowed: BTreeSet<String> = words("licenses", "allow").into_iter().collect();
    // Of the other systems not everything has been fetched.
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "metadata",
            "--locked",
            "--offline",
            "--format-version",
            "1",
            "--filter-platform",
        ])
        .arg(host())
        .current_dir(tree::root())
        .output()
        .expect("cargo can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {said}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100, "{}", packages.len());
    let broken: Vec<String> = packages
        .iter()
        .filter_map(|package| {
            let license = package["license"].as_str().unwrap_or_default();
            (!satisfied(license, &allowed)).then(|| format!("{}: {license:?}", package["name"]))
        })
        .collect();
    hold("licences of deny.toml", &broken);
}

/// This system, as cargo calls it.
fn host() -> &'static str {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("macos", "aarch64") => "aarch64-apple-darwin",
        ("macos", _) => "x86_64-apple-darwin",
        (_, "aarch64") => "aarch64-unknown-linux-gnu",
        _ => "x86_64-unknown-linux-gnu",
    }
}

/// Whether an SPDX expression (SPDX 2.3, annex D; and the slash that cargo took for OR) can be met by these licences.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ")
        .replace(" WITH ", "_WITH_");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest, allowed).is_some_and(|met| met && rest.is_empty())
}

/// `A OR B`: the weaker of the two words.
fn either(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let mut met = both(rest, allowed)?;
    while let Some((&"OR", after)) = rest.split_first() {
        *rest = after;
        met |= both(rest, allowed)?;
    }
    Some(met)
}

/// `A AND B`.
fn both(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let mut met = one(rest, allowed)?;
    while let Some((&"AND", after)) = rest.split_first() {
        *rest = after;
        met &= one(rest, allowed)?;
    }
    Some(met)
}

/// A licence, or an expression in parentheses.
fn one(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    if *first != "(" {
        return Some(allowed.contains(&first.replace("_WITH_", " WITH ")));
    }
    let met = either(rest, allowed)?;
    let (&")", after) = rest.split_first()? else {
        return None;
    };
    *rest = after;
    Some(met)
}

#[test]
fn a_licence_expression_is_read_as_spdx_says() {
    let allowed: BTreeSet<String> = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
        .map(str::to_owned)
        .into();
    for (expression, wanted) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("", false),
        ("MIT/GPL-3.0", true),
        ("GPL-3.0 OR MIT", true),
        ("MIT AND GPL-3.0", false),
        ("GPL-3.0 AND MIT OR Apache-2.0", true),
        ("GPL-3.0 AND (MIT OR Apache-2.0)", false),
        ("(MIT OR GPL-3.0) AND Apache-2.0", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("GPL-2.0 WITH LLVM-exception", false),
        ("MIT OR", false),
        ("(MIT", false),
        ("MIT)", false),
    ] {
        assert_eq!(satisfied(expression, &allowed), wanted, "{expression}");
    }
}
