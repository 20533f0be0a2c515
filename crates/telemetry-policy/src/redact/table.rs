//! The closed table of value rules: what is looked for, what stands for it, and where that is written.
//!
//! | rule | stands for it | source |
//! |---|---|---|
//! | home directory of the subject, anywhere | `<path>` | the caller |
//! | name of the subject, as whole words of four characters and more | `<user>` | the caller |
//! | absolute Unix path, `~/…`, `~name/…` | `<path>` | POSIX.1-2017 §3.2, §2.6.1 |
//! | the same with escaped slashes, in JSON within a string | `<path>` | RFC 8259 §7 |
//! | absolute Windows path, share | `<path>` | Microsoft, "Naming Files, Paths, and Namespaces" |
//! | `file:` URL, URL without a host | `<path>` | RFC 8089; SQLAlchemy, "Database URLs" |
//! | URL with credentials, query, or assigned fragment or parameters | `<url>` | RFC 3986 §3.2.1, §3.4; RFC 6749 §4.2.2 |
//! | URL of [`WEBHOOKS`] | `<url>` | beside each |
//! | `user@host:path` | `<url>` | git-clone(1), "GIT URLS" |
//! | e-mail address | `<email>` | RFC 5321 §4.1.2, RFC 6531 |
//! | IPv4 address | `<ip>` | RFC 791 §2.3 |
//! | IPv6 address, with its zone | `<ip>` | RFC 4291 §2.2, RFC 4007 §11 |
//! | MAC address | `<mac>` | IEEE 802-2014 §8.1 |
//! | JSON Web Token | `<secret>` | RFC 7519 §3.1, RFC 7516 §3.1 |
//! | private key block | `<secret>` | RFC 7468 §10, RFC 4880 §6.2, openssh PROTOCOL.key |
//! | credentials of an `Authorization` header | `<secret>` | RFC 6750 §2.1, RFC 7617 §2 |
//! | value assigned to a name of [`ASSIGNED`] | `<secret>` | common in command lines and connection strings |
//! | key of [`KEYS`] | `<secret>` | beside each |
//!
//! Never taken for any of them, and shown in `tests/vectors/redaction/`: versions, module paths (`kedro.framework.cli`),
//! UUIDs, hexadecimal digests, 20 characters of base64 (dlt's hashes), relative paths, dates, the mask of command lines.

use super::bytes::{BASE64URL, HEX, UPPER, WORD};

/// What stands for something that was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// A path on the machine.
    Path,
    /// An e-mail address.
    Email,
    /// A URL that says more than where something is.
    Url,
    /// An address of a machine in a network.
    Ip,
    /// An address of a network card.
    Mac,
    /// A key, a token, a password.
    Secret,
    /// The subject's name.
    User,
}

impl Marker {
    /// All of them.
    pub const ALL: [Marker; 7] = [
        Marker::Path,
        Marker::Email,
        Marker::Url,
        Marker::Ip,
        Marker::Mac,
        Marker::Secret,
        Marker::User,
    ];

    /// As it is written into the text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Marker::Path => "<path>",
            Marker::Email => "<email>",
            Marker::Url => "<url>",
            Marker::Ip => "<ip>",
            Marker::Mac => "<mac>",
            Marker::Secret => "<secret>",
            Marker::User => "<user>",
        }
    }
}

/// How long the marker is that begins this text, if one does.
pub(super) fn marker_at(text: &[u8]) -> Option<usize> {
    Marker::ALL
        .iter()
        .map(|marker| marker.as_str())
        .find(|marker| text.starts_with(marker.as_bytes()))
        .map(str::len)
}

/// Login names that an image or an installer gives to everybody: they say nothing about who, and are words of many
/// tools' own (`airflow` is an execution environment). Compared in lower case.
pub const EVERYONE: [&str; 12] = [
    "root",          // POSIX
    "nobody",        // Linux Standard Base, §24.2
    "administrator", // Windows
    "ubuntu",        // cloud images of Ubuntu
    "debian",        // … of Debian
    "ec2-user",      // … of Amazon Linux
    "vagrant",       // Vagrant boxes
    "runner",        // GitHub Actions' hosted runners
    "jenkins",       // Jenkins' packages and images
    "airflow",       // apache/airflow images
    "jovyan",        // Jupyter Docker Stacks
    "codespace",     // GitHub Codespaces
];

/// Hosts and beginnings of paths after which the rest of the URL is the credential.
pub const WEBHOOKS: [&str; 6] = [
    "hooks.slack.com/",             // Slack, "Sending messages using incoming webhooks"
    "discord.com/api/webhooks/",    // Discord, "Webhook Resource"
    "discordapp.com/api/webhooks/", // … its older name
    "api.telegram.org/bot",         // Telegram, "Making requests"
    "hooks.zapier.com/hooks/",      // Zapier, "Webhooks"
    "outlook.office.com/webhook/",  // Microsoft Teams, "Incoming Webhooks"
];

/// The schemes of an `Authorization` header whose credentials are one word.
pub const SCHEMES: [&str; 2] = ["bearer", "basic"];

/// Names after whose `=` or `:` a value is a secret, wherever in an atom they end (`db_password`, `MY_API_KEY`).
/// Compared without case, `-` as `_`.
pub const ASSIGNED: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "access_key",
    "accesskey",
    "secret_key",
    "secretkey",
    "private_key",
    "privatekey",
    "account_key", // Azure, "Configure Azure Storage connection strings" (AccountKey)
    "accountkey",
    "credential",
];

/// Those of them that are found at the end of any word: `PGPASSWORD` (PostgreSQL, "Environment Variables"), `dbpassword`.
pub const GLUED: [&str; 3] = ["password", "passwd", "passphrase"];

/// Values that are no secret after one of those names.
pub const NOT_ASSIGNED: [&str; 7] = ["none", "null", "nil", "true", "false", "undefined", "unset"];

/// A key format that is known by how it begins.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// What it begins with.
    pub prefix: &'static str,
    /// The classes of bytes that follow.
    pub(super) body: u16,
    /// How many of them at least.
    pub least: u8,
    /// How many at most, 0 for any number.
    pub most: u8,
    /// Whose it is, and where its form is written.
    pub source: &'static str,
}

const fn key(prefix: &'static str, body: u16, least: u8, most: u8, source: &'static str) -> Key {
    Key {
        prefix,
        body,
        least,
        most,
        source,
    }
}

/// Well-known key formats, by their prefix. Lengths are those of the source, or of keys in gitleaks' and GitHub's
/// lists of secret formats where the owner does not say; shorter than the shortest of them is no key.
/// In order of the bytes, so that a word is compared with those alone that begin as it does.
pub const KEYS: [Key; 84] = [
    key("1//0", BASE64URL, 30, 0, "Google: OAuth 2.0 refresh token"),
    key("A3T", UPPER, 17, 17, "AWS: older access key identifiers"),
    key(
        "ABIA",
        UPPER,
        16,
        16,
        "AWS IAM: identifiers, STS service bearer token",
    ),
    key(
        "ACCA",
        UPPER,
        16,
        16,
        "AWS IAM: identifiers, context-specific credential",
    ),
    key(
        "AGE-SECRET-KEY-1",
        UPPER,
        58,
        58,
        "age: specification, X25519 identity",
    ),
    key("AIza", BASE64URL, 35, 35, "Google Cloud: API key"),
    key("AKCp", WORD, 60, 0, "JFrog Artifactory: API key"),
    key("AKIA", UPPER, 16, 16, "AWS IAM: identifiers, access key"),
    key(
        "ASIA",
        UPPER,
        16,
        16,
        "AWS IAM: identifiers, temporary access key",
    ),
    key("ATATT3", BASE64URL, 60, 0, "Atlassian: API token"),
    key("ATCTT3", BASE64URL, 60, 0, "Atlassian: repository access token"),
    key("EAAC", WORD, 60, 0, "Meta: access token"),
    key("GOCSPX-", BASE64URL, 28, 28, "Google: OAuth 2.0 client secret"),
    key("LTAI", WORD, 16, 24, "Alibaba Cloud: AccessKey ID"),
    key("NRAK-", UPPER, 27, 27, "New Relic: user API key"),
    key("PMAK-", BASE64URL, 59, 59, "Postman: API key"),
    key("SG.", BASE64URL, 22, 22, "SendGrid: API key, first part"),
    key("apify_api_", WORD, 30, 0, "Apify: API token"),
    key("cmVmd", WORD, 59, 59, "JFrog Artifactory: reference token"),
    key("dapi", HEX, 32, 34, "Databricks: personal access token"),
    key(
        "dckr_oat_",
        BASE64URL,
        20,
        0,
        "Docker Hub: organization access token",
    ),
    key("dckr_pat_", BASE64URL, 20, 0, "Docker Hub: personal access token"),
    key("doo_v1_", HEX, 64, 64, "DigitalOcean: OAuth token"),
    key("dop_v1_", HEX, 64, 64, "DigitalOcean: personal access token"),
    key("dor_v1_", HEX, 64, 64, "DigitalOcean: refresh token"),
    key("dp.pt.", WORD, 40, 0, "Doppler: personal token"),
    key("dp.st.", WORD, 40, 0, "Doppler: service token"),
    key("dt0c01.", UPPER, 24, 24, "Dynatrace: token format, public part"),
    key("figd_", BASE64URL, 36, 0, "Figma: personal access token"),
    key("fo1_", BASE64URL, 40, 0, "Fly.io: access token"),
    key("gho_", WORD, 36, 0, "GitHub: token formats, OAuth"),
    key("ghp_", WORD, 36, 0, "GitHub: token formats, personal"),
    key("ghr_", WORD, 36, 0, "GitHub: token formats, refresh"),
    key("ghs_", WORD, 36, 0, "GitHub: token formats, server to server"),
    key("ghu_", WORD, 36, 0, "GitHub: token formats, user to server"),
    key(
        "github_pat_",
        BASE64URL,
        40,
        0,
        "GitHub: token formats, fine-grained personal",
    ),
    key(
        "glagent-",
        BASE64URL,
        20,
        0,
        "GitLab: token prefixes, agent for Kubernetes",
    ),
    key("glc_", BASE64URL, 32, 0, "Grafana Cloud: access policy token"),
    key("glcbt-", BASE64URL, 20, 0, "GitLab: token prefixes, CI job"),
    key("gldt-", BASE64URL, 20, 0, "GitLab: token prefixes, deploy"),
    key("glft-", BASE64URL, 20, 0, "GitLab: token prefixes, feed"),
    key(
        "gloas-",
        BASE64URL,
        20,
        0,
        "GitLab: token prefixes, OAuth application secret",
    ),
    key("glpat-", BASE64URL, 20, 0, "GitLab: token prefixes, personal"),
    key("glptt-", BASE64URL, 20, 0, "GitLab: token prefixes, trigger"),
    key(
        "glrt-",
        BASE64URL,
        20,
        0,
        "GitLab: token prefixes, runner authentication",
    ),
    key("glsa_", BASE64URL, 32, 0, "Grafana: service account token"),
    key("gsk_", WORD, 48, 0, "Groq: API key"),
    key("hf_", WORD, 30, 0, "Hugging Face: user access token"),
    key("hvb.", BASE64URL, 24, 0, "HashiCorp Vault: batch token"),
    key("hvs.", BASE64URL, 24, 0, "HashiCorp Vault: service token"),
    key("lin_api_", WORD, 32, 0, "Linear: API key"),
    key("lsv2_", BASE64URL, 32, 0, "LangSmith: API key"),
    key("npm_", WORD, 36, 36, "npm: granular access token"),
    key("ntn_", WORD, 40, 0, "Notion: integration token"),
    key("nvapi-", BASE64URL, 40, 0, "NVIDIA: API key"),
    key("oy2", WORD, 43, 43, "NuGet: API key"),
    key(
        "phx_",
        WORD,
        40,
        0,
        "PostHog: personal API key (phc_, the project's, is public)",
    ),
    key("pplx-", WORD, 40, 0, "Perplexity: API key"),
    key("pscale_", BASE64URL, 32, 0, "PlanetScale: password and tokens"),
    key("pul-", HEX, 40, 40, "Pulumi: access token"),
    key("pypi-", BASE64URL, 50, 0, "PyPI: API token, a macaroon"),
    key("r8_", WORD, 37, 0, "Replicate: API token"),
    key("rk_live_", WORD, 16, 0, "Stripe: restricted key"),
    key("rk_test_", WORD, 16, 0, "Stripe: restricted key, test"),
    key("rubygems_", HEX, 48, 48, "RubyGems: API key"),
    key("sbp_", HEX, 40, 40, "Supabase: access token"),
    key("shpat_", HEX, 32, 32, "Shopify: access token"),
    key("shpca_", HEX, 32, 32, "Shopify: custom app token"),
    key("shppa_", HEX, 32, 32, "Shopify: private app token"),
    key("shpss_", HEX, 32, 32, "Shopify: shared secret"),
    key("sk-", WORD, 40, 0, "OpenAI: API key, older form"),
    key("sk-admin-", BASE64URL, 40, 0, "OpenAI: admin key"),
    key("sk-ant-", BASE64URL, 40, 0, "Anthropic: API key"),
    key("sk-or-v1-", HEX, 64, 64, "OpenRouter: API key"),
    key("sk-proj-", BASE64URL, 40, 0, "OpenAI: project key"),
    key("sk-svcacct-", BASE64URL, 40, 0, "OpenAI: service account key"),
    key("sk_live_", WORD, 16, 0, "Stripe: secret key"),
    key("sk_test_", WORD, 16, 0, "Stripe: secret key, test"),
    key("sntrys_", BASE64URL, 40, 0, "Sentry: organization token"),
    key("sntryu_", HEX, 64, 64, "Sentry: user token"),
    key("tskey-", BASE64URL, 24, 0, "Tailscale: keys"),
    key("whsec_", WORD, 32, 0, "Stripe: webhook signing secret"),
    key("xai-", WORD, 70, 0, "xAI: API key"),
    key("xapp-", BASE64URL, 24, 0, "Slack: token types, app level"),
];
