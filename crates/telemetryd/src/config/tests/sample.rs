//! The sample in `config/` is held to the table of keys, both ways.

use std::collections::BTreeSet;

use super::default::KEYS;
use super::*;

/// The sample with its comments taken off the keys. Prose is `# …`, a key that is commented out `#key = …`.
fn uncommented() -> String {
    let key = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with([' ', '#']) => rest.to_owned(),
        _ => line.to_owned(),
    };
    default_text().lines().map(key).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_as_it_is_sets_nothing() {
    let house = House::with(default_text());
    assert_eq!(house.checked(), *Checked::of_nothing(Mode::User));
}

#[test]
fn the_sample_with_its_keys_uncommented_holds() {
    let checked = House::with(&uncommented()).checked();
    assert_eq!(checked.destinations.len(), 1);
    assert_eq!(checked.tools.len(), 1);
}

#[test]
fn every_key_of_the_sample_stands_at_its_default() {
    let house = House::with(&uncommented());
    let plain = House::with(
        "[destinations.default]\nurl = \"https://telemetry.example.org/v1/events\"\n[tools.kedro]",
    );
    let defaults: std::collections::BTreeMap<String, toml::Value> = show(&plain.loaded())
        .into_iter()
        .map(|shown| (shown.key, shown.value))
        .collect();
    let mut compared = 0;
    for shown in show(&house.loaded()) {
        assert_ne!(shown.origin, "default", "{} is missing in the sample", shown.key);
        if let Some(default) = defaults.get(&shown.key) {
            assert_eq!(&shown.value, default, "{}", shown.key);
            compared += 1;
        }
    }
    assert_eq!(
        compared,
        KEYS.iter().filter(|key| key.default.is_some()).count() + 1,
        "and the URL"
    );
}

#[test]
fn every_key_of_the_code_is_in_the_sample() {
    let text = default_text();
    let mut missing = BTreeSet::new();
    for key in KEYS {
        let last = key.pattern.rsplit('.').next().unwrap();
        // Within prose, or as a key: the alternatives of one decision cannot all be set at once.
        let named = last == "*" || text.contains(&format!("{last} = "));
        if !named {
            missing.insert(key.pattern);
        }
    }
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn every_key_of_the_sample_has_a_sentence() {
    let lines: Vec<&str> = default_text().lines().collect();
    for pair in lines.windows(2) {
        let is_key = pair[1].starts_with('#') && !pair[1].starts_with("# ") && pair[1].contains(" = ");
        let after_prose = pair[0].starts_with("# ") && pair[0].ends_with(['.', ')']);
        // What stands directly below its table's own sentence is told by it.
        let after_table = pair[0].starts_with("#[");
        assert!(!is_key || after_prose || after_table, "{}", pair[1]);
    }
}

/// What a way needs beside it: some keys belong to one encoding.
fn encoding_of(way: &str) -> &'static str {
    let belongs = |key: &str| way.contains(key);
    match () {
        () if belongs("heap_app_id") => "encoding = \"heap\"",
        () if belongs("posthog_key") => "encoding = \"posthog\"",
        () if belongs("segment_write_key") || belongs("form = ") => "encoding = \"segment\"",
        () => "",
    }
}

#[test]
fn the_other_ways_hold_as_well() {
    let mut table = "";
    let mut ways = 0;
    for line in default_text().lines() {
        if let Some(header) = line.strip_prefix('#').filter(|line| line.starts_with('[')) {
            // The destination's own table is open already.
            table = if header == "[destinations.default]" {
                ""
            } else {
                header
            };
        }
        if let Some(way) = line.strip_prefix("# or: ") {
            let way = way.replace('…', "x");
            House::with(&destination(&format!("{}\n{table}\n{way}", encoding_of(&way)))).loaded();
            ways += 1;
        }
    }
    assert_eq!(ways, 16);
}

#[test]
fn every_key_of_the_table_is_read_and_shown() {
    // A key that nobody reads would be accepted and ignored.
    let mut house = House::with(&uncommented());
    house.write(
        "user/config.d/rate.toml",
        "limits.rate = { per_second = 1, burst = 1 }",
    );
    let mut shown: BTreeSet<String> = show(&house.loaded()).into_iter().map(|shown| shown.key).collect();
    house = House::with("");
    shown.extend(show(&house.loaded()).into_iter().map(|shown| shown.key));
    for way in [
        "auth.bearer = \"x\"",
        "auth.bearer_env = \"X\"",
        "auth.basic = \"u:x\"",
        "auth.basic_file = \"/x\"",
        "auth.basic_env = \"X\"",
        "form = \"track\"",
        "auth.segment_write_key = \"x\"",
        "auth.segment_write_key_file = \"/x\"",
        "auth.segment_write_key_env = \"X\"",
        "auth.heap_app_id = \"x\"",
        "auth.heap_app_id_file = \"/x\"",
        "auth.heap_app_id_env = \"X\"",
        "auth.posthog_key = \"x\"",
        "auth.posthog_key_file = \"/x\"",
        "auth.posthog_key_env = \"X\"",
        "tls.ca_only_file = \"/x\"",
    ] {
        house = House::with(&destination(&format!("{}\n{way}", encoding_of(way))));
        shown.extend(show(&house.loaded()).into_iter().map(|shown| shown.key));
    }
    for key in KEYS {
        let name = key.pattern.replacen("destinations.*", "destinations.default", 1);
        let name = name
            .replacen("tools.*", "tools.kedro", 1)
            .replace("headers.*", "headers.X-Team");
        assert!(shown.contains(&name), "{name}");
    }
}

#[test]
fn every_default_is_one_that_its_own_key_takes() {
    for key in KEYS {
        if let Some(text) = key.default {
            assert!(key.takes.parse(&file::preset(text)).is_ok(), "{}", key.pattern);
        }
    }
}

#[test]
fn a_sample_that_is_cut_anywhere_is_a_config_or_has_problems_and_never_panics() {
    let text = uncommented();
    for end in (0..text.len()).filter(|end| end % 7 == 0 && text.is_char_boundary(*end)) {
        let mut problems = Problems::default();
        let (layer, readable) = parse(Path::new("/x"), &text[..end], &mut problems);
        check::check(Mode::User, &layer, &mut problems);
        assert!(readable || !problems.is_empty());
    }
}
