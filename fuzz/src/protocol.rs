//! A line of the protocol: whatever it is, it is answered by one line; a request is one; and what is admitted of an
//! event is one JSON object in which the value rules find nothing more (I4).

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::value::RawValue;
use telemetry_policy::policy::Parts;
use telemetry_policy::pseudonym::Pseudonyms;
use telemetry_policy::redact::{self, Subject};
use telemetry_policy::{
    Admission, Keeper, MachineFacts, Manifest, Occasion, Origin, Policy, Registered, Report, UserConsent,
    admit,
};
use telemetry_protocol::event::{Event, Rejected};
use telemetry_protocol::limits::MAX_DEPTH;
use telemetry_protocol::request::Control;
use telemetry_protocol::time::Rfc3339;
use telemetry_protocol::{answer, json};

/// `t` sends anything, `u` what it lists; both were agreed to.
static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let texts = [
        "name = \"t\"\nevents = \"any\"\n[identity]\nuser = \"random\"\nproject = \"hashed\"\n",
        "name = \"u\"\n[identity]\nuser = \"from_tool\"\nproject = \"from_tool\"\n[events.ran.properties]\n\
         n = \"number\"\nok = \"boolean\"\nword = \"string\"\nsecret = { type = \"string\", hash = true }\n",
    ];
    let mut manifests = BTreeMap::new();
    for text in texts {
        let Ok(manifest) = Manifest::parse(text) else {
            panic!("{:?}", Manifest::parse(text).err());
        };
        let name = manifest.name.clone();
        let registered = Registered {
            manifest,
            origin: Origin::Admin,
            source: "tools.d".to_owned(),
        };
        manifests.insert(name, registered);
    }
    Policy::new(Parts {
        user: UserConsent::parse("consent.toml", "[tools]\nt = true\nu = true\n"),
        manifests: Arc::new(manifests),
        default_destination: "default".to_owned(),
        ..Parts::default()
    })
});

static ALICE: LazyLock<Subject> = LazyLock::new(|| Subject::new(["alice"], ["/home/alice"]));

/// Knows a secret and counts nothing.
struct Desk(Pseudonyms);

impl Keeper for Desk {
    fn pseudonyms(&mut self, _: &str, _: u64) -> &mut Pseudonyms {
        &mut self.0
    }

    fn today(&mut self, _: &str) -> u64 {
        0
    }

    fn admitted(&mut self, _: &str) {}
}

/// Lines, as they would come over a connection.
pub fn hold(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        one(line);
    }
}

fn one(line: &[u8]) {
    let mut members = Vec::new();
    let object = match json::scan(line, MAX_DEPTH, &mut members) {
        Ok(object) => object,
        Err(error) => return refused(&error.into()),
    };
    serde_json::from_slice::<&RawValue>(line).expect("what the scanner takes is JSON");
    if object.get("op").is_some() {
        if let Err(rejected) = Control::parse(object.text) {
            refused(&rejected);
        }
        return;
    }
    match Event::parse(&object) {
        Ok(event) => admitted(&event),
        Err(rejected) => refused(&rejected),
    }
}

/// One line, and one object.
fn refused(rejected: &Rejected) {
    let answer = answer::rejected(rejected);
    let line = answer.strip_suffix(b"\n").expect("a line ends");
    assert!(!line.contains(&b'\n'));
    serde_json::from_slice::<&RawValue>(line).expect("an answer is JSON");
}

fn admitted(event: &Event<'_>) {
    let machine = MachineFacts::default();
    let occasion = Occasion {
        id: [7; 16],
        received: Rfc3339(1_795_255_200_000).bytes(),
        subject: &ALICE,
        machine: &machine,
    };
    let mut desk = Desk(Pseudonyms::new([7; 32], true));
    let mut out = Vec::new();
    let admission = admit(
        event,
        &POLICY,
        &occasion,
        &mut desk,
        &mut Report::default(),
        &mut out,
    );
    if !matches!(admission, Admission::Admitted { .. }) {
        assert!(out.is_empty(), "what is declined becomes no bytes");
        return;
    }
    let shown = String::from_utf8_lossy(&out);
    let mut members = Vec::new();
    json::scan(&out, MAX_DEPTH + 2, &mut members).unwrap_or_else(|error| panic!("{error}: {shown}"));
    assert!(!out.contains(&b'\n'), "{shown}");
    let Ok(stored) = serde_json::from_slice::<serde_json::Value>(&out) else {
        return; // numbers beyond what fits in 64 bits
    };
    clean(&stored["properties"]);
    clean(&stored["context"]);
}

fn clean(value: &serde_json::Value) {
    match value {
        serde_json::Value::String(text) => assert_eq!(redact::text(text, &ALICE), *text),
        serde_json::Value::Array(items) => items.iter().for_each(clean),
        serde_json::Value::Object(members) => members.values().for_each(clean),
        _ => {}
    }
}
