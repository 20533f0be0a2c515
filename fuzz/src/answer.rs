//! The answer of an endpoint: what it means is decided for any status, head and body, and only a 2xx that is no web
//! page takes events out of the queue (I2).

use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue, Response, StatusCode};
use telemetry_delivery::{Confirm, Encoding, Verdict, read_whole};
use uuid::Uuid;

const BATCH: Uuid = Uuid::from_u128(0x019a_a6c2_0000_7000_8000_0000_0000_00ab);
const ENCODINGS: [Encoding; 11] = [
    Encoding::Json,
    Encoding::Ndjson,
    Encoding::NdjsonText,
    Encoding::Segment,
    Encoding::SegmentTrack,
    Encoding::Heap,
    Encoding::HeapTrack,
    Encoding::Posthog,
    Encoding::Otlp,
    Encoding::OtlpJson,
    Encoding::Mapped,
];

/// `STATUS`, lines of the head, an empty line, the body.
pub fn hold(bytes: &[u8]) {
    let mut rest = bytes;
    let status = std::str::from_utf8(line(&mut rest)).unwrap_or_default();
    let Ok(status) = status.trim().parse::<u16>() else {
        return;
    };
    let Ok(status) = StatusCode::from_u16(status) else {
        return;
    };
    let mut head = Vec::new();
    loop {
        let line = line(&mut rest);
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            head.push((name, value));
        }
    }
    let mut answer = Response::new(rest);
    *answer.status_mut() = status;
    answer.headers_mut().extend(head);
    let html = answer
        .headers()
        .get("content-type")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"text/html"));
    let echoed = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .to_lowercase()
            .contains(&BATCH.to_string())
    };
    let echoed = echoed(rest) || answer.headers().values().any(|value| echoed(value.as_bytes()));
    let sent_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_255_200);
    for encoding in ENCODINGS {
        for confirm in [Confirm::Status, Confirm::BatchId] {
            let (verdict, wait) = read_whole(&answer, BATCH, encoding, confirm, sent_at);
            if verdict == Verdict::Delivered {
                assert!(status.is_success() && !html, "{status} {html}");
                assert!(confirm == Confirm::Status || echoed, "not confirmed");
            }
            assert!(wait.is_none() || answer.headers().contains_key("retry-after"));
        }
    }
}

/// Up to the next line feed.
fn line<'b>(rest: &mut &'b [u8]) -> &'b [u8] {
    let all = *rest;
    let end = all.iter().position(|byte| *byte == b'\n');
    *rest = end.map_or(&[], |end| &all[end + 1..]);
    all[..end.unwrap_or(all.len())].trim_ascii_end()
}
