//! What a request's head has to be before anything of its body is read: meant for this place, from no web page, and
//! JSON. (A page that a browser shows can reach loopback, by a name that it points there; what it cannot do is to
//! send another `Host`, to leave out `Origin`, or to send JSON unasked.)

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, StatusCode, Uri};

use crate::answer::Refusal;
use crate::settings::Settings;

/// Content types that are read.
const TYPES: [&str; 4] = [
    "application/json",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
];

/// How a body was packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packed {
    /// Not at all.
    Not,
    /// By gzip.
    Gzip,
}

/// Where a request was meant to go, and from where. `port`: the one that is listened on.
pub(crate) fn head(
    uri: &Uri,
    headers: &HeaderMap,
    settings: &Settings,
    port: Option<u16>,
) -> Result<(), Refusal> {
    if headers.contains_key(ORIGIN) {
        return Err(Refusal::forbidden(
            "a request with an Origin is a web page's; none are taken",
        ));
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (uri.authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) => None,
        // RFC 9112, section 3.2.2: in the absolute form, the authority is what counts.
        (Some(authority), _, None) => Some(authority.as_str()),
        (None, Some(host), None) => host.to_str().ok(),
        (None, None, None) => None,
    };
    if host.is_some_and(|host| is_ours(host, settings, port)) {
        return Ok(());
    }
    Err(Refusal::forbidden(
        "Host: expected the listening address, localhost, or one of gateway.proxy_hosts",
    ))
}

fn is_ours(host: &str, settings: &Settings, port: Option<u16>) -> bool {
    let listed = |host: &str| {
        settings
            .proxy_hosts
            .iter()
            .any(|listed| listed.eq_ignore_ascii_case(host))
    };
    if listed(host) || (!host.contains(':') && listed(&format!("{host}:80"))) {
        return true;
    }
    let (name, given) = match host.rsplit_once(':') {
        // The colons of an IPv6 address alone are within its brackets.
        Some((name, digits)) if !digits.contains(']') => match digits.parse::<u16>() {
            Ok(given) => (name, Some(given)),
            Err(_) => return false,
        },
        _ => (host, None),
    };
    if given.is_some() && port.is_some() && given != port {
        return false;
    }
    let address = match &settings.listen {
        crate::Listen::Tcp(address) => match address.ip() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        },
        _ => return name.eq_ignore_ascii_case("localhost"),
    };
    name.eq_ignore_ascii_case("localhost") || name == address
}

/// What the body is said to be.
pub(crate) fn content(headers: &HeaderMap) -> Result<Packed, Refusal> {
    let unsupported = |message| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", message);
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let kind = text(CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !TYPES.iter().any(|taken| taken.eq_ignore_ascii_case(kind)) {
        return Err(unsupported(
            "Content-Type: expected application/json, or application/x-ndjson for lines",
        ));
    }
    match text(CONTENT_ENCODING).unwrap_or("identity").trim() {
        "identity" | "" => Ok(Packed::Not),
        encoding if encoding.eq_ignore_ascii_case("gzip") => Ok(Packed::Gzip),
        _ => Err(unsupported("Content-Encoding: expected gzip or none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            listen: crate::Listen::Tcp(([127, 0, 0, 1], 7423).into()),
            proxy_hosts: vec!["192.0.2.1:8000".to_owned(), "vendor.example:80".to_owned()],
            ..Settings::default()
        }
    }

    #[test]
    fn a_request_is_meant_for_this_place_or_is_refused() {
        let settings = settings();
        for ours in [
            "127.0.0.1:7423",
            "127.0.0.1",
            "localhost",
            "LOCALHOST:7423",
            "192.0.2.1:8000",
            "vendor.example",
        ] {
            assert!(is_ours(ours, &settings, Some(7423)), "{ours}");
        }
        for foreign in [
            "",
            "evil.example",
            "evil.example:7423",
            "localhost.evil.example",
            "127.0.0.1:80",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "192.0.2.1:8001",
            "[::1]:7423",
            "localhost:x",
        ] {
            assert!(!is_ours(foreign, &settings, Some(7423)), "{foreign}");
        }
    }

    #[test]
    fn the_absolute_form_says_where_to_and_an_origin_is_refused_whatever_it_says() {
        let (settings, port) = (settings(), Some(7423));
        let mut headers = HeaderMap::new();
        assert!(
            head(&Uri::from_static("/v1/track"), &headers, &settings, port).is_err(),
            "no Host"
        );
        headers.insert(HOST, "127.0.0.1:7423".parse().unwrap());
        assert!(head(&Uri::from_static("/v1/track"), &headers, &settings, port).is_ok());
        let elsewhere = Uri::from_static("http://elsewhere.example/v1/track");
        assert!(head(&elsewhere, &headers, &settings, port).is_err());
        assert!(
            head(
                &Uri::from_static("http://192.0.2.1:8000/x"),
                &headers,
                &settings,
                port
            )
            .is_ok()
        );
        headers.append(HOST, "evil.example".parse().unwrap());
        assert!(
            head(&Uri::from_static("/v1/track"), &headers, &settings, port).is_err(),
            "two Hosts"
        );
        headers.insert(HOST, "127.0.0.1:7423".parse().unwrap());
        headers.insert(ORIGIN, "http://127.0.0.1:7423".parse().unwrap());
        assert!(head(&Uri::from_static("/v1/track"), &headers, &settings, port).is_err());
    }

    #[test]
    fn only_json_is_read_plain_or_gzipped() {
        let of = |kind: &str, packed: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            if let Some(packed) = packed {
                headers.insert(CONTENT_ENCODING, packed.parse().unwrap());
            }
            content(&headers).map_err(|refusal| refusal.status.as_u16())
        };
        assert_eq!(of("application/json", None), Ok(Packed::Not));
        assert_eq!(
            of("Application/JSON; charset=utf-8", Some("gzip")),
            Ok(Packed::Gzip)
        );
        assert_eq!(of("application/x-ndjson", Some("identity")), Ok(Packed::Not));
        for (kind, packed) in [
            ("text/plain", None),
            ("application/x-www-form-urlencoded", None),
            ("multipart/form-data", None),
            ("application/json-patch", None),
            ("application/json", Some("br")),
            ("application/json", Some("gzip, gzip")),
        ] {
            assert_eq!(of(kind, packed), Err(415), "{kind} {packed:?}");
        }
        assert_eq!(content(&HeaderMap::new()).unwrap_err().status.as_u16(), 415);
    }
}
