//! ARCHITECTURE.md's numbered laws, their keepers in the code, both ways, and the tests that fail when one is broken.

use std::collections::{BTreeMap, BTreeSet};

use crate::{hold, tree};

/// The line of ARCHITECTURE.md that names the laws whose rooms do not exist yet.
const LATER: &str = "Kept from the day their room is there";

/// The laws that ARCHITECTURE.md states, and those of them that are kept later.
fn stated() -> (BTreeSet<String>, BTreeSet<String>) {
    let page = tree::read("ARCHITECTURE.md");
    let laws = page
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("- **")?.split_once("**"))
        .map(|(law, _)| law);
    let later = page
        .text
        .lines()
        .find_map(|line| line.strip_prefix(LATER))
        .unwrap_or("");
    (laws.flat_map(cited).collect(), cited(later).collect())
}

/// The laws that a text cites: `I` and a number, with nothing of a word around them.
fn cited(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| {
            word.strip_prefix('I')
                .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        })
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
}

/// Where each law is cited in comments below `crates/`.
fn keepers() -> BTreeMap<String, Vec<String>> {
    let mut keepers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in tree::sources() {
        for (number, comment) in file.comments() {
            for law in cited(comment) {
                keepers
                    .entry(law)
                    .or_default()
                    .push(format!("{}:{number}", file.path));
            }
        }
    }
    keepers
}

#[test]
fn every_law_that_stands_has_a_keeper_in_the_code() {
    let (laws, later) = stated();
    assert_eq!(laws.len(), 13, "ARCHITECTURE.md numbers its laws as `- **I1** …`");
    let keepers = keepers();
    let broken: Vec<String> = laws
        .difference(&later)
        .filter(|law| !keepers.contains_key(*law))
        .map(|law| format!("{law} has no keeper"))
        .collect();
    hold(
        "grep leads from each law of ARCHITECTURE.md to the code that keeps it (`// I3`)",
        &broken,
    );
}

#[test]
fn no_comment_cites_a_law_that_is_not_stated() {
    let (laws, _) = stated();
    let broken: Vec<String> = keepers()
        .into_iter()
        .filter(|(law, _)| !laws.contains(law))
        .map(|(law, places)| format!("{law}, cited in {}", places.join(", ")))
        .collect();
    hold(
        "the laws that comments cite are those of ARCHITECTURE.md",
        &broken,
    );
}

/// A row of the page's table of tests: the law, and each test's name and file.
fn tests_of(line: &str) -> Option<(String, Vec<(String, String)>)> {
    let (law, tests) = line.strip_prefix("| ")?.split_once(" | ")?;
    if cited(law).next().as_deref() != Some(law) {
        return None;
    }
    let quoted: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
    let pairs = quoted.chunks(2).map(|pair| {
        (
            pair[0].to_owned(),
            pair.get(1).copied().unwrap_or_default().to_owned(),
        )
    });
    Some((law.to_owned(), pairs.collect()))
}

/// Whether a file has a test of that name.
fn has_test(file: &str, name: &str) -> bool {
    let path = tree::root().join(file);
    let Ok(text) = std::fs::read_to_string(path) else {
        return false;
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    lines.iter().enumerate().any(|(number, line)| {
        let attributes = lines[..number]
            .iter()
            .rev()
            .take_while(|above| above.starts_with("#["));
        line.starts_with(&head) && attributes.into_iter().any(|above| above.ends_with("test]"))
    })
}

#[test]
fn every_law_names_tests_that_are_there() {
    let (laws, _) = stated();
    let page = tree::read("ARCHITECTURE.md");
    let named: BTreeMap<String, Vec<(String, String)>> = page.text.lines().filter_map(tests_of).collect();
    let without = laws
        .iter()
        .filter(|law| named.get(*law).is_none_or(Vec::is_empty))
        .map(|law| format!("{law} names no test"));
    let gone = named
        .values()
        .flatten()
        .filter(|(name, file)| !has_test(file, name))
        .map(|(name, file)| format!("{file} has no test {name}"));
    hold(
        "each law of ARCHITECTURE.md names tests that fail when it is broken",
        &without.chain(gone).collect::<Vec<_>>(),
    );
}
