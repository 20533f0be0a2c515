//! Why the daemon did not run, or ended: for people on stderr, for scripts by the exit code (CLI.md).

use std::io::Write;

use telemetry_queue::{ErrorKind, QueueError};

use crate::config::Problems;
use crate::{journal, socket};

/// Why the daemon did not run, or ended.
#[derive(Debug)]
pub enum Failure {
    /// The settings are bad.
    Settings(Problems),
    /// Something else about the configuration is bad.
    Config(String),
    /// Not permitted.
    Denied(String),
    /// Everything else.
    Failed(String),
    /// Somebody else has told it already; this is their exit code.
    Told(u8),
}

impl Failure {
    /// The exit code (CLI.md).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Config(_) => 78,
            Self::Denied(_) => 77,
            Self::Failed(_) => 1,
            Self::Told(code) => *code,
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Settings(problems)
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        let mut text = format!("error: {error}");
        let mut cause = std::error::Error::source(&error);
        while let Some(source) = cause {
            text.push_str(&format!("\n  caused by: {source}"));
            cause = source.source();
        }
        match error.kind {
            ErrorKind::NewerSchema => Self::Config(text),
            ErrorKind::Denied => Self::Denied(text),
            ErrorKind::Busy { .. } | ErrorKind::Passing { .. } => {
                Self::Failed(text + "\n  hint: 'telemetryctl status' shows the daemon that runs")
            }
            _ => Self::Failed(text),
        }
    }
}

impl From<socket::SocketError> for Failure {
    fn from(error: socket::SocketError) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!("\n  caused by: {cause}"));
        let text = format!("error: {error}{}", cause.unwrap_or_default());
        match &error {
            socket::SocketError::TooLong(_) => Self::Config(text),
            socket::SocketError::Io { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Self::Denied(text)
            }
            _ => Self::Failed(text),
        }
    }
}

/// A socket that was handed over and is not what it should be: a mistake in the unit, which no new try mends.
impl From<telemetry_activation::ActivationError> for Failure {
    fn from(error: telemetry_activation::ActivationError) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!("\n  caused by: {cause}"));
        Self::Config(format!("error: {error}{}", cause.unwrap_or_default()))
    }
}

/// Says on stderr why it ended.
pub fn tell(failure: &Failure) {
    let text = match failure {
        Failure::Settings(problems) => problems.to_string(),
        Failure::Config(text) | Failure::Denied(text) | Failure::Failed(text)
            if text.starts_with("error: ") =>
        {
            text.clone()
        }
        Failure::Config(text) | Failure::Denied(text) | Failure::Failed(text) => format!("error: {text}"),
        Failure::Told(_) => return,
    };
    // Nobody to tell: fine.
    let mut said = String::new();
    let prefix = if journal::is_stderr() { journal::ERROR } else { "" };
    let _ = journal::prefixed(prefix, text.trim_end(), &mut said);
    let _ = std::io::stderr().write_all(said.as_bytes());
}
