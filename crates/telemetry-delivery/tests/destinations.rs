//! What is wrong with a destination is said before anything is opened, with what to change.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::time::Duration;

use telemetry_delivery::{
    Auth, BatchLimits, BuildError, Client, Compression, Confirm, Destination, Encoding, Proxy, Retry, Secret,
    Tls,
};

fn destination(url: &str) -> Destination {
    Destination {
        name: "default".into(),
        url: url.to_owned(),
        encoding: Encoding::Json,
        headers: Vec::new(),
        auth: Auth::None,
        compression: Compression::Gzip,
        timeout: Duration::from_secs(30),
        batch: BatchLimits {
            max_events: 500,
            max_bytes: 256 * 1024,
            max_wait: Duration::from_secs(60),
        },
        retry: Retry {
            initial: Duration::from_secs(5),
            max: Duration::from_secs(1800),
            spread: Duration::from_secs(120),
        },
        confirm: Confirm::Status,
        tls: Tls::default(),
        proxy: Proxy::None,
        allow_insecure: false,
    }
}

fn problem(destination: &Destination) -> BuildError {
    Client::new(destination, "0.1.0").unwrap_err()
}

fn usable(url: &str) {
    if let Err(error) = Client::new(&destination(url), "0.1.0") {
        panic!("{url}: {error}");
    }
}

#[test]
fn https_goes_anywhere_and_http_stays_here() {
    for url in [
        "https://telemetry.example.org/v1/events",
        "https://telemetry.example.org",
        "HTTPS://telemetry.example.org:8443/?a=b",
        "https://192.0.2.7/x",
        "https://[2001:db8::7]:8443/x",
        "http://localhost:8123/?query=INSERT%20INTO%20events%20FORMAT%20JSONEachRow",
        "http://LOCALHOST/",
        "http://127.0.0.1:8080/",
        "http://127.8.9.10/",
        "http://[::1]:8080/x",
    ] {
        usable(url);
    }
    for url in [
        "http://telemetry.example.org/",
        "http://192.0.2.7/",
        "http://localhost.example.org/",
        "http://0.0.0.0/",
    ] {
        assert!(
            matches!(problem(&destination(url)), BuildError::Insecure { .. }),
            "{url}"
        );
        let allowed = Destination {
            allow_insecure: true,
            ..destination(url)
        };
        assert!(Client::new(&allowed, "0.1.0").is_ok(), "{url}");
    }
}

#[test]
fn a_url_without_a_scheme_is_told_to_be_https() {
    let error = problem(&destination("telemetry.example.org/v1/events"));
    assert_eq!(
        error.to_string(),
        "url = \"telemetry.example.org/v1/events\" has no scheme: did you mean \"https://telemetry.example.org/v1/events\"?"
    );
    for url in [
        "",
        "localhost:8080",
        "//telemetry.example.org/",
        "telemetry.example.org:443",
    ] {
        assert!(
            matches!(problem(&destination(url)), BuildError::NoScheme { .. }),
            "{url}"
        );
    }
}

#[test]
fn what_is_no_url_is_refused() {
    for url in ["ftp://a.example/", "htps://a.example/", "file:///etc/passwd"] {
        assert!(
            matches!(problem(&destination(url)), BuildError::Scheme { .. }),
            "{url}"
        );
    }
    for url in [
        "https://",
        "https:///v1",
        "https://:443/",
        "https://a.example:0/",
        "https://a.example:99999/",
        "https://a.example:/",
        "https://a.example/a b",
        "https://a.example/\nX: y",
        "https://a.example/#part",
        "https://bücher.example/",
        "https://a b.example/",
        "https://[::1/",
        "https://exa_mple$/",
    ] {
        let error = problem(&destination(url));
        assert!(matches!(error, BuildError::Url { .. }), "{url:?}: {error}");
    }
    let error = problem(&destination("https://bob:s3cret@a.example/v1?k=s3cret"));
    assert!(matches!(error, BuildError::UserPart { .. }));
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
}

fn with_header(name: &str, value: &str) -> Destination {
    let mut destination = destination("https://a.example/");
    destination.headers = vec![(name.to_owned(), value.to_owned())];
    destination
}

#[test]
fn headers_that_are_not_the_configs_to_set_are_refused() {
    for name in [
        "Host",
        "Content-Length",
        "content-type",
        "CONTENT-ENCODING",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Upgrade",
        "TE",
        "Trailer",
        "Expect",
        "HTTP2-Settings",
        "User-Agent",
        "Idempotency-Key",
        "Proxy-Authorization",
        "Proxy-Connection",
    ] {
        let error = problem(&with_header(name, "x"));
        assert!(
            matches!(error, BuildError::HeaderForbidden { .. }),
            "{name}: {error}"
        );
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn headers_are_checked_and_their_values_not_shown() {
    assert!(Client::new(&with_header("X-Team", "data"), "0.1.0").is_ok());
    for name in ["", "X Team", "X-Täm", "X:", "X\n"] {
        assert!(
            matches!(problem(&with_header(name, "x")), BuildError::HeaderName { .. }),
            "{name:?}"
        );
    }
    for value in ["s3cret\n", "s3cret\u{7f}", "s3\0cret"] {
        let error = problem(&with_header("X-Key", value));
        assert!(matches!(error, BuildError::HeaderValue { .. }));
        assert!(!format!("{error} {error:?}").contains("s3"), "{error}");
    }
    let mut twice = with_header("X-Team", "a");
    twice.headers.push(("x-team".to_owned(), "b".to_owned()));
    assert!(matches!(problem(&twice), BuildError::HeaderTwice { .. }));
}

#[test]
fn authorization_comes_from_auth_or_from_headers_and_not_from_both() {
    let mut destination = with_header("Authorization", "ApiKey s3cret");
    assert!(Client::new(&destination, "0.1.0").is_ok());
    destination.auth = Auth::Bearer(Secret::Inline("tok".to_owned()));
    assert!(matches!(
        problem(&destination),
        BuildError::HeaderForbidden { .. }
    ));
}

#[test]
fn credentials_are_checked_as_far_as_they_are_there() {
    let with = |auth| Destination {
        auth,
        ..destination("https://a.example/")
    };
    for auth in [
        Auth::Bearer(Secret::Inline(" ".to_owned())),
        Auth::Bearer(Secret::Inline("s3\ncret".to_owned())),
        Auth::Basic(Secret::Inline("s3cret".to_owned())),
        Auth::Bearer(Secret::File("".into())),
        Auth::Basic(Secret::Env(String::new())),
        Auth::Basic(Secret::Env("A=B".to_owned())),
    ] {
        let error = problem(&with(auth));
        assert!(matches!(error, BuildError::Auth { .. }));
        assert!(!error.to_string().contains("s3"), "{error}");
    }
    // Files and variables are read when something is sent.
    for auth in [
        Auth::Bearer(Secret::File("/nonexistent/token".into())),
        Auth::Basic(Secret::Env("TELEMETRYD_TEST_NOT_SET".to_owned())),
    ] {
        assert!(Client::new(&with(auth), "0.1.0").is_ok());
    }
}

#[test]
fn a_timeout_of_nothing_is_refused() {
    let destination = Destination {
        timeout: Duration::ZERO,
        ..destination("https://a.example/")
    };
    assert_eq!(problem(&destination), BuildError::Timeout);
}
