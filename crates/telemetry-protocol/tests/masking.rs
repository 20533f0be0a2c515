//! The cases of `tests/vectors/masking/`, and the law of every masked command line.

use std::path::PathBuf;

use proptest::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use telemetry_protocol::mask::{MASK, Takes, Vocabulary, mask_again, mask_command};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "about")]
    _about: String,
    vocabulary: Vocabulary,
    cases: Vec<Case>,
}

/// One command line. With `kedro` it is one where Kedro's own masking differs, and `why` says the reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    args: Vec<String>,
    masked: Vec<String>,
    kedro: Option<Vec<String>>,
    why: Option<String>,
}

/// What a version of Kedro was seen to do.
#[derive(Deserialize)]
struct Kedro {
    cases: Vec<Case>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/masking")
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    let text = std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

const KEDRO: [&str; 3] = ["0.9.0", "0.3.2", "0.2.5"];

#[test]
fn every_command_line_of_the_vectors_is_masked_as_its_case_says() {
    let kedro = KEDRO.map(|version| format!("kedro-{version}.json"));
    for name in kedro
        .iter()
        .map(String::as_str)
        .chain(["words.json", "empty.json"])
    {
        let file: File = read(name);
        for case in file.cases {
            assert_eq!(
                mask_command(&case.args, &file.vocabulary),
                case.masked,
                "{name}: {:?}",
                case.args
            );
        }
    }
}

#[test]
fn the_output_is_kedros_but_where_a_case_says_why_not() {
    for version in KEDRO {
        let ours: File = read(&format!("kedro-{version}.json"));
        let theirs: Kedro = read(&format!("kedro/masking-kedro-{version}.json"));
        assert_eq!(ours.cases.len(), theirs.cases.len(), "{version}");
        for (ours, theirs) in ours.cases.iter().zip(&theirs.cases) {
            assert_eq!(ours.args, theirs.args, "{version}");
            match (&ours.kedro, &ours.why) {
                (None, _) => assert_eq!(ours.masked, theirs.masked, "{version}: {:?}", ours.args),
                (Some(seen), Some(_)) => {
                    assert_eq!(*seen, theirs.masked, "{version}: {:?}", ours.args);
                    assert_ne!(ours.masked, theirs.masked, "{version}: {:?}", ours.args);
                }
                (Some(_), None) => panic!("{version}: {:?} differs and does not say why", ours.args),
            }
        }
    }
}

/// A line as the daemon gets it, and whether it has the vocabulary of `words.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Again {
    line: String,
    vocabulary: bool,
    masked: String,
}

#[derive(Deserialize)]
struct AgainFile {
    program: String,
    cases: Vec<Again>,
}

#[test]
fn the_daemon_masks_a_line_again_with_a_vocabulary_and_without() {
    let words: File = read("words.json");
    let file: AgainFile = read("daemon/again.json");
    for case in file.cases {
        let vocabulary = case.vocabulary.then_some(&words.vocabulary);
        let masked = mask_again(&case.line, &file.program, vocabulary);
        assert_eq!(masked, case.masked, "{:?}", case.line);
        assert_eq!(
            mask_again(&masked, &file.program, vocabulary),
            masked,
            "{:?}",
            case.line
        );
    }
}

/// Words of which trees and command lines are made: few, so that they meet.
const WORDS: [&str; 12] = [
    "run", "list", "ds", "--env", "--async", "-p", "--", "-", "", "values", "*****", "a=b",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned),
        2 => (prop::sample::select(&WORDS[..]), prop::sample::select(&WORDS[..]))
            .prop_map(|(option, value)| format!("{option}={value}")),
        1 => any::<String>(),
    ]
}

fn takes() -> impl Strategy<Value = Takes> {
    prop_oneof![
        (0_u8..4).prop_map(Takes::Words),
        prop::collection::vec(word(), 0..3).prop_map(Takes::OneOf),
        Just(Takes::Unknown),
    ]
}

fn vocabulary() -> impl Strategy<Value = Vocabulary> {
    let level = |options: Vec<(String, Takes)>, commands: Vec<(String, Vocabulary)>| {
        let tree = options
            .into_iter()
            .fold(Vocabulary::default(), |tree, (name, takes)| {
                tree.with_option(&name, takes)
            });
        commands
            .into_iter()
            // A command that is called as the mask is would make this law hard to say.
            .filter(|(name, _)| name != MASK)
            .fold(tree, |tree, (name, below)| tree.with_command(&name, below))
    };
    let options = || prop::collection::vec((word(), takes()), 0..4);
    let leaf = options().prop_map(move |options| level(options, Vec::new()));
    leaf.prop_recursive(3, 24, 3, move |below| {
        (options(), prop::collection::vec((word(), below), 0..3))
            .prop_map(move |(options, commands)| level(options, commands))
    })
}

/// Whether each word is the mask, a command on the path, an option of it, or a public value of such an option.
fn lawful(masked: &[&str], vocabulary: &Vocabulary) -> bool {
    let mut level = vocabulary;
    let mut rest = masked;
    while let [first, behind @ ..] = rest
        && let Some((_, below)) = level.command(first)
    {
        level = below;
        rest = behind;
    }
    let public = |at: usize| {
        let option = rest[..at].iter().rev().find_map(|word| level.option(word));
        option.is_some_and(|(_, takes)| takes.public(rest[at]).is_some())
    };
    (0..rest.len()).all(|at| rest[at] == MASK || level.option(rest[at]).is_some() || public(at))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_word_that_comes_out_is_the_mask_or_the_vocabularys_own(
        tree in vocabulary(), argv in prop::collection::vec(word(), 0..10),
    ) {
        let masked = mask_command(&argv, &tree);
        prop_assert!(lawful(&masked, &tree), "{:?} became {:?}", argv, masked);
        prop_assert!(masked.len() >= argv.len() && masked.len() <= 2 * argv.len());
    }

    #[test]
    fn a_vocabulary_is_read_as_it_is_written(tree in vocabulary()) {
        let text = serde_json::to_string(&tree).expect("a vocabulary is JSON");
        let read: Vocabulary = serde_json::from_str(&text).expect("what was written can be read");
        prop_assert_eq!(read, tree);
    }
}

#[test]
fn a_vocabulary_that_is_none_is_refused_with_a_reason() {
    for (text, reason) in [
        ("[]", "an object of the tool's commands"),
        ("1", "an object of the tool's commands"),
        (r#"{"values": ["a"]}"#, "an object of the tool's commands"),
        (r#"{"run": {"--env": -1}}"#, "0 to 255 words"),
        (r#"{"run": {"--env": 256}}"#, "0 to 255 words"),
        (r#"{"run": {"--env": "some"}}"#, "the number of words"),
        (r#"{"run": {"--env": ["a"]}}"#, "not under \"--env\""),
        (r#"{"run": {"--env": {"values": [1]}}}"#, "invalid type"),
        (r#"{"run": {"--env": true}}"#, "the number of words"),
    ] {
        let error = serde_json::from_str::<Vocabulary>(text)
            .expect_err(text)
            .to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}
