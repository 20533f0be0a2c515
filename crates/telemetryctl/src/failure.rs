//! What went wrong, as a person reads it: what was attempted on what, the causes once each, and a hint
//! where a person can act.
//!
//! ```text
//! error: cannot reach telemetryd at /run/user/1000/telemetryd/telemetryd.sock
//!   caused by: connection refused
//!   hint: start it with 'systemctl --user start telemetryd.socket', or run 'telemetryd' in a terminal
//! ```

use std::fmt;
use std::io;

use crate::exit::Exit;
use crate::words::plain;

/// The end of a command that did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// Empty: nothing is said (a closed pipe, or a command that has said it all).
    what: String,
    causes: Vec<String>,
    hints: Vec<String>,
}

impl Failure {
    /// Says what was attempted on what, lowercase, without the cause.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            causes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// It failed.
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    /// The command has said what there is to say; only the exit code is left.
    pub(crate) fn said(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// With a cause, one level each.
    pub(crate) fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// With what the system said, in words and without its number.
    pub(crate) fn caused_by_io(self, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => self.caused_by("there is no such file"),
            kind => self.caused_by(kind),
        }
    }

    /// With something that a person can do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Whether there is anything to say.
    pub(crate) fn is_silent(&self) -> bool {
        self.what.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", plain(&self.what))?;
        for cause in &self.causes {
            write!(f, "\n  caused by: {}", plain(cause))?;
        }
        for hint in &self.hints {
            write!(f, "\n  hint: {}", plain(hint))?;
        }
        Ok(())
    }
}

/// Writing to stdout failed. Whoever reads it may have had enough: that is success.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::said(Exit::Done);
        }
        Self::failed("cannot write to stdout").caused_by_io(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_three_lines_at_most_one_of_each_kind() {
        let failure = Failure::new(Exit::NoDaemon, "cannot reach telemetryd at /s")
            .caused_by("connection refused")
            .hint("run 'telemetryd' in a terminal");
        assert_eq!(
            failure.to_string(),
            "error: cannot reach telemetryd at /s\n  caused by: connection refused\n  hint: run 'telemetryd' in a terminal"
        );
    }

    #[test]
    fn a_closed_pipe_is_success() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_silent() && failure.exit == Exit::Done);
        let failure = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(!failure.is_silent() && failure.exit == Exit::Failed);
    }
}
