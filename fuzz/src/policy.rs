//! A policy of the admin's: what cannot be read denies every tool, and nothing beside it takes that back (I3).

use telemetry_policy::Machine;
use telemetry_policy::policy_file::PolicyFile;
use toml::de::DeTable;

/// The file's bytes.
pub fn hold(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut machine = Machine::default();
    machine.add(PolicyFile::parse("p.toml", &text));
    let denied = machine.denies_everything().is_some();
    if DeTable::parse(&text).is_err() {
        assert!(denied, "not TOML, and nothing is denied");
    }
    let facts = machine.facts("kedro").len();
    let _ = machine.destination_denial("https://t.example/in");
    machine.add(PolicyFile::parse("q.toml", ""));
    assert_eq!(machine.denies_everything().is_some(), denied);
    assert!(machine.facts("kedro").len() >= facts);
    machine.add(PolicyFile::parse("r.toml", &format!("{text}\nno_such_key = 1\n")));
    assert!(
        machine.denies_everything().is_some(),
        "a key that nobody knows denies"
    );
}
