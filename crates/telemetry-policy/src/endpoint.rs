//! Addresses as `destinations.allow` compares them: scheme, host, port, then whole segments of the path. What
//! is not plainly one thing (credentials, dots or escapes among the segments) covers nothing and is covered by
//! nothing.

/// An address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    scheme: String,
    host: String,
    port: u16,
    segments: Vec<String>,
}

impl Endpoint {
    /// `https://host[:port][/path][?query]`; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '\\' | '"' | '<' | '>' | '^' | '`');
        if !text.chars().all(plain) {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an address of version 6 are in brackets.
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, default),
        };
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || host.contains(['@', '%']) || (host.contains(':') && !bracketed) {
            return None;
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<String> = match path {
            "" => Vec::new(),
            path => path.split('/').map(str::to_owned).collect(),
        };
        let crooked = |s: &String| s.is_empty() || s.chars().all(|c| c == '.') || s.contains('%');
        if segments.iter().any(crooked) {
            return None;
        }
        // A name with a dot at its end is the same name.
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
        (!host.is_empty()).then_some(Self {
            scheme,
            host,
            port,
            segments,
        })
    }

    /// Whether `other` is this address or one below it.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.host == other.host
            && self.port == other.port
            && other.segments.starts_with(&self.segments)
    }

    /// Without the path.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    fn covers(allowed: &str, url: &str) -> bool {
        match (Endpoint::parse(allowed), Endpoint::parse(url)) {
            (Some(allowed), Some(url)) => allowed.covers(&url),
            _ => false,
        }
    }

    #[test]
    fn the_same_origin_and_whole_segments_are_covered() {
        for (allowed, url) in [
            ("https://a.example", "https://a.example"),
            ("https://a.example", "https://A.EXAMPLE.:443/x/y?z#f"),
            ("https://a.example/", "https://a.example/x"),
            ("https://a.example/x/", "https://a.example/x"),
            ("https://a.example/x", "https://a.example/x/y"),
            ("HTTPS://a.example:443", "https://a.example"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
            ("https://[::1]:9/in", "https://[::1]:9/in"),
        ] {
            assert!(covers(allowed, url), "{allowed} covers {url}");
        }
    }

    #[test]
    fn what_is_near_is_not_covered() {
        for (allowed, url) in [
            ("https://a.example", "http://a.example"),
            ("https://a.example", "https://a.example:8443"),
            ("https://a.example", "https://a.example.evil.test"),
            ("https://a.example", "https://a.example@evil.test/"),
            ("https://a.example", "https://evil.test/https://a.example"),
            ("https://a.example/x", "https://a.example/xy"),
            ("https://a.example/x", "https://a.example/x/../y"),
            ("https://a.example/x", "https://a.example/x/%2e%2e/y"),
            ("https://a.example/x", "https://a.example//x"),
            ("https://a.example/x", "https://a.example\\@evil.test/x"),
            ("https://a.example/x", "https://a.example/y?/x"),
            ("https://a.example", "ftp://a.example"),
            ("https://a.example", "https://a.example:0x1bb/"),
            ("a.example", "https://a.example"),
            ("https://", "https://a.example"),
        ] {
            assert!(!covers(allowed, url), "{allowed} does not cover {url}");
        }
    }
}
