//! A manifest's vocabulary is TOML, a client's is JSON: both say the same.

use telemetry_protocol::mask::Vocabulary;

#[test]
fn a_vocabulary_in_toml_is_the_one_in_json() {
    let toml: Vocabulary = toml::from_str(
        r#"
        "--quiet" = 0
        [run]
        "--pipeline" = 1
        "--env" = "unknown"
        "--starter" = { values = ["pandas"] }
        [registry.list]
        "#,
    )
    .expect("a vocabulary");
    let json = r#"{"--quiet": 0, "registry": {"list": {}},
        "run": {"--pipeline": 1, "--env": null, "--starter": {"values": ["pandas"]}}}"#;
    assert_eq!(toml, serde_json::from_str(json).expect("a vocabulary"));
}
