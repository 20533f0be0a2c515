//! Addresses of machines: IPv4 (RFC 791), IPv6 (RFC 4291), MAC (IEEE 802).
//!
//! Four numbers with dots between them can be a version as well. They are taken for an address, unless something beside
//! them says otherwise: a number above 255, a fifth part, a letter on either side (`v1.2.3.4`, `1.2.3.4rc1`), a suffix
//! (`1.2.3.4-beta`), a comparison (`==1.2.3.4`), the word "version" before them.

use core::net::Ipv6Addr;

use super::bytes::{self, ATOM, DIGIT, HEX, WORD};
use super::{Hit, Marker, Scan};

/// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255` (RFC 4291 §2.2)
const LONGEST_V6: usize = 45;

/// An address that begins with the word at `at`.
pub(super) fn at(scan: &Scan<'_>, at: usize, word_end: usize) -> Option<Hit> {
    let next = scan.byte(word_end);
    if !scan.is(at, HEX) || !matches!(next, b'.' | b':' | b'-') || scan.word_before(at) {
        return None;
    }
    let hit = |end: usize, marker: Marker| Hit {
        start: at,
        end,
        marker,
    };
    if next == b'.' {
        return v4(scan, at).map(|end| hit(end, Marker::Ip));
    }
    if word_end - at == 2
        && let Some(end) = mac(scan, at)
    {
        return Some(hit(end, Marker::Mac));
    }
    (next == b':' && word_end - at <= 4)
        .then(|| v6(scan, at))
        .flatten()
}

/// An address that begins with `::`.
pub(super) fn colons(scan: &Scan<'_>, at: usize) -> Option<Hit> {
    (scan.byte(at + 1) == b':' && !scan.atom_before(at) && scan.before(at) != b':')
        .then(|| v6(scan, at))
        .flatten()
}

/// Where the address ends.
fn v4(scan: &Scan<'_>, start: usize) -> Option<usize> {
    let mut at = start;
    for part in 0..4 {
        if part > 0 {
            if scan.byte(at) != b'.' {
                return None;
            }
            at += 1;
        }
        let from = at;
        let mut value = 0_u32;
        while at - from < 4 && scan.is(at, DIGIT) {
            value = value * 10 + u32::from(scan.byte(at) - b'0');
            at += 1;
        }
        if at == from || at - from > 3 || value > 255 {
            return None;
        }
    }
    let numbered_before = scan.before(start) == b'.' && start >= 2 && scan.is(start - 2, DIGIT);
    (!numbered_before && !version_after(scan, start, at) && !version_before(scan, start)).then_some(at)
}

/// Whether what follows says that it is a version, or part of a longer number.
fn version_after(scan: &Scan<'_>, start: usize, end: usize) -> bool {
    let (next, then) = (scan.byte(end), scan.byte(end + 1));
    match next {
        b'.' => {
            // `tool-1.2.3.4.tar.gz` is a package, `10.0.0.1.` ends a sentence.
            bytes::is(then, DIGIT) || (then.is_ascii_alphabetic() && scan.before(start) == b'-')
        }
        b'-' | b'+' | b'_' => then.is_ascii_alphabetic(),
        _ => scan.word_at(end),
    }
}

/// Whether what stands before says so.
fn version_before(scan: &Scan<'_>, start: usize) -> bool {
    let head = &scan.bytes[start.saturating_sub(12)..start];
    if let [.., first, b'='] = head
        && matches!(first, b'=' | b'<' | b'>' | b'~' | b'!')
    {
        return true;
    }
    let said = head.trim_ascii_end();
    let said = said
        .strip_suffix(b"=")
        .or_else(|| said.strip_suffix(b":"))
        .unwrap_or(said);
    let said = said.trim_ascii_end().to_ascii_lowercase();
    [&b"version"[..], b" ver", b"release"]
        .iter()
        .any(|word| said.ends_with(word))
}

/// An address in the text form of RFC 4291 §2.2, with a zone (RFC 4007 §11) if there is one.
fn v6(scan: &Scan<'_>, start: usize) -> Option<Hit> {
    let (before, earlier) = (
        scan.before(start),
        if start >= 2 { scan.byte(start - 2) } else { 0 },
    );
    // `list[1::2]` is a slice, `deadbeef:12:…` and `1.2:3` belong to something longer.
    if matches!(before, b':' | b'.')
        || (before == b'[' && (bytes::is(earlier, WORD) || matches!(earlier, b')' | b']')))
    {
        return None;
    }
    let mut end = start;
    while end - start <= LONGEST_V6 && (scan.is(end, HEX) || matches!(scan.byte(end), b':' | b'.')) {
        end += 1;
    }
    if end - start > LONGEST_V6 {
        return None;
    }
    let run = &scan.bytes[start..end];
    let run = run.strip_suffix(b".").unwrap_or(run);
    let run = match run {
        [.., b':', b':'] => run,
        _ => run.strip_suffix(b":").unwrap_or(run),
    };
    let text = std::str::from_utf8(run).ok()?;
    text.parse::<Ipv6Addr>().ok()?;
    // `b::c` and `dead::beef` are names of code, `1::2` is a slice: an address has digits and a long group.
    let groups = run.split(|byte| *byte == b':');
    let long =
        groups.clone().any(|group| group.len() >= 3) || groups.filter(|group| !group.is_empty()).count() >= 4;
    if text != "::1" && !(long && run.iter().any(u8::is_ascii_digit)) {
        return None;
    }
    let mut end = start + run.len();
    if scan.byte(end) == b'%' {
        end = bytes::run(scan.bytes, end, ATOM);
    }
    (!scan.word_at(end)).then_some(Hit {
        start,
        end,
        marker: Marker::Ip,
    })
}

/// Six pairs of hexadecimal digits, one separator throughout, and no seventh (`aa:bb:…` of 16 pairs is a fingerprint).
fn mac(scan: &Scan<'_>, start: usize) -> Option<usize> {
    let separator = scan.byte(start + 2);
    let end = start + 17;
    let fits = (0..17).all(|place| match place % 3 {
        2 => scan.byte(start + place) == separator,
        _ => scan.is(start + place, HEX),
    });
    let alone =
        !scan.word_at(end) && !matches!(scan.byte(end), b':' | b'-') && scan.before(start) != separator;
    (fits && alone).then_some(end)
}
