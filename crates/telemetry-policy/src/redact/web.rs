//! URLs (RFC 3986), e-mail addresses (RFC 5321 §4.1.2), and `user@host:path` as git and scp write it.
//!
//! A URL passes if it has neither credentials nor a query, does not name a file, and is none of [`table::WEBHOOKS`],
//! whose path is the credential. What is in it is read all the same: addresses, keys, names.

use super::bytes::{self, ATOM, BLANK, DIGIT, OTHER, WORD};
use super::{Hit, Marker, Scan, path, table};

/// The address that begins with the atom before an `@`.
pub(super) fn email(scan: &Scan<'_>, start: usize, sign: usize) -> Option<Hit> {
    if !scan.bytes[start..sign].iter().any(|byte| bytes::is(*byte, WORD)) {
        return None;
    }
    let mut end = bytes::run(scan.bytes, sign + 1, ATOM);
    while end > sign + 1 && matches!(scan.byte(end - 1), b'.' | b'-' | b'_' | b'%' | b'+') {
        end -= 1;
    }
    if end == sign + 1 {
        return None;
    }
    let host = &scan.bytes[sign + 1..end];
    if scan.byte(end) == b':' {
        let home = end + 1 + usize::from(scan.byte(end + 1) == b'~');
        if scan.byte(bytes::run(scan.bytes, home, ATOM)) == b'/' {
            let end = run_end(scan, end + 1);
            return Some(Hit {
                start,
                end,
                marker: Marker::Url,
            });
        }
    }
    is_domain(host).then_some(Hit {
        start,
        end,
        marker: Marker::Email,
    })
}

/// At least two labels, the last of which is no number: `user@1.2` and `package@1.2.3-rc.x` are versions.
fn is_domain(host: &[u8]) -> bool {
    let mut labels = host.split(|byte| *byte == b'.');
    let number = |label: &[u8]| label.iter().all(|byte| bytes::is(*byte, DIGIT));
    let (first, second) = (
        labels.next().unwrap_or_default(),
        labels.next().unwrap_or_default(),
    );
    if number(first) && number(second) {
        return false;
    }
    let last = host.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    let named = last.len() >= 2
        && (last.starts_with(b"xn--")
            || last
                .iter()
                .all(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80));
    let labelled = host.split(|byte| *byte == b'.').all(|label| !label.is_empty());
    !second.is_empty() && named && labelled && !host.contains(&b'%')
}

/// The URL whose scheme ends the atom before a `://`. One that may pass is noted, so that its slashes begin no path.
pub(super) fn url(scan: &mut Scan<'_>, start: usize, colon: usize) -> Option<Hit> {
    if start < scan.url_end {
        return None;
    }
    let mut scheme = colon;
    while scheme > start
        && (scan.byte(scheme - 1).is_ascii_alphanumeric()
            || matches!(scan.byte(scheme - 1), b'+' | b'-' | b'.'))
    {
        scheme -= 1;
    }
    // A scheme begins with a letter (RFC 3986 §3.1); what hangs before it is not part of it.
    let scheme = (scheme..colon).find(|place| scan.byte(*place).is_ascii_alphabetic())?;
    let before = if scheme == start {
        scan.before(start)
    } else {
        scan.byte(scheme - 1)
    };
    let whole = if bytes::is(before, WORD) { start } else { scheme };
    let authority = colon + 3;
    if scan.byte(authority) == b'/' {
        // No host: a path on this machine, of whatever scheme (`file:///…`, `sqlite:////…`).
        let end = path::end(scan, whole, authority, b'/');
        return (end > authority + 1).then_some(Hit {
            start: whole,
            end,
            marker: Marker::Path,
        });
    }
    let host_end = authority
        + scan.bytes[authority..]
            .iter()
            .position(|byte| {
                bytes::is(*byte, BLANK)
                    || matches!(byte, b'/' | b'?' | b'#' | b'"' | b'<' | b'>' | b'`' | b'\\')
            })
            .unwrap_or(scan.bytes.len() - authority);
    if host_end == authority {
        return None;
    }
    let end = run_end(scan, authority).max(if scan.bytes[authority..host_end].contains(&b'@') {
        host_end
    } else {
        0
    });
    let marker = if scan.bytes[scheme..colon].eq_ignore_ascii_case(b"file") {
        Marker::Path
    } else if says_more(scan, authority, host_end.min(end), end) {
        Marker::Url
    } else {
        scan.url_end = end;
        return None;
    };
    Some(Hit {
        start: whole,
        end,
        marker,
    })
}

/// Whether a URL has credentials, a query, or parameters that could be some.
fn says_more(scan: &Scan<'_>, authority: usize, host_end: usize, end: usize) -> bool {
    let host = &scan.bytes[authority..host_end];
    let rest = &scan.bytes[host_end..end];
    let after = scan.byte(end) == b'?';
    let credentials = host.contains(&b'@') || (rest.contains(&b'@') && !port_or_none(host));
    let assigned = |from: u8| {
        let at = rest.iter().position(|byte| *byte == from);
        at.is_some_and(|at| rest[at..].contains(&b'='))
    };
    let webhook = table::WEBHOOKS.iter().any(|known| {
        let whole = &scan.bytes[authority..end];
        whole.len() > known.len() && whole[..known.len()].eq_ignore_ascii_case(known.as_bytes())
    });
    credentials || after || webhook || rest.contains(&b'?') || assigned(b'#') || assigned(b';')
}

/// Whether what follows the host's name is a port or nothing: anything else is a password with a slash in it.
fn port_or_none(host: &[u8]) -> bool {
    let bare = match host.iter().position(|byte| *byte == b']') {
        Some(bracket) if host.starts_with(b"[") => &host[bracket..],
        _ => host,
    };
    let mut parts = bare.splitn(2, |byte| *byte == b':');
    parts.next();
    parts
        .next()
        .is_none_or(|port| port.iter().all(|byte| bytes::is(*byte, DIGIT)))
}

/// Where a URL ends, without the punctuation of the sentence around it.
fn run_end(scan: &Scan<'_>, from: usize) -> usize {
    let mut at = from;
    while let Some(&byte) = scan.bytes.get(at) {
        let closes = byte == b'\'' && !scan.is(at + 1, WORD);
        if bytes::is(byte, BLANK) || closes || matches!(byte, b'"' | b'<' | b'>' | b'`' | b'\\') {
            break;
        }
        at += 1;
    }
    while at > from
        && (scan.is(at - 1, OTHER)
            || matches!(
                scan.byte(at - 1),
                b'.' | b',' | b';' | b':' | b'!' | b')' | b']' | b'}' | b'\'' | b'*'
            ))
    {
        at -= 1;
    }
    at
}
