//! Vendors' encodings: their forms, their keys, and what is packed.

use telemetry_delivery::{Auth, Compression, Encoding, Secret};

use super::*;

fn made(rest: &str) -> telemetry_delivery::Destination {
    House::with(&destination(rest)).checked().destinations["default"].clone()
}

#[test]
fn each_encoding_has_its_forms_and_the_first_is_the_default() {
    let heap = "auth.heap_app_id = \"x\"\nencoding = \"heap\"";
    for (text, encoding) in [
        ("encoding = \"segment\"", Encoding::Segment),
        ("encoding = \"segment\"\nform = \"batch\"", Encoding::Segment),
        ("encoding = \"segment\"\nform = \"track\"", Encoding::SegmentTrack),
        (heap, Encoding::Heap),
        (&format!("{heap}\nform = \"track\""), Encoding::HeapTrack),
        ("encoding = \"otlp\"", Encoding::Otlp),
        ("encoding = \"otlp\"\nform = \"json\"", Encoding::OtlpJson),
        ("encoding = \"ndjson\"\nform = \"text\"", Encoding::NdjsonText),
        (
            "encoding = \"posthog\"\nauth.posthog_key = \"x\"",
            Encoding::Posthog,
        ),
        ("encoding = \"mapped\"", Encoding::Mapped),
    ] {
        assert_eq!(made(text).encoding, encoding, "{text}");
    }
}

#[test]
fn a_form_that_the_encoding_has_not_is_a_problem_that_names_those_it_has() {
    let problems = problems_of(&destination("encoding = \"otlp\"\nform = \"track\""));
    assert!(
        problems.contains(
            "form: found \"track\", allowed is \"protobuf\" or \"json\", which are the forms of \"otlp\""
        ),
        "{problems}"
    );
    for encoding in ["json", "mapped"] {
        let problems = problems_of(&destination(&format!(
            "encoding = \"{encoding}\"\nform = \"json\""
        )));
        assert!(
            problems.contains(&format!(
                "allowed is no form: the encoding \"{encoding}\" has one only"
            )),
            "{problems}"
        );
    }
}

#[test]
fn a_key_of_the_body_must_be_there_and_belongs_to_its_encoding() {
    for (encoding, key) in [("heap", "heap_app_id"), ("posthog", "posthog_key")] {
        for auth in ["", "auth.bearer = \"x\""] {
            let problems = problems_of(&destination(&format!("encoding = \"{encoding}\"\n{auth}")));
            assert!(
                problems.contains(&format!("destinations.default.auth.{key}: is missing")),
                "{problems}"
            );
            assert!(
                problems.contains(&format!("auth = {{ {key} = \"…\" }}")),
                "{problems}"
            );
        }
        let problems = problems_of(&destination(&format!("auth.{key} = \"s3cret\"")));
        assert!(
            problems.contains(&format!(
                "it belongs to the encoding \"{encoding}\", and this is \"json\""
            )),
            "{problems}"
        );
        assert!(!problems.contains("s3cret"), "{problems}");
    }
    let problems = problems_of(&destination(
        "encoding = \"otlp\"\nauth.segment_write_key_env = \"X\"",
    ));
    assert!(
        problems.contains("belongs to the encoding \"segment\""),
        "{problems}"
    );
}

#[test]
fn a_vendors_key_comes_inline_from_a_file_or_from_a_variable() {
    let of = |encoding: &str, rest: &str| made(&format!("encoding = \"{encoding}\"\nauth.{rest}")).auth;
    let inline = || Secret::Inline("x".to_owned());
    assert_eq!(
        of("segment", "segment_write_key = \"x\""),
        Auth::SegmentWriteKey(inline())
    );
    assert_eq!(of("segment", "bearer = \"x\""), Auth::Bearer(inline()));
    assert_eq!(
        of("heap", "heap_app_id_file = \"/etc/id\""),
        Auth::HeapAppId(Secret::File("/etc/id".into()))
    );
    assert_eq!(
        of("posthog", "posthog_key_env = \"KEY\""),
        Auth::PosthogKey(Secret::Env("KEY".to_owned()))
    );
}

#[test]
fn what_takes_one_event_a_request_is_not_compressed_unless_somebody_says_so() {
    for (text, compression) in [
        ("encoding = \"segment\"", Compression::Gzip),
        ("encoding = \"segment\"\nform = \"track\"", Compression::None),
        ("encoding = \"mapped\"", Compression::None),
        ("encoding = \"mapped\"\ncompression = \"gzip\"", Compression::Gzip),
        ("encoding = \"otlp\"", Compression::Gzip),
    ] {
        assert_eq!(made(text).compression, compression, "{text}");
    }
    let house = House::with(&destination("encoding = \"mapped\""));
    assert_eq!(
        house.shown("destinations.default.compression").unwrap().0,
        "\"none\""
    );
}
