//! The URLs of destinations: what is taken, and how one is shown without its secrets.
//!
//! Taken is a subset of what RFC 3986 allows, so that the HTTP library takes it too: `https` (and `http`,
//! which the check allows to loopback alone), a host, no user, no fragment, nothing that is not escaped.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::origin::MASK;
use super::value::Refusal;

/// What a URL says about who may read the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// By TLS.
    pub(super) https: bool,
    /// The host is `localhost`, 127.0.0.0/8 or `::1`.
    pub(super) loopback: bool,
}

/// Reads a URL.
///
/// # Errors
/// What is allowed instead; a URL without a scheme gets the one with https as its hint.
pub(super) fn parse(url: &str) -> Result<Reach, Refusal> {
    let refuse = |what: &str| {
        let mut refusal = Refusal::allowed("a whole URL, \"https://host/path\"");
        refusal.message = Some(format!("{what}, found {}", super::units::quoted(&mask(url))));
        refusal
    };
    if url.is_empty() {
        return Err(refuse("the URL is empty"));
    }
    if url.len() > 8 * 1024 {
        return Err(refuse("the URL is longer than 8 KiB"));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        let host = url.split(['/', '?']).next().unwrap_or_default();
        let rest = mask(url);
        let https = format!("write \"https://{rest}\"");
        return Err(refuse("the URL has no scheme").hint(match host_reach(host) {
            Some(true) => format!("{https}, or \"http://{rest}\" since that is this machine"),
            _ => https,
        }));
    };
    let https = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        _ => return Err(refuse("the scheme is neither https nor http")),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err(refuse("the URL holds credentials")
            .hint("put them into auth = { basic_file = \"/…\" }, where they are not shown"));
    }
    if path.contains('#') {
        return Err(refuse("the URL has a fragment"));
    }
    if let Some(bad) = path
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:@/?".contains(*c)))
    {
        return Err(
            refuse("the URL holds a character that must be percent-encoded").hint(format!(
                "write {} as {}",
                super::units::quoted(&bad.to_string()),
                percent(bad)
            )),
        );
    }
    match host_reach(authority) {
        Some(loopback) => Ok(Reach { https, loopback }),
        None => Err(refuse("the URL has no valid host and port")),
    }
}

/// Whether `host[:port]` is loopback; `None`: not a host and port.
fn host_reach(authority: &str) -> Option<bool> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            let address: Ipv6Addr = host.parse().ok()?;
            if !after.is_empty() {
                valid_port(after.strip_prefix(':')?)?;
            }
            return Some(address.is_loopback());
        }
        None => authority
            .split_once(':')
            .map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if let Some(port) = port {
        valid_port(port)?;
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > 253 || !name.split('.').all(label) {
        return None;
    }
    // A name whose last label is a number is an address (URL standard, "ends in a number").
    if name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
    {
        return host.parse::<Ipv4Addr>().ok().map(|address| address.is_loopback());
    }
    Some(host.eq_ignore_ascii_case("localhost"))
}

fn valid_port(port: &str) -> Option<u16> {
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    port.parse().ok().filter(|&port| digits && port > 0)
}

fn percent(c: char) -> String {
    let mut buffer = [0; 4];
    c.encode_utf8(&mut buffer)
        .bytes()
        .map(|b| format!("%{b:02X}"))
        .collect()
}

/// Query parameters whose values are shown: those of ClickHouse that say where the events go. Any other may
/// hold a key, so a list of what is not secret is the only safe one (the delivery room has the same).
const SHOWN: [&str; 3] = ["query", "database", "format"];

/// The URL without what may be secret: a user and password, and the values of query parameters.
pub(super) fn mask(url: &str) -> String {
    let (base, query) = url
        .split_once('?')
        .map_or((url, None), |(base, query)| (base, Some(query)));
    let (scheme, rest) = base.split_at(base.find("://").map_or(0, |at| at + 3));
    let authority = rest.split('/').next().unwrap_or_default();
    // A password may hold a slash where nobody escaped it: then everything up to the last @ goes.
    let user = authority.contains('@') || (rest.contains('@') && host_reach(authority).is_none());
    let mut shown = match rest.rsplit_once('@') {
        Some((_, after)) if user => format!("{scheme}{MASK}@{after}"),
        _ => base.to_owned(),
    };
    for (index, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if SHOWN.contains(&name) => shown.push_str(pair),
            Some((name, _)) => shown.push_str(&format!("{name}={MASK}")),
            // A value without a name is a key in some old interfaces.
            None if pair.is_empty() => {}
            None => shown.push_str(MASK),
        }
    }
    shown
}

/// Whether `text` is what `proxy` takes: a word, or a proxy's URL with its scheme and port, for proxies listen
/// at many and no default would be a good guess.
///
/// # Errors
/// What is wrong, without a part of it.
pub(super) fn proxy(text: &str) -> Result<(), &'static str> {
    if matches!(text, "from-environment" | "none") {
        return Ok(());
    }
    if text.len() > 8 * 1024 {
        return Err("the URL is longer than 8 KiB");
    }
    let Some((_, rest)) = text.split_once("://") else {
        return Err("the proxy has no scheme");
    };
    telemetry_delivery::check_proxy(text)?;
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let place = place.strip_suffix('/').unwrap_or(place);
    if host_reach(place).is_none() {
        return Err("the proxy has no valid host and port");
    }
    let after_host = place.rsplit_once(']').map_or(place, |(_, after)| after);
    match after_host.contains(':') {
        true => Ok(()),
        false => Err("the proxy has no port"),
    }
}

/// A proxy's URL without its user and password, whatever they hold.
pub(super) fn proxy_mask(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + 3);
    match text[start..].rfind('@') {
        Some(at) => format!("{}{MASK}{}", &text[..start], &text[start + at..]),
        None => text.to_owned(),
    }
}

/// What was written for a proxy, for a message: what is neither a word nor a whole URL may hold a password
/// anywhere.
pub(super) fn proxy_shown(text: &str) -> String {
    let word = text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if word || telemetry_delivery::check_proxy(text).is_ok() {
        return super::units::quoted(&proxy_mask(text));
    }
    MASK.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        let refusal = parse(url).unwrap_err();
        format!(
            "{} | {}",
            refusal.message.unwrap_or_default(),
            refusal.hint.unwrap_or_default()
        )
    }

    #[test]
    fn https_urls_are_taken_whole() {
        for url in [
            "https://telemetry.example.org/v1/events",
            "HTTPS://example.org",
            "https://192.0.2.1:8443/?query=INSERT%20INTO%20t%20FORMAT%20JSONEachRow",
            "https://[2001:db8::1]:8443/x",
            "https://my_host/x",
        ] {
            assert_eq!(
                parse(url),
                Ok(Reach {
                    https: true,
                    loopback: false
                }),
                "{url}"
            );
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_by_address() {
        for url in [
            "http://localhost:1/x",
            "http://127.0.0.1",
            "http://127.9.9.9:80/",
            "http://[::1]:8080/x",
        ] {
            assert_eq!(
                parse(url),
                Ok(Reach {
                    https: false,
                    loopback: true
                }),
                "{url}"
            );
        }
        for url in [
            "http://localhost.example.org",
            "http://127.0.0.1.example.org/",
            "http://[::2]/",
        ] {
            assert!(!parse(url).unwrap().loopback, "{url}");
        }
    }

    #[test]
    fn a_url_without_a_scheme_is_an_error_that_suggests_https() {
        let text = refused("telemetry.example.org/v1/events");
        assert!(
            text.contains("no scheme") && text.contains("\"https://telemetry.example.org/v1/events\""),
            "{text}"
        );
        assert!(refused("localhost:8080/x").contains("\"http://localhost:8080/x\""));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for (url, why) in [
            ("", "empty"),
            ("ftp://example.org", "neither https nor http"),
            ("https://", "no valid host"),
            ("https:///path", "no valid host"),
            ("https://exa mple.org/", "no valid host"),
            ("https://example.org:0/", "no valid host"),
            ("https://example.org:70000/", "no valid host"),
            ("https://example.org:+80/", "no valid host"),
            ("https://1.2.3/", "no valid host"),
            ("https://127.1/", "no valid host"),
            ("https://[::1/", "no valid host"),
            ("https://bücher.example/", "no valid host"),
            ("https://example.org/#top", "fragment"),
            ("https://example.org/a b", "%20"),
            ("https://example.org/?q={}", "%7B"),
            ("https://u:p@example.org/", "credentials"),
        ] {
            assert!(refused(url).contains(why), "{url}: {}", refused(url));
        }
    }

    #[test]
    fn credentials_are_never_shown() {
        for (url, shown) in [
            ("https://u:pw@example.org/x", "https://*****@example.org/x"),
            ("https://u:p/w@example.org/x", "https://*****@example.org/x"),
            ("u:pw@example.org/x", "*****@example.org/x"),
            ("https://example.org/users/@me", "https://example.org/users/@me"),
            (
                "https://h/?user=u&password=pw&query=q&x",
                "https://h/?user=*****&password=*****&query=q&*****",
            ),
            ("https://h/?API_KEY=k&", "https://h/?API_KEY=*****&"),
        ] {
            assert_eq!(mask(url), shown);
        }
        assert!(!refused("https://user:hunter2@example.org/").contains("hunter2"));
        assert!(!refused("user:hunter2@example.org/x").contains("hunter2"));
    }

    #[test]
    fn a_proxy_is_a_word_or_a_url_with_scheme_and_port() {
        for text in [
            "from-environment",
            "none",
            "http://proxy.example:3128",
            "HTTP://192.0.2.1:8080/",
            "https://u:p%40ss@proxy.example:443",
            "http://u:p@ss/word@[2001:db8::1]:3128",
        ] {
            assert_eq!(proxy(text), Ok(()), "{text}");
        }
        for (text, why) in [
            ("", "no scheme"),
            ("from-enviroment", "no scheme"),
            ("proxy.example:3128", "no scheme"),
            ("http://proxy.example", "no port"),
            ("http://[2001:db8::1]", "no port"),
            ("http://proxy.example:0", "port"),
            ("http://proxy.example:3128/path", "not a proxy's URL"),
            ("http://bücher.example:3128", "not a proxy's URL"),
            ("http://-a:3128", "host and port"),
            ("socks5://proxy.example:1080", "SOCKS"),
            ("http://user:hunter2", "port"),
        ] {
            let found = proxy(text).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
        assert_eq!(proxy_shown("http://u:hun@ter/2@p:1"), "\"http://*****@p:1\"");
        assert_eq!(proxy_shown("from-enviroment"), "\"from-enviroment\"");
        for broken in [
            "http://user:hunter2",
            "user:hunter2@proxy:1:1",
            "socks5://u:hunter2@proxy:1",
        ] {
            assert!(!proxy_shown(broken).contains("hunter2"), "{broken}");
        }
    }
}
