//! `docs/privacy.md` promises nothing without a test: every test that the page names is there, and every claim names one.

use std::collections::BTreeSet;

use crate::{hold, tree};

#[test]
fn every_claim_about_privacy_names_a_test_that_exists() {
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
    let page = tree::read("docs/privacy.md");
    let mut broken = Vec::new();
    let mut claims = 0;
    let mut in_claims = false;
    for (number, line) in page.lines() {
        if line.starts_with("| claim") {
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
                broken.push(format!("docs/privacy.md:{number}: a claim without a test"));
            }
            let gone = named.iter().filter(|name| !tests.contains(**name));
            broken.extend(gone.map(|name| format!("docs/privacy.md:{number}: there is no test {name}")));
        }
    }
    assert!(claims > 20, "the page has claims: {claims}");
    hold("what docs/privacy.md claims, a test shows", &broken);
}
