//! `docs/privacy.md` and `docs/threat-model.md` promise nothing without a test: every test that the pages name is there,
//! and every claim names one.

use std::collections::BTreeSet;

use crate::{hold, tree};

/// Every row of the page's tables whose head begins like this names tests, in its last column, that are there.
fn hold_claims(page: &str, head: &str, least: usize) {
    let tests: BTreeSet<String> = tree::rust()
        .iter()
        .flat_map(|file| {
            let names = file
                .text
                .split("\nfn ")
                .skip(1)
                .chain(file.text.split(" fn ").skip(1));
            names
                .filter_map(|rest| rest.split(['(', '<']).next())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    let page = tree::read(page);
    let path = &page.path;
    let mut broken = Vec::new();
    let mut claims = 0;
    let mut in_claims = false;
    for (number, line) in page.lines() {
        if line.starts_with(head) {
            in_claims = true;
        } else if !line.starts_with('|') {
            in_claims = false;
        } else if in_claims && !line.starts_with("|---") {
            claims += 1;
            let named: Vec<&str> = line
                .rsplit("| ")
                .next()
                .unwrap_or_default()
                .split('`')
                .skip(1)
                .step_by(2)
                .collect();
            if named.is_empty() {
                broken.push(format!("{path}:{number}: a claim without a test"));
            }
            let gone = named.iter().filter(|name| !tests.contains(**name));
            broken.extend(gone.map(|name| format!("{path}:{number}: there is no test {name}")));
        }
    }
    assert!(claims > least, "{path} has claims: {claims}");
    hold("what a page claims, a test shows", &broken);
}

#[test]
fn every_claim_about_privacy_names_a_test_that_exists() {
    hold_claims("docs/privacy.md", "| claim", 20);
}

#[test]
fn every_threat_names_a_test_that_exists() {
    hold_claims("docs/threat-model.md", "| what they could want", 30);
}
