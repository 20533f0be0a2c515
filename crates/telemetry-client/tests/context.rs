//! The cases of `tests/vectors/context/`, which every client runs, and that they show every rule.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use telemetry_client::context::table::{CI, EXECUTION, Rule, SOME_CI, Sign};
use telemetry_client::context::{Context, LIBRARY, Named};
use telemetry_policy::Variables;

fn cases() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/context");
    let mut cases = Vec::new();
    for name in ["ci.json", "execution.json"] {
        let text = std::fs::read_to_string(folder.join(name)).expect("the vectors are there");
        let file: Value = serde_json::from_str(&text).expect("a vector is JSON");
        cases.extend(file["cases"].as_array().expect("cases").iter().cloned());
    }
    cases
}

fn variables(case: &Value) -> Variables {
    let environment = case["environment"].as_object().expect("environment");
    environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().expect("a value")))
        .collect()
}

fn files(case: &Value) -> Vec<&str> {
    let files = case["files"].as_array().into_iter().flatten();
    files.map(|file| file.as_str().expect("a path")).collect()
}

#[test]
fn every_case_is_seen_as_it_says() {
    for case in cases() {
        let files = files(&case);
        let seen = Context::see(&variables(&case), &|path| files.contains(&path));
        assert_eq!(seen.ci, case["ci"].as_str(), "{case}");
        let words: Vec<_> = case["exec_info"].as_array().expect("exec_info").iter().collect();
        assert_eq!(seen.exec_info, words, "{case}");
        assert_eq!(seen.venv, case["venv"] == true, "{case}");
        assert_eq!(seen.conda, case["conda"] == true, "{case}");
        assert_eq!(seen.value(LIBRARY, None)["ci"], !case["ci"].is_null());
    }
}

#[test]
fn every_rule_and_every_variable_of_it_is_shown_by_a_case() {
    let cases = cases();
    let alone = |name: &str| {
        let only = |case: &&Value| {
            case["environment"]
                .as_object()
                .is_some_and(|all| all.contains_key(name))
        };
        cases.iter().any(|case| only(&case))
    };
    for Rule { word, sign, source } in CI.iter().chain(EXECUTION).chain([&SOME_CI]) {
        assert!(!source.is_empty(), "{word} has a source");
        let shown = match sign {
            Sign::Set(names) => names.iter().all(|name| alone(name)),
            Sign::Is(name, _) => alone(name),
            Sign::SetAndIs(one, other, _) => alone(one) && alone(other),
            Sign::There(path) => cases.iter().any(|case| files(case).contains(path)),
        };
        assert!(shown, "{word}");
        let said = |case: &Value| {
            case["ci"] == *word
                || case["exec_info"]
                    .as_array()
                    .is_some_and(|all| all.contains(&Value::from(*word)))
        };
        assert!(cases.iter().any(said), "{word}");
    }
}

#[test]
fn a_variables_value_never_leaves() {
    let secret: BTreeMap<String, String> = CI
        .iter()
        .chain(EXECUTION)
        .flat_map(|rule| match rule.sign {
            Sign::Set(names) => names.to_vec(),
            Sign::Is(name, _) | Sign::SetAndIs(_, name, _) => vec![name],
            Sign::There(_) => Vec::new(),
        })
        .chain(["VIRTUAL_ENV", "CONDA_PREFIX"])
        .map(|name| (name.to_owned(), "s3cret-value".to_owned()))
        .collect();
    let variables: Variables = secret
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let seen = Context::see(&variables, &|_| true);
    let runtime = Named {
        name: "sh\"\n",
        version: Some("1"),
    };
    let read = seen.value(LIBRARY, Some(runtime));
    assert!(!read.to_string().contains("s3cret"), "{read}");
    assert_eq!(read["runtime"]["name"], "sh\"\n");
    assert_eq!(read["ci"], true);
    assert_eq!(read["ci_name"], "gitea_actions");
}
