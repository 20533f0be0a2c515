//! Straight to the endpoint, or through a proxy? Decided once, when a client is made; nothing is opened here.
//!
//! The environment is read by curl's rules (curl(1), "ENVIRONMENT", and `CURLOPT_NOPROXY(3)`): the variable
//! of the URL's scheme, in lower case first, then `ALL_PROXY`; `http_proxy` in lower case alone, since a CGI
//! server makes `HTTP_PROXY` out of a request's header. What is set there and cannot be used is said and
//! holds the destination: to go straight where somebody wanted a proxy would be the worse surprise.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::uri::{Authority, Uri};
use rustls::pki_types::ServerName;

use super::no_proxy;
use super::request::Target;
use crate::error::BuildError;
use crate::mask;
use crate::types::Proxy;

/// Where curl looks for a proxy whose URL names no port (`CURLOPT_PROXY(3)`).
const DEFAULT_PORT: u16 = 1080;

/// The way to the endpoint.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// Straight.
    Direct,
    /// Through a proxy.
    Through(Box<Via>),
    /// The environment wants a proxy that cannot be used; the line says why, without a credential.
    Unusable(String),
}

/// A proxy.
#[derive(Clone, Debug)]
pub(super) struct Via {
    /// Scheme, host and port.
    pub(super) uri: Uri,
    /// The certificate's name, where the proxy is reached by TLS.
    pub(super) tls_name: Option<ServerName<'static>>,
    /// `Proxy-Authorization`, marked sensitive.
    pub(super) authorization: Option<HeaderValue>,
    /// How it is named to people: scheme, host and port.
    pub(super) shown: String,
}

/// Whether a proxy's URL can be used; what is wrong with it is said without a part of it.
///
/// # Errors
/// What is wrong with it.
pub fn check_proxy(url: &str) -> Result<(), &'static str> {
    Via::parse(url).map(drop)
}

impl Route {
    /// Decides. `variable` reads the environment.
    ///
    /// # Errors
    /// The config's own proxy is not one.
    pub(super) fn decide(
        proxy: &Proxy,
        target: &Target,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, BuildError> {
        // Plain http that was promised to stay on this machine is nobody else's to carry.
        if target.loopback_only {
            return Ok(Self::Direct);
        }
        match proxy {
            Proxy::None => Ok(Self::Direct),
            Proxy::Url(url) => match Via::parse(url) {
                Ok(via) => Ok(Self::Through(Box::new(via))),
                Err(problem) => Err(BuildError::Proxy {
                    url: mask::proxy(url),
                    problem,
                }),
            },
            Proxy::FromEnvironment => Ok(Self::of_environment(target, variable)),
        }
    }

    fn of_environment(target: &Target, variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let names: &[&str] = if target.tls_name.is_some() {
            &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
        } else {
            &["http_proxy", "all_proxy", "ALL_PROXY"]
        };
        // The first that is set counts; set to nothing, it says that there is none.
        let found = names
            .iter()
            .find_map(|name| variable(name).map(|value| (*name, value)));
        let Some((name, value)) = found.filter(|(_, value)| !value.trim().is_empty()) else {
            return Self::Direct;
        };
        let exceptions = variable("no_proxy").or_else(|| variable("NO_PROXY"));
        if exceptions.is_some_and(|list| no_proxy::spares(&list, target.host())) {
            return Self::Direct;
        }
        match Via::parse(value.trim()) {
            Ok(via) => Self::Through(Box::new(via)),
            Err(problem) => Self::Unusable(format!(
                "{name} = \"{}\" in the daemon's environment: {problem}",
                mask::proxy(value.trim())
            )),
        }
    }

    /// How the way is named to people.
    pub(super) fn proxy(&self) -> Option<&Via> {
        match self {
            Self::Through(via) => Some(via),
            Self::Direct | Self::Unusable(_) => None,
        }
    }
}

impl Via {
    /// Reads `[http[s]://][user[:password]@]host[:port][/]`; user and password are percent-decoded.
    ///
    /// # Errors
    /// What is wrong with it, without a part of it.
    fn parse(url: &str) -> Result<Self, &'static str> {
        const NOT_A_URL: &str = "it is not a proxy's URL: write \"http://host:port\"";
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            "socks4" | "socks4a" | "socks5" | "socks5h" => {
                return Err("SOCKS is not spoken here: use an HTTP proxy, http://host:port");
            }
            _ => return Err("its scheme is neither http nor https"),
        };
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let authority: Authority = place.parse().map_err(|_| NOT_A_URL)?;
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.is_empty() || place.contains(['/', '?', '#']) {
            return Err(NOT_A_URL);
        }
        let port = match authority.port() {
            Some(port) => port.as_str().parse().ok().filter(|&port| port > 0),
            // A colon with nothing behind it.
            None if place.len() > host.len() => None,
            None => Some(if tls { 443 } else { DEFAULT_PORT }),
        };
        let port = port.ok_or("its port is not a number from 1 to 65535")?;
        let shown = format!("{}://{host}:{port}", if tls { "https" } else { "http" });
        let tls_name = match tls {
            true => Some(ServerName::try_from(bare.to_owned()).map_err(|_| "its host is not a valid name")?),
            false => None,
        };
        Ok(Self {
            uri: shown.parse().map_err(|_| NOT_A_URL)?,
            tls_name,
            authorization: user.map(basic).transpose()?,
            shown,
        })
    }
}

/// `Proxy-Authorization` of RFC 7617 from a URL's user part.
fn basic(user: &str) -> Result<HeaderValue, &'static str> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut pair = decoded(name);
    // RFC 7617, section 2: the user's name has no colon.
    if pair.contains(&b':') {
        return Err("its user has a colon");
    }
    pair.push(b':');
    pair.extend(decoded(password));
    if pair.iter().any(u8::is_ascii_control) {
        return Err("its user or password has control characters");
    }
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| "its user or password cannot stand in a header")?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 3986, section 2.1; a `%` that escapes nothing stands for itself, as curl has it.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

/// Whether `host` is an address, brackets or not.
pub(super) fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, insecure: bool) -> Target {
        Target::parse_url(url, insecure).unwrap()
    }

    /// The proxy that these variables lead to; "-" for none.
    fn route(url: &str, variables: &[(&str, &str)]) -> String {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match Route::decide(&Proxy::FromEnvironment, &target(url, true), &variable).unwrap() {
            Route::Direct => "-".to_owned(),
            Route::Through(via) => via.shown,
            Route::Unusable(why) => format!("unusable: {why}"),
        }
    }

    const FAR: &str = "https://telemetry.example.org/v1";

    #[test]
    fn the_variable_of_the_scheme_counts_before_the_one_for_all_and_lower_case_before_upper() {
        assert_eq!(route(FAR, &[]), "-");
        assert_eq!(route(FAR, &[("HTTPS_PROXY", "http://a:1")]), "http://a:1");
        assert_eq!(
            route(
                FAR,
                &[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:2")]
            ),
            "http://b:2"
        );
        assert_eq!(
            route(FAR, &[("ALL_PROXY", "http://a:1"), ("HTTPS_PROXY", "b:2")]),
            "http://b:2"
        );
        assert_eq!(route(FAR, &[("ALL_PROXY", "http://a:1")]), "http://a:1");
        assert_eq!(route(FAR, &[("all_proxy", "http://a:1")]), "http://a:1");
        // Set to nothing: none, and the others are not asked.
        assert_eq!(
            route(FAR, &[("https_proxy", ""), ("ALL_PROXY", "http://a:1")]),
            "-"
        );
    }

    #[test]
    fn plain_http_takes_no_variable_that_a_request_can_set_and_stays_here_when_it_must() {
        let open = "http://telemetry.example.org/";
        assert_eq!(route(open, &[("HTTP_PROXY", "http://a:1")]), "-");
        assert_eq!(route(open, &[("HTTPS_PROXY", "http://a:1")]), "-");
        assert_eq!(route(open, &[("http_proxy", "http://a:1")]), "http://a:1");
        let here = target("http://127.0.0.1:8080/", false);
        for proxy in [Proxy::FromEnvironment, Proxy::Url("http://a:1".to_owned())] {
            let found = Route::decide(&proxy, &here, &|_| Some("http://a:1".to_owned())).unwrap();
            assert!(matches!(found, Route::Direct));
        }
    }

    #[test]
    fn exceptions_hold_for_the_environment_and_not_for_the_config() {
        let variables = [("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", ".example.org")];
        assert_eq!(route(FAR, &variables), "-");
        let url = Proxy::Url("http://a:1".to_owned());
        let found = Route::decide(&url, &target(FAR, false), &|_| Some("*".to_owned())).unwrap();
        assert!(matches!(found, Route::Through(_)));
        let none = Route::decide(&Proxy::None, &target(FAR, false), &|_| {
            Some("http://a:1".to_owned())
        });
        assert!(matches!(none, Ok(Route::Direct)));
    }

    #[test]
    fn what_cannot_be_used_is_said_and_not_passed_by() {
        for (value, why) in [
            ("socks5h://u:s3cret@localhost:1080", "SOCKS"),
            ("ftp://u:s3cret@a:1", "scheme"),
            ("http://u:s3cret@", "not a proxy's URL"),
            ("http://u:s3cret@a:99999", "port"),
            ("http://u:s3cret@a:1/path", "not a proxy's URL"),
        ] {
            let said = route(FAR, &[("ALL_PROXY", value)]);
            assert!(
                said.starts_with("unusable: ALL_PROXY") && said.contains(why),
                "{said}"
            );
            assert!(!said.contains("s3cret"), "{said}");
            let url = Proxy::Url(value.to_owned());
            let error = Route::decide(&url, &target(FAR, false), &|_| None).unwrap_err();
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_proxys_url_is_read_as_curl_reads_it() {
        let via = |url: &str| Via::parse(url).unwrap();
        assert_eq!(via("proxy").shown, "http://proxy:1080");
        assert_eq!(via("proxy:3128/").shown, "http://proxy:3128");
        assert_eq!(via("https://proxy").shown, "https://proxy:443");
        assert!(via("https://proxy").tls_name.is_some());
        assert_eq!(
            via("http://[2001:db8::1]:3128").shown,
            "http://[2001:db8::1]:3128"
        );
        let authorization = |url: &str| via(url).authorization.unwrap();
        // The example of RFC 7617, section 2.
        let basic = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
        assert_eq!(authorization("http://Aladdin:open%20sesame@proxy:3128"), basic);
        assert!(authorization("http://u:p@proxy").is_sensitive());
        // A password may hold what a URL should not, and a name may come alone.
        assert_eq!(
            authorization("u:p@ss@proxy:1"),
            format!("Basic {}", STANDARD.encode("u:p@ss"))
        );
        assert_eq!(
            authorization("token@proxy:1"),
            format!("Basic {}", STANDARD.encode("token:"))
        );
        assert_eq!(
            authorization("u:100%@proxy:1"),
            format!("Basic {}", STANDARD.encode("u:100%"))
        );
        assert!(!format!("{:?}", via("http://u:s3cret@proxy:1")).contains("s3cret"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_written_for_a_proxy_or_an_exception_panics(text in ".{0,80}", host in ".{0,40}") {
            for url in [text.clone(), format!("http://{text}"), format!("https://u:{text}@{host}")] {
                let _ = Via::parse(&url);
            }
            no_proxy::spares(&text, &host);
        }
    }
}
