//! The vectors of consent (`tests/vectors/consent/README.md`) against this client: facts in, decision and chain
//! out. Every other client runs the same files.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use telemetry_client::{Gathered, Question, Surroundings};
use telemetry_policy::gather::{Found, Look};
use telemetry_protocol::consent::{Decision, Verdict};

/// Where a case's manifests stand, as if a package had installed them.
const MANIFESTS: &str = "/usr/share/telemetryd/tools.d";

/// A file system that is made up.
#[derive(Clone, Debug, Default)]
struct Disk {
    files: BTreeMap<PathBuf, Found>,
    owners: BTreeMap<PathBuf, u32>,
    mounts: Vec<PathBuf>,
}

impl Disk {
    fn of(case: &Value) -> Self {
        let mut disk = Self::default();
        for (name, text) in manifests() {
            disk.put(&format!("{MANIFESTS}/{name}"), &Value::from(text));
        }
        for (path, what) in case["files"].as_object().into_iter().flatten() {
            disk.put(path, what);
        }
        let mounts = case["mounts"].as_array().into_iter().flatten();
        disk.mounts = mounts.map(|mount| mount.as_str().unwrap().into()).collect();
        disk
    }

    fn put(&mut self, path: &str, what: &Value) {
        let found = match what {
            Value::String(text) => Found::File(text.clone()),
            what if what["directory"] == true => Found::Directory(Vec::new()),
            what => match (what["text"].as_str(), what["unreadable"].as_str()) {
                (Some(text), None) => Found::File(text.to_owned()),
                (None, Some(why)) => Found::Unreadable(why.to_owned()),
                _ => panic!("{path}: neither text nor unreadable: {what}"),
            },
        };
        if let Some(owner) = what["owner"].as_u64() {
            self.owners.insert(path.into(), u32::try_from(owner).unwrap());
        }
        self.files.insert(path.into(), found);
    }
}

impl Look for Disk {
    fn look(&self, path: &Path) -> Found {
        match self.files.get(path) {
            Some(Found::Directory(_)) | None => {
                let below = self.files.keys().filter_map(|file| file.strip_prefix(path).ok());
                let mut names: Vec<String> = below
                    .filter_map(|below| Some(below.iter().next()?.to_str()?.to_owned()))
                    .collect();
                names.dedup();
                if names.is_empty() && !self.files.contains_key(path) {
                    return Found::Absent;
                }
                Found::Directory(names)
            }
            Some(found) => found.clone(),
        }
    }

    fn owner(&self, path: &Path) -> Option<u32> {
        Some(self.owners.get(path).copied().unwrap_or(0))
    }

    fn device(&self, path: &Path) -> Option<u64> {
        let mount = self.mounts.iter().position(|mount| path.starts_with(mount));
        Some(mount.map_or(0, |at| at as u64 + 1))
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/consent")
}

fn manifests() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder().join("manifests")).unwrap();
    let read = |path: PathBuf| (name(&path), std::fs::read_to_string(&path).unwrap());
    entries.map(|entry| read(entry.unwrap().path())).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Every case of every file, with the file's name.
fn cases() -> Vec<(String, Value)> {
    let entries = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut cases = Vec::new();
    for path in entries.filter(|path| path.extension().is_some_and(|e| e == "json")) {
        let file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for case in file["cases"].as_array().unwrap() {
            cases.push((name(&path), case.clone()));
        }
    }
    cases
}

fn decide(case: &Value, disk: &Disk) -> Decision {
    let mut variables = BTreeMap::from([("HOME".to_owned(), "/home/user".to_owned())]);
    for (name, value) in case["environment"].as_object().into_iter().flatten() {
        variables.insert(name.clone(), value.as_str().unwrap().to_owned());
    }
    let uid = case["uid"]
        .as_u64()
        .map_or(1000, |uid| u32::try_from(uid).unwrap());
    let mut surroundings = Surroundings::read(variables.into_iter().collect(), None, uid, &|_| false);
    surroundings.working = Some(case["working"].as_str().unwrap_or("/home/user/project").into());
    let question = Question {
        tool: case["tool"].as_str().unwrap(),
        project: case["project"].as_str().map(Path::new),
        invocation: case["invocation"].as_bool(),
    };
    Gathered::gather(&surroundings, disk).decide(&question, disk)
}

#[cfg(target_os = "linux")]
fn shown(decision: &Decision) -> Value {
    let decider = decision.chain.iter().find(|link| link.decides).unwrap();
    let chain: Vec<Value> = decision
        .chain
        .iter()
        .map(|link| {
            serde_json::json!({
                "layer": link.fact.layer.as_str(),
                "verdict": link.fact.verdict.map_or("none", Verdict::as_str),
                "source": link.fact.source,
                "line": link.fact.line,
                "decides": link.decides,
            })
        })
        .collect();
    serde_json::json!({
        "verdict": decision.verdict.as_str(),
        "by": decision.by.as_str(),
        "source": decision.source,
        "line": decider.fact.line,
        "chain": chain,
    })
}

// The places in the vectors are those of Linux.
#[cfg(target_os = "linux")]
#[test]
fn every_vector_is_decided_as_it_says() {
    let cases = cases();
    let mut failed = Vec::new();
    for (file, case) in &cases {
        let decision = shown(&decide(case, &Disk::of(case)));
        if decision != case["expect"] {
            failed.push(format!(
                "{file}: {}\n  expected {}\n  decided  {decision}",
                case["name"], case["expect"]
            ));
        }
    }
    assert!(failed.is_empty(), "{} fail:\n{}", failed.len(), failed.join("\n"));
    assert!(cases.len() >= 150, "only {} vectors", cases.len());
}

#[test]
fn every_vector_is_told_by_a_sentence_of_its_own() {
    let mut names: Vec<String> = cases().iter().map(|(_, case)| case["name"].to_string()).collect();
    names.sort_unstable();
    let twice: Vec<&[String]> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// What a layer can say. A machine or a variable never allows, and a tool without a word of its own has a default.
const WORDS: &[(&str, &[&str])] = &[
    ("machine", &["deny"]),
    ("environment", &["deny"]),
    ("user", &["deny", "allow"]),
    ("project", &["deny", "allow"]),
    ("invocation", &["deny", "allow"]),
    ("default", &["deny", "allow"]),
];

#[test]
fn every_pair_of_layers_and_every_value_of_do_not_track_is_among_the_cases() {
    let cases = cases();
    let says = |case: &Value, layer: &str, word: &str| {
        let mut chain = case["expect"]["chain"].as_array().into_iter().flatten();
        chain.any(|link| link["layer"] == layer && link["verdict"] == word)
    };
    for (at, (above, words)) in WORDS.iter().enumerate() {
        for (below, others) in &WORDS[at + 1..] {
            for (word, other) in words
                .iter()
                .flat_map(|word| others.iter().map(move |other| (word, other)))
            {
                let told = cases
                    .iter()
                    .any(|(_, case)| says(case, above, word) && says(case, below, other));
                assert!(told, "no case has {above} say {word} and {below} say {other}");
            }
        }
    }
    // Those with which each tool's own code was tried, and what people write besides.
    for value in ["", "0", "false", "1", "true", " ", "no"] {
        let told = cases.iter().any(|(_, case)| {
            case["environment"]["DO_NOT_TRACK"] == value && case["expect"]["by"] == "environment"
        });
        assert!(told, "no case has DO_NOT_TRACK={value:?}");
    }
}

/// A denial of each kind, at every place where one can stand.
const DENIALS: &[(&str, &str)] = &[
    ("/etc/telemetryd/opt-out", ""),
    ("/etc/telemetryd/opt-out.d/TOOL", ""),
    ("/etc/telemetryd/policy.d/50.toml", "telemetry = \"off\"\n"),
    ("/etc/telemetryd/policy.d/51.toml", "[tools]\ndeny = [\"TOOL\"]\n"),
    (
        "/etc/telemetryd/policy.d/52.toml",
        "[tools]\nallow_only = [\"another\"]\n",
    ),
    ("/etc/telemetryd/policy.d/53.toml", "not a policy"),
    (
        "/home/user/.config/telemetryd/consent.toml",
        "telemetry = false\n",
    ),
    (
        "/home/user/.config/telemetryd/consent.toml",
        "[tools]\nTOOL = false\n",
    ),
    ("/home/user/.config/telemetryd/consent.toml", "no consent"),
    ("DO_NOT_TRACK", ""),
    ("DO_NOT_TRACK", "0"),
    ("--telemetry=no", ""),
];

proptest! {
    #[test]
    fn adding_a_denial_anywhere_never_turns_a_no_into_a_yes(
        at in any::<proptest::sample::Index>(),
        denials in proptest::collection::vec(any::<proptest::sample::Index>(), 1..4),
    ) {
        let cases = cases();
        let (_, case) = at.get(&cases);
        let mut case = case.clone();
        let before = decide(&case, &Disk::of(&case)).verdict;
        for denial in denials {
            let (place, text) = denial.get(DENIALS);
            let fill = |text: &str| text.replace("TOOL", case["tool"].as_str().unwrap());
            let (mut place, text) = (fill(place), fill(text));
            // Some cases are another user's.
            if let Some(home) = case["environment"]["HOME"].as_str().filter(|home| home.starts_with('/')) {
                place = place.replace("/home/user", home);
            }
            if place.starts_with('/') {
                case["files"][place] = Value::from(text);
            } else if place.starts_with('-') {
                case["invocation"] = Value::from(false);
            } else {
                case["environment"][place] = Value::from(text);
            }
        }
        let after = decide(&case, &Disk::of(&case)).verdict;
        // Another home is asked about with sudo: there, what was added may stand where nobody looks.
        let elsewhere = case["uid"] == 0;
        prop_assert!(after == Verdict::Deny || (elsewhere && before == Verdict::Allow), "{case}");
    }
}
