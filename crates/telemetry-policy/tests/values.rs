//! What the policy's door makes of numbers (I4: what does not fit its type is not stored), and what it says of an
//! event's name beforehand.

use std::collections::BTreeMap;
use std::sync::Arc;

use telemetry_policy::policy::Parts;
use telemetry_policy::pseudonym::Pseudonyms;
use telemetry_policy::redact::Subject;
use telemetry_policy::{
    Admission, Keeper, MachineFacts, Manifest, Occasion, Origin, Policy, Registered, Report, admit,
};
use telemetry_protocol::event::Event;
use telemetry_protocol::json;
use telemetry_protocol::time::Rfc3339;

/// Keeps nothing.
struct Nobody(Pseudonyms);

impl Keeper for Nobody {
    fn pseudonyms(&mut self, _: &str, _: u64) -> &mut Pseudonyms {
        &mut self.0
    }

    fn today(&mut self, _: &str) -> u64 {
        0
    }

    fn admitted(&mut self, _: &str) {}
}

fn policy(manifest: &str) -> Policy {
    let manifest = Manifest::parse(manifest).expect("a manifest");
    let registered = Registered {
        manifest,
        origin: Origin::Admin,
        source: "t.toml".to_owned(),
    };
    Policy::new(Parts {
        manifests: Arc::new(BTreeMap::from([("t".to_owned(), registered)])),
        ..Parts::default()
    })
}

/// What is stored of these properties.
fn stored(policy: &Policy, properties: &str) -> String {
    let line = format!(r#"{{"tool":"t","event":"ran","properties":{properties}}}"#);
    let mut members = Vec::new();
    let object = json::scan(line.as_bytes(), 32, &mut members).expect("JSON");
    let event = Event::parse(&object).expect("an event");
    let occasion = Occasion {
        id: [0; 16],
        received: Rfc3339(0).bytes(),
        subject: &Subject::default(),
        machine: &MachineFacts::default(),
    };
    let mut out = Vec::new();
    let admission = admit(
        &event,
        policy,
        &occasion,
        &mut Nobody(Pseudonyms::new([7; 32], false)),
        &mut Report::default(),
        &mut out,
    );
    assert!(matches!(admission, Admission::Admitted { .. }), "{admission:?}");
    let stored: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    // As it is written, so that no number is read anew.
    let text = String::from_utf8(out).expect("UTF-8");
    let from = text.find(r#""properties":"#).expect("properties") + r#""properties":"#.len();
    assert!(stored["properties"].is_object());
    let end = text[from..].find('}').expect("they end");
    text[from..=from + end].to_owned()
}

const INTEGERS: &str = "name = \"t\"\nconsent = \"opt-out\"\n[events.ran]\nproperties.n = \"integer\"\n\
    properties.\"count.*\" = { type = \"integer\", keys = { prefix = [\"a\"], else = \"more\" } }\n";

#[test]
fn an_integer_fits_into_64_bits_with_a_sign_or_without_one() {
    let policy = policy(INTEGERS);
    let of = |n: &str| stored(&policy, &format!(r#"{{"n":{n}}}"#));
    for n in [
        "0",
        "-0",
        "42",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551615",
    ] {
        assert_eq!(of(n), format!(r#"{{"n":{n}}}"#));
    }
    for n in [
        "18446744073709551616",
        "-9223372036854775809",
        "99999999999999999999",
        "123456789012345678901234567890",
        "1.0",
        "1e3",
        "1E3",
    ] {
        assert_eq!(of(n), "{}", "{n}");
    }
}

#[test]
fn the_sum_of_names_that_become_one_stays_an_integer_of_64_bits() {
    let policy = policy(INTEGERS);
    let most = u64::MAX;
    let found = stored(
        &policy,
        &format!(r#"{{"count.x":{most},"count.y":1,"count.z":5}}"#),
    );
    assert_eq!(found, format!(r#"{{"count.more":{most}}}"#));
    let least = i64::MIN;
    let found = stored(&policy, &format!(r#"{{"count.x":{least},"count.y":-1}}"#));
    assert_eq!(found, format!(r#"{{"count.more":{least}}}"#));
}

#[test]
fn a_listed_name_is_told_from_another_before_the_event_comes() {
    let policy = policy(INTEGERS);
    assert!(policy.lists("t", "ran"));
    assert!(!policy.lists("t", "walked"));
    assert!(policy.lists("without-a-manifest", "anything"));
    let mut parts = policy.parts().clone();
    parts.refuse_unregistered = true;
    assert!(!Policy::new(parts).lists("without-a-manifest", "anything"));
}
