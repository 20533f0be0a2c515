//! The request: what is checked of a destination before anything is opened, and its head.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Scheme, Uri};
use http::{Method, Request, Version};
use http_body_util::Full;
use rustls::pki_types::ServerName;
use uuid::Uuid;

use super::compress::content_encoding;
use crate::encode::content_type;
use crate::error::BuildError;
use crate::mask;
use crate::preview::batch_id;
use crate::types::{Auth, Destination, Secret};

/// The header that carries the batch's id (draft-ietf-httpapi-idempotency-key-header; sent bare, as most
/// servers that know it expect).
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Where requests go: the URL, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) uri: Uri,
    /// Host and port as `Host` has them; the port only where the URL has one.
    pub(super) authority: String,
    /// The certificate's name; `None` for plain http.
    pub(super) tls_name: Option<ServerName<'static>>,
    /// Plain http that must not leave this machine.
    pub(super) loopback_only: bool,
}

impl Target {
    /// Checks a destination's URL. Resolves nothing.
    pub(super) fn parse(destination: &Destination) -> Result<Self, BuildError> {
        Self::parse_url(&destination.url, destination.allow_insecure)
    }

    /// The same of a URL alone.
    pub(super) fn parse_url(text: &str, allow_insecure: bool) -> Result<Self, BuildError> {
        let url = || mask::url(text);
        let problem = |problem: &str| BuildError::Url {
            url: url(),
            problem: problem.to_owned(),
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(BuildError::NoScheme { url: url() });
        };
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => {
                return Err(BuildError::Scheme {
                    url: url(),
                    scheme: scheme.to_owned(),
                });
            }
        };
        if rest
            .split(['/', '?', '#'])
            .next()
            .unwrap_or_default()
            .contains('@')
        {
            return Err(BuildError::UserPart { url: url() });
        }
        if text.contains('#') {
            return Err(problem(
                "a fragment (#…) is never sent: write %23 if it is part of the path or query",
            ));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(problem(
                "write spaces and characters beyond ASCII percent-encoded, and host names in punycode",
            ));
        }
        let uri: Uri = text
            .parse()
            .map_err(|error: http::uri::InvalidUri| problem(&error.to_string()))?;
        let authority = uri.authority().ok_or_else(|| problem("it has no host"))?;
        if authority
            .as_str()
            .rsplit_once(']')
            .map_or(authority.as_str(), |(_, port)| port)
            .contains(':')
            && authority.port_u16().is_none_or(|port| port == 0)
        {
            return Err(problem("its port is not a number from 1 to 65535"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(problem("it has no host"));
        }
        let tls_name = if tls {
            Some(ServerName::try_from(host.to_owned()).map_err(|_| problem("its host is not a valid name"))?)
        } else {
            None
        };
        let loopback_only = !tls && !allow_insecure;
        if loopback_only && !is_loopback(host) {
            return Err(BuildError::Insecure { url: url() });
        }
        let authority = authority.to_string();
        Ok(Self {
            uri,
            authority,
            tls_name,
            loopback_only,
        })
    }

    /// The host; an IPv6 address in brackets.
    pub(super) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    /// Host and port, the port always: what a proxy is asked for (RFC 9110, section 9.3.6).
    pub(super) fn host_and_port(&self) -> String {
        let port = self.uri.port_u16();
        let port = port.unwrap_or(if self.tls_name.is_some() { 443 } else { 80 });
        format!("{}:{port}", self.host())
    }
}

/// By name or address. Where the name leads is checked again when it is looked up.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// telemetryd's name and version, for the endpoint and for a proxy.
pub(super) fn user_agent(version: &str) -> String {
    format!("telemetryd/{version}")
}

/// Headers of every request that come from the destination's settings, credentials aside.
pub(crate) fn own_headers(destination: &Destination, version: &str) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("user-agent", user_agent(version)),
        ("content-type", content_type(destination.encoding).to_owned()),
    ];
    if let Some(coding) = content_encoding(destination.compression) {
        headers.push(("content-encoding", coding.to_owned()));
    }
    headers
}

/// What every request carries, credentials and the batch's id aside; the config's headers checked.
pub(super) fn fixed_headers(destination: &Destination, version: &str) -> Result<HeaderMap, BuildError> {
    let mut headers = HeaderMap::new();
    for (name, value) in own_headers(destination, version) {
        let value = HeaderValue::from_str(&value).map_err(|_| BuildError::HeaderValue {
            name: name.to_owned(),
        })?;
        headers.insert(HeaderName::from_static(name), value);
    }
    for (name, value) in &destination.headers {
        let parsed: HeaderName = name.parse().map_err(|_| BuildError::HeaderName {
            name: name.chars().take(64).collect(),
        })?;
        if let Some(instead) = forbidden(&parsed, &destination.auth) {
            return Err(BuildError::HeaderForbidden {
                name: name.clone(),
                instead,
            });
        }
        let mut value =
            HeaderValue::from_str(value).map_err(|_| BuildError::HeaderValue { name: name.clone() })?;
        // Many services take their key in a header of their own: none is shown, nor kept in HPACK's table.
        value.set_sensitive(true);
        if headers.insert(&parsed, value).is_some() {
            return Err(BuildError::HeaderTwice { name: name.clone() });
        }
    }
    Ok(headers)
}

/// What sets a header, if the config's `headers` may not.
fn forbidden(name: &HeaderName, auth: &Auth) -> Option<&'static str> {
    if name == IDEMPOTENCY_KEY {
        return Some("it is the batch's id");
    }
    if name.as_str().starts_with("proxy-") {
        return Some("it belongs to a proxy, not to the endpoint");
    }
    Some(match *name {
        header::HOST => "it comes from url",
        header::CONTENT_TYPE => "it comes from encoding",
        header::CONTENT_ENCODING => "it comes from compression",
        header::USER_AGENT => "it is telemetryd's name and version",
        header::AUTHORIZATION if *auth != Auth::None && !auth.in_body() => "it comes from auth",
        header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::TRAILER => "it comes from the body",
        header::CONNECTION | header::UPGRADE | header::TE | header::EXPECT => "it belongs to the connection",
        ref other if matches!(other.as_str(), "keep-alive" | "http2-settings") => {
            "it belongs to the connection"
        }
        _ => return None,
    })
}

/// Checks what can be known of a credential without reading files or variables.
pub(super) fn check_auth(auth: &Auth) -> Result<(), BuildError> {
    let problem = |problem| Err(BuildError::Auth { problem });
    let Some(secret) = auth.secret() else {
        return Ok(());
    };
    let basic = matches!(auth, Auth::Basic(_));
    match secret {
        Secret::Inline(text) if text.trim().is_empty() => problem("the credential is empty"),
        Secret::Inline(text) if basic && !text.contains(':') => problem("basic must be \"user:password\""),
        Secret::Inline(text) if !basic && HeaderValue::from_str(text).is_err() => {
            problem("the credential holds characters that cannot stand in a header")
        }
        Secret::File(path) if path.as_os_str().is_empty() => problem("the credential's file has no name"),
        Secret::Env(name) if name.is_empty() || name.contains(['=', '\0']) => {
            problem("the credential's variable has no valid name")
        }
        _ => Ok(()),
    }
}

/// The whole request.
pub(super) fn build(
    target: &Target,
    fixed: &HeaderMap,
    authorization: Option<&HeaderValue>,
    batch: Uuid,
    body: Bytes,
    h2: bool,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut headers = fixed.clone();
    headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(&batch_id(batch))?);
    addressed(target, Method::POST, headers, authorization, body, h2)
}

/// A request for nothing, to see whether the endpoint is there: with the same headers, those of the body aside.
pub(super) fn head(
    target: &Target,
    fixed: &HeaderMap,
    authorization: Option<&HeaderValue>,
    h2: bool,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut headers = fixed.clone();
    headers.remove(header::CONTENT_TYPE);
    headers.remove(header::CONTENT_ENCODING);
    addressed(target, Method::HEAD, headers, authorization, Bytes::new(), h2)
}

fn addressed(
    target: &Target,
    method: Method,
    mut headers: HeaderMap,
    authorization: Option<&HeaderValue>,
    body: Bytes,
    h2: bool,
) -> Result<Request<Full<Bytes>>, http::Error> {
    if let Some(value) = authorization {
        headers.insert(header::AUTHORIZATION, value.clone());
    }
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    if h2 {
        // HTTP/2 takes host and scheme from the URI.
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = target.uri.clone();
    } else {
        headers.insert(header::HOST, HeaderValue::from_str(&target.authority)?);
        let path = target.uri.path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(
            || Ok(Uri::from_static("/")),
            |path| Uri::builder().path_and_query(path).build(),
        )?;
    }
    *request.headers_mut() = headers;
    debug_assert!(target.tls_name.is_some() == (target.uri.scheme() == Some(&Scheme::HTTPS)));
    Ok(request)
}
