//! The configuration of a daemon that is measured: defaults, but for what a scenario says.

/// What differs between the daemons that are measured.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where events go.
    pub(crate) url: String,
    /// `destinations.default.compression`.
    pub(crate) compression: &'static str,
    /// `destinations.default.batch.max_wait`; `None` for its default.
    pub(crate) max_wait: Option<&'static str>,
    /// For all users, at default limits.
    pub(crate) system: bool,
    /// HTTP is taken, on a port of the daemon's choice.
    pub(crate) gateway: bool,
    /// A queue that fits into a small file system.
    pub(crate) small: bool,
    /// More lines of `[destinations.default]`.
    pub(crate) more: &'static str,
}

impl Settings {
    /// With the default compression.
    pub(crate) fn to(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            compression: "gzip",
            max_wait: None,
            system: false,
            gateway: false,
            small: false,
            more: "",
        }
    }

    /// The limits of `[queue]` raised, everything else at its default but what is said here.
    pub(crate) fn text(&self) -> String {
        let max_wait = self
            .max_wait
            .map(|wait| format!("batch.max_wait = \"{wait}\"\n"))
            .unwrap_or_default();
        let queue = if self.small {
            "[queue]\nmax_bytes = \"8MiB\"\nmax_bytes_per_tool = \"8MiB\"\n\n"
        } else if self.system {
            ""
        } else {
            "[queue]\nmax_bytes = \"16GiB\"\nmax_bytes_per_tool = \"16GiB\"\n\n"
        };
        let gateway = match self.gateway {
            true => "[gateway]\nlisten = \"127.0.0.1:0\"\n\n",
            false => "",
        };
        format!(
            "[daemon]\nshutdown_drain = \"0s\"\nlog = \"warn\"\n\n\
             {gateway}{queue}[destinations.default]\nurl = \"{}\"\ncompression = \"{}\"\nretry.initial = \"50ms\"\n\
             retry.spread = \"0s\"\n{max_wait}{}",
            self.url, self.compression, self.more
        )
    }
}
