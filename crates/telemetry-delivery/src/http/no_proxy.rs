//! `NO_PROXY`: which hosts are spared the proxy, as curl has it (`CURLOPT_NOPROXY(3)`).
//!
//! Entries are parted by commas or spaces. A name matches itself and everything below it, a leading dot or
//! not; an address matches itself, and with `/bits` its network; `*` matches everything. Names are not
//! looked up: an address does not match a name that leads to it.

use std::net::IpAddr;

use super::proxy::address;

/// Whether the list spares this host (an address may stand in brackets).
pub(super) fn spares(list: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let host_address = address(host);
    list.split([',', ' ', '\t'])
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            entry == "*"
                || match host_address {
                    Some(host) => has_address(entry, host),
                    None => has_name(entry, host),
                }
        })
}

/// A name, or a domain that it is in.
fn has_name(entry: &str, host: &str) -> bool {
    let entry = entry.trim_start_matches('.');
    let entry = entry.strip_suffix('.').unwrap_or(entry);
    let Some(start) = host.len().checked_sub(entry.len()) else {
        return false;
    };
    let tail = host
        .get(start..)
        .is_some_and(|tail| tail.eq_ignore_ascii_case(entry));
    tail && !entry.is_empty() && (start == 0 || host.as_bytes()[start - 1] == b'.')
}

/// An address, or a network in CIDR notation.
fn has_address(entry: &str, host: IpAddr) -> bool {
    let (network, bits) = match entry.split_once('/') {
        Some((network, bits)) => (network, bits.parse::<u32>().ok()),
        None => (entry, Some(u32::MAX)),
    };
    let (Some(network), Some(bits)) = (address(network), bits) else {
        return false;
    };
    let (network, host, length) = match (network, host) {
        (IpAddr::V4(network), IpAddr::V4(host)) => (
            u128::from(network.to_bits()) << 96,
            u128::from(host.to_bits()) << 96,
            32,
        ),
        (IpAddr::V6(network), IpAddr::V6(host)) => (network.to_bits(), host.to_bits(), 128),
        _ => return false,
    };
    let bits = match bits {
        u32::MAX => length,
        bits if bits > length => return false,
        bits => bits,
    };
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    network & mask == host & mask
}

#[cfg(test)]
mod tests {
    use super::spares;

    #[test]
    fn names_networks_and_everything() {
        for (list, host, spared) in [
            ("", "a.example.org", false),
            (" , ", "a.example.org", false),
            ("*", "a.example.org", true),
            ("example.org", "example.org", true),
            ("example.org", "a.example.org", true),
            (".example.org", "example.org", true),
            (".example.org", "a.b.EXAMPLE.org", true),
            ("example.org.", "a.example.org", true),
            ("example.org", "a.example.org.", true),
            ("example.org", "notexample.org", false),
            ("a.example.org", "example.org", false),
            ("localhost, example.org", "a.example.org", true),
            ("localhost example.org", "example.org", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.70", false),
            ("192.0.2.0/24", "192.0.2.70", true),
            ("192.0.2.0/25", "192.0.2.200", false),
            ("192.0.2.0/0", "198.51.100.1", true),
            ("192.0.2.0/33", "192.0.2.0", false),
            ("192.0.2.0/x", "192.0.2.0", false),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "[2001:db8:1::7]", true),
            ("2001:db8::/32", "[2001:db9::7]", false),
            ("[2001:db8::7]", "2001:db8::7", true),
            ("::/0", "[2001:db8::7]", true),
            // An address is no domain, and a domain no address.
            ("2.7", "192.0.2.7", false),
            ("192.0.2.7", "a.192.0.2.7.example.org", false),
        ] {
            assert_eq!(spares(list, host), spared, "{list:?} {host}");
        }
    }
}
