//! What a vendor takes: events that are too large, batches that are cut by their encoded size, one event a request.

use serde_json::Value;
use telemetry_delivery::{Encoding, Meta, encode, limits, may_outgrow, size_bound};

use super::{VENDORS, batch, mapping};

fn payload(bytes: usize) -> String {
    format!(
        r#"{{"event":"e","time":"2026-11-21T10:00:00Z","properties":{{"t":"{}"}}}}"#,
        "x".repeat(bytes)
    )
}

#[test]
fn an_event_that_segment_or_posthog_would_refuse_is_named_before_it_is_sent() {
    for (encoding, most) in [
        (Encoding::Segment, 32 * 1024),
        (Encoding::SegmentTrack, 32 * 1024),
        (Encoding::Posthog, 900 * 1024),
    ] {
        let (large, small) = (payload(most), payload(most / 2));
        let unfit = encode(encoding, &batch(&[("t", &large, None)]), "k")
            .unfit
            .unwrap();
        assert!(
            unfit.contains(&most.to_string()) && !unfit.contains("xxx"),
            "{unfit}"
        );
        assert_eq!(encode(encoding, &batch(&[("t", &small, None)]), "k").unfit, None);
    }
}

#[test]
fn the_bound_covers_an_ordinary_event_in_every_form_but_mapped() {
    let ordinary = payload(200);
    for encoding in VENDORS
        .into_iter()
        .filter(|encoding| *encoding != Encoding::Mapped)
    {
        let batch = batch(&[("kedro", &ordinary, None)]);
        let bound = size_bound(encoding);
        let cut = ordinary.len() + "kedro".len() + (bound.per_batch + bound.per_event) as usize;
        let bytes = encode(encoding, &batch, "k").body.len();
        assert!(bytes <= cut, "{encoding:?}: {bytes} > {cut}");
        assert!(may_outgrow(encoding, &batch), "{encoding:?}");
    }
}

#[test]
fn json_without_a_mapping_never_has_to_be_looked_at_again() {
    let map = mapping(&[("a", "event")]);
    for encoding in [Encoding::Json, Encoding::Ndjson] {
        assert!(!may_outgrow(encoding, &batch(&[("t", "{}", None)])));
        assert!(may_outgrow(encoding, &batch(&[("t", "{}", Some(&map))])));
    }
}

#[test]
fn forms_of_one_event_say_so() {
    for encoding in VENDORS {
        let alone = matches!(
            encoding,
            Encoding::SegmentTrack | Encoding::HeapTrack | Encoding::Mapped
        );
        assert_eq!(limits(encoding).max_events == 1, alone, "{encoding:?}");
    }
}

#[test]
fn an_event_without_a_map_is_not_sent_as_mapped() {
    let encoded = encode(Encoding::Mapped, &batch(&[("t", "{}", None)]), "");
    assert_eq!(
        encoded.unfit.unwrap(),
        r#"the manifest of "t" has no [map], and the encoding "mapped" sends what that builds"#
    );
}

#[test]
fn the_sent_log_shows_a_mapped_body_as_it_went_though_the_manifest_has_changed() {
    let map = mapping(&[("body.name", "event"), ("body.command", "properties.command")]);
    let stored = r#"{"event":"ran","properties":{"command":"run"}}"#;
    for encoding in VENDORS {
        let batch = batch(&[("t", stored, Some(&map))]);
        let destination = destination(encoding);
        let meta = Meta::from_text(&Meta::new(&destination, &batch).to_text()).unwrap();
        let without: Vec<_> = batch
            .events
            .iter()
            .map(|event| telemetry_delivery::Event { map: None, ..*event })
            .collect();
        let shown = meta.body(batch.id, batch.losses, &without);
        assert_eq!(
            shown,
            encode(encoding.shown(), &batch, "*****").body,
            "{encoding:?}"
        );
        assert!(serde_json::from_slice::<Value>(&shown).is_ok());
    }
}

pub(crate) fn destination(encoding: Encoding) -> telemetry_delivery::Destination {
    use telemetry_delivery::*;
    let seconds = std::time::Duration::from_secs;
    Destination {
        name: "default".into(),
        url: "https://telemetry.example.org/v1".to_owned(),
        encoding,
        headers: Vec::new(),
        auth: Auth::None,
        compression: Compression::None,
        timeout: seconds(30),
        batch: BatchLimits {
            max_events: 500,
            max_bytes: 256 * 1024,
            max_wait: seconds(60),
        },
        retry: Retry {
            initial: seconds(5),
            max: seconds(1800),
            spread: seconds(120),
        },
        confirm: Confirm::Status,
        tls: Tls::default(),
        proxy: Proxy::None,
        allow_insecure: false,
    }
}
