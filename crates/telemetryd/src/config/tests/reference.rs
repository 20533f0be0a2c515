//! `docs/configuration.md` is held to the sample (sentences) and the table of keys (defaults, bounds).

use std::collections::BTreeMap;

use super::default::KEYS;
use super::*;

const PAGE: &str = include_str!("../../../../../docs/configuration.md");

/// Each key of the sample with its sentence; a key without one of its own has its table's.
fn sentences() -> BTreeMap<String, String> {
    let mut sentences = BTreeMap::new();
    let (mut table, mut of_table, mut prose) = (String::new(), String::new(), String::new());
    for line in default_text().lines() {
        let code = line
            .strip_prefix("# or: ")
            .or_else(|| line.strip_prefix('#'))
            .unwrap_or(line);
        if let Some(name) = code.strip_prefix('[') {
            table = name.trim_end_matches(']').to_owned();
            of_table = std::mem::take(&mut prose);
        } else if let Some((key, _)) = code.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
            let sentence = if prose.is_empty() {
                of_table.clone()
            } else {
                std::mem::take(&mut prose)
            };
            sentences.insert(format!("{table}.{key}"), sentence);
        } else {
            prose = code.trim().to_owned();
        }
    }
    sentences
}

fn table() -> String {
    let sentences = sentences();
    let mut rows = vec![
        "| key | default | takes | |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    for key in KEYS {
        let name = key.pattern.replacen("destinations.*", "destinations.NAME", 1);
        let name = name
            .replacen("tools.*", "tools.NAME", 1)
            .replace("headers.*", "headers.HEADER");
        let in_sample = name
            .replace("destinations.NAME", "destinations.default")
            .replace("tools.NAME", "tools.kedro");
        let in_sample = in_sample.replace("HEADER", "X-Team");
        // The two halves of a rate are told where the rate is.
        let in_sample = if in_sample.starts_with("limits.rate.") {
            "limits.rate"
        } else {
            &in_sample
        };
        let default = key.default.map(|text| format!("`{text}`")).unwrap_or_default();
        let sentence = sentences.get(in_sample).map(String::as_str).unwrap_or_default();
        assert!(!sentence.is_empty(), "{name} has no sentence in the sample");
        rows.push(format!(
            "| `{name}` | {default} | {} | {sentence} |",
            key.takes.allowed()
        ));
    }
    rows.join("\n")
}

#[test]
fn the_reference_page_has_the_table_that_sample_and_code_make() {
    let found: Vec<&str> = PAGE.lines().filter(|line| line.starts_with('|')).collect();
    let made = table();
    assert!(
        found.join("\n") == made,
        "docs/configuration.md should have this table:\n{made}"
    );
}
