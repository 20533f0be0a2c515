//! Credentials out of what is shown: URLs, headers, and answers that echo what they were sent.

/// What stands where a credential was.
pub(crate) const MASK: &str = "*****";

/// Query parameters whose values are shown: ClickHouse's statement and its companions, which say where the
/// events go. Every other value may be a key, so a list of what is *not* secret is the only safe one.
const SHOWN: [&str; 3] = ["query", "database", "format"];

/// The URL with its user part and the values of its query masked.
pub(crate) fn url(url: &str) -> String {
    let (start, query) = match url.split_once('?') {
        Some((start, query)) => (start, Some(query)),
        None => (url, None),
    };
    let mut shown = without_user(start);
    if let Some(query) = query {
        for (index, pair) in query.split('&').enumerate() {
            shown.push(if index == 0 { '?' } else { '&' });
            match pair.split_once('=') {
                Some((name, _)) if !SHOWN.contains(&name) => {
                    shown.push_str(name);
                    shown.push('=');
                    shown.push_str(MASK);
                }
                Some(_) => shown.push_str(pair),
                // A value without a name: a key in some old interfaces.
                None if pair.is_empty() => {}
                None => shown.push_str(MASK),
            }
        }
    }
    shown
}

/// A proxy's URL with its user part masked, whatever its password holds: everything up to the last `@`.
pub(crate) fn proxy(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    match url[start..].rfind('@') {
        Some(at) => format!("{}{MASK}{}", &url[..start], &url[start + at..]),
        None => url.to_owned(),
    }
}

/// The URL without its query and its user part: what the sent log keeps.
pub(crate) fn url_without_query(url: &str) -> String {
    without_user(url.split(['?', '#']).next().unwrap_or_default())
}

fn without_user(start: &str) -> String {
    let authority_at = start.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = start.split_at(authority_at);
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}{MASK}{}", &rest[at..]),
        None => start.to_owned(),
    }
}

/// The values of the query that [`url`] masks, as they stand there.
pub(crate) fn query_values(url: &str) -> impl Iterator<Item = &str> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter_map(|pair| match pair.split_once('=') {
        Some((name, _)) if SHOWN.contains(&name) => None,
        Some((_, value)) => Some(value),
        None => Some(pair),
    })
}

/// `bytes` with every occurrence of `secret` masked. A secret of fewer than four bytes is left: masking
/// it would tell it.
pub(crate) fn erase(bytes: &mut Vec<u8>, secret: &[u8]) {
    if secret.len() < 4 || memchr::memmem::find(bytes, secret).is_none() {
        return;
    }
    let mut erased = Vec::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    while let Some(at) = memchr::memmem::find(rest, secret) {
        erased.extend_from_slice(&rest[..at]);
        erased.extend_from_slice(MASK.as_bytes());
        rest = &rest[at + secret.len()..];
    }
    erased.extend_from_slice(rest);
    *bytes = erased;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_key_in_a_url_is_masked() {
        let table = [
            ("https://a.example/v1", "https://a.example/v1"),
            (
                "https://a.example/v1?key=s3cret&x=1",
                "https://a.example/v1?key=*****&x=*****",
            ),
            ("https://a.example/?s3cret", "https://a.example/?*****"),
            (
                "https://bob:s3cret@a.example/p?k=s3cret",
                "https://*****@a.example/p?k=*****",
            ),
            ("https://bob@a.example", "https://*****@a.example"),
            (
                "http://[::1]:8123/?query=INSERT%20INTO%20t%20FORMAT%20JSONEachRow&password=s3cret",
                "http://[::1]:8123/?query=INSERT%20INTO%20t%20FORMAT%20JSONEachRow&password=*****",
            ),
            ("a.example/v1?key=s3cret", "a.example/v1?key=*****"),
            ("bob:s3cret@a.example/v1", "*****@a.example/v1"),
        ];
        for (url_in, shown) in table {
            assert_eq!(url(url_in), shown);
            assert!(!url(url_in).contains("s3cret"));
        }
    }

    #[test]
    fn a_proxys_password_is_masked_whatever_it_holds() {
        for (url, shown) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://u:s3cret@proxy:3128", "http://*****@proxy:3128"),
            ("http://u:s3/c@r?et@proxy:3128/", "http://*****@proxy:3128/"),
            ("u:s3cret@proxy", "*****@proxy"),
        ] {
            assert_eq!(proxy(url), shown);
        }
    }

    #[test]
    fn the_sent_log_gets_no_query() {
        assert_eq!(
            url_without_query("https://u:p@a.example/v1?key=s3cret#f"),
            "https://*****@a.example/v1"
        );
    }

    #[test]
    fn an_echoed_secret_is_erased_wherever_it_stands() {
        let mut answer = b"tok-1234 and tok-1234, tok-123".to_vec();
        erase(&mut answer, b"tok-1234");
        assert_eq!(answer, b"***** and *****, tok-123");
    }
}
