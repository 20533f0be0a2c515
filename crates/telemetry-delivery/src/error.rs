//! Why a destination cannot be used, with what to change. No message carries a credential.

/// A destination that is not usable as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The URL has no scheme.
    #[error("url = \"{url}\" has no scheme: did you mean \"https://{url}\"?")]
    NoScheme {
        /// The URL, masked.
        url: String,
    },
    /// A scheme other than https and http.
    #[error("url = \"{url}\" has the scheme \"{scheme}\": use https")]
    Scheme {
        /// The URL, masked.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// Plain http to a host that is not this one.
    #[error(
        "url = \"{url}\" is plain http to another host: use https, or set allow_insecure = true to send \
         in clear"
    )]
    Insecure {
        /// The URL, masked.
        url: String,
    },
    /// Credentials in the URL.
    #[error("url = \"{url}\" has a user part: use auth = {{ basic = \"user:password\" }} instead")]
    UserPart {
        /// The URL, masked.
        url: String,
    },
    /// Not a URL otherwise.
    #[error("url = \"{url}\" is not a valid URL: {problem}")]
    Url {
        /// The URL, masked.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A header's name cannot stand in a request.
    #[error("headers: \"{name}\" is not a valid header name")]
    HeaderName {
        /// The name.
        name: String,
    },
    /// A header's value cannot stand in a request.
    #[error("headers: the value of \"{name}\" is not a valid header value: use visible ASCII characters")]
    HeaderValue {
        /// The header's name.
        name: String,
    },
    /// A header that is not the config's to set.
    #[error("headers: \"{name}\" cannot be set here: {instead}")]
    HeaderForbidden {
        /// The header's name.
        name: String,
        /// What sets it.
        instead: &'static str,
    },
    /// A header that is there twice.
    #[error("headers: \"{name}\" is given twice")]
    HeaderTwice {
        /// The header's name.
        name: String,
    },
    /// A credential that cannot be used.
    #[error("auth: {problem}")]
    Auth {
        /// What is wrong with it, without its value.
        problem: &'static str,
    },
    /// A proxy that cannot be used.
    #[error("proxy = \"{url}\": {problem}")]
    Proxy {
        /// The proxy's URL, masked.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A request that may take no time at all.
    #[error("timeout must be longer than zero")]
    Timeout,
}
