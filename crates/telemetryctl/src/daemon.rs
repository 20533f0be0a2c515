//! Asking the daemon: one request, one answer or a list of lines, each with a deadline; and what a person
//! is told when nobody answers.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};
use telemetry_client::connect::Refusal;
use telemetry_client::{ConnectError, Connection, TalkError, connect};

use crate::Context;
use crate::clock;
use crate::exit::Exit;
use crate::failure::Failure;

/// To be taken, and to be answered where the request itself waits for nothing. A daemon that lives answers
/// in milliseconds; one that does not within this time hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to the daemon.
pub(crate) struct Daemon {
    connection: Connection,
}

/// One line from the daemon: as it came, and read.
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) value: Map<String, Value>,
}

impl Line {
    /// A string under `key`, or nothing.
    pub(crate) fn word(&self, key: &str) -> &str {
        word(&self.value, key)
    }

    /// The line's object as it came but without `key`, to the byte.
    pub(crate) fn without(&self, key: &str) -> String {
        let mut members = Vec::new();
        let depth = telemetry_protocol::limits::MAX_DEPTH_CEILING;
        let Ok(object) = telemetry_protocol::json::scan(self.text.as_bytes(), depth, &mut members) else {
            return self.text.clone();
        };
        let kept: Vec<&str> = object
            .members
            .iter()
            .filter(|member| object.text.get(member.key.clone()) != Some(key))
            // A key begins behind its quote.
            .filter_map(|member| object.text.get(member.key.start - 1..member.value.end))
            .collect();
        format!("{{{}}}", kept.join(","))
    }
}

/// A string under `key`, or nothing.
pub(crate) fn word<'a>(object: &'a Map<String, Value>, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Daemon {
    /// Connects to the first daemon that takes the connection.
    ///
    /// # Errors
    /// Exit code 3, and what to do about it.
    pub(crate) fn connect(context: &Context) -> Result<Self, Failure> {
        Self::reach(context).map_err(no_daemon)
    }

    /// The same for whoever can do without: the error is still the library's.
    pub(crate) fn reach(context: &Context) -> Result<Self, ConnectError> {
        Self::reach_within(context, PATIENCE)
    }

    /// The same for whoever has no time.
    pub(crate) fn reach_within(context: &Context, patience: Duration) -> Result<Self, ConnectError> {
        let candidates = context.surroundings.sockets.candidates();
        connect::connect(&candidates, clock::after(patience)).map(|connection| Self { connection })
    }

    /// The one that listens there, and no other.
    pub(crate) fn reach_at(path: &Path) -> Result<Self, ConnectError> {
        connect::connect(&[path.to_owned()], clock::after(PATIENCE)).map(|connection| Self { connection })
    }

    /// Where it listens.
    pub(crate) fn path(&self) -> &Path {
        self.connection.path()
    }

    /// Its process, where the system says it.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.connection.peer_pid()
    }

    /// Sends lines that are complete.
    pub(crate) fn send(&mut self, lines: &[u8], patience: Duration) -> Result<(), TalkError> {
        self.connection.send(lines, clock::after(patience))
    }

    /// The next line.
    pub(crate) fn receive(&mut self, patience: Duration) -> Result<Line, TalkError> {
        let text = self.connection.line(clock::after(patience))?.to_owned();
        match serde_json::from_str(&text) {
            Ok(Value::Object(value)) => Ok(Line { text, value }),
            _ => Err(TalkError::NotALine),
        }
    }

    /// One request, one answer. `patience` is how long the answer may take.
    ///
    /// # Errors
    /// When it is not answered in time, or with an error.
    pub(crate) fn ask(&mut self, request: &Value, patience: Duration) -> Result<Line, Failure> {
        let answer = self.put(request, patience)?;
        accepted(answer)
    }

    /// The same, but an answer `ok: false` is handed back to be looked at.
    pub(crate) fn put(&mut self, request: &Value, patience: Duration) -> Result<Line, Failure> {
        let what = request
            .get("op")
            .and_then(Value::as_str)
            .unwrap_or("event")
            .to_owned();
        let line = format!("{request}\n");
        self.send(line.as_bytes(), PATIENCE)
            .and_then(|()| self.receive(patience))
            .map_err(|error| self.broken(&what, &error))
    }

    /// One request, a line an item, then `end`. Answers the number of items.
    ///
    /// # Errors
    /// As [`Daemon::ask`], and what `each` returns.
    pub(crate) fn list(
        &mut self,
        request: &Value,
        mut each: impl FnMut(Line) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        let mut count = 0;
        self.list_to_end(request, |line| {
            count += 1;
            each(line)
        })?;
        Ok(count)
    }

    /// The same; answers the `end`.
    ///
    /// # Errors
    /// As [`Daemon::list`].
    pub(crate) fn list_to_end(
        &mut self,
        request: &Value,
        mut each: impl FnMut(Line) -> Result<(), Failure>,
    ) -> Result<Line, Failure> {
        let what = request
            .get("op")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        self.send(format!("{request}\n").as_bytes(), PATIENCE)
            .map_err(|error| self.broken(&what, &error))?;
        loop {
            let line = self
                .receive(PATIENCE)
                .map_err(|error| self.broken(&what, &error))?;
            if line.value.contains_key("ok") {
                return accepted(line);
            }
            each(line)?;
        }
    }

    /// What a person is told when the talk breaks off.
    pub(crate) fn broken(&self, what: &str, error: &TalkError) -> Failure {
        let path = self.path().display();
        let failure =
            Failure::failed(format!("telemetryd at {path} did not answer '{what}'")).caused_by(error);
        match error {
            TalkError::TimedOut => failure.hint("'telemetryctl doctor' looks for the reason"),
            TalkError::Closed => failure.hint("it may have stopped meanwhile; its log says why"),
            _ => failure,
        }
    }
}

/// An answer `ok: false` as a failure.
pub(crate) fn accepted(answer: Line) -> Result<Line, Failure> {
    if answer.value.get("ok") != Some(&Value::Bool(false)) {
        return Ok(answer);
    }
    let message = match answer.word("message") {
        "" => "telemetryd refused the request and did not say why",
        message => message,
    };
    let failure = match answer.word("error") {
        "not_allowed" => Failure::new(Exit::NotPermitted, message),
        "unknown_op" => Failure::failed("this telemetryd is older than this telemetryctl")
            .caused_by(message)
            .hint("restart the daemon after an upgrade: 'telemetryctl stop', then start it again"),
        _ => Failure::failed(message),
    };
    Err(failure)
}

/// What a person is told when nobody answers at all.
pub(crate) fn no_daemon(error: ConnectError) -> Failure {
    let exit = match error.cause {
        Refusal::NotPermitted => Exit::NotPermitted,
        _ => Exit::NoDaemon,
    };
    let hint = match error.cause {
        Refusal::Busy => {
            "it runs but does not take connections: 'telemetryctl doctor' looks for the reason".to_owned()
        }
        Refusal::NotPermitted => "another user's daemon listens there".to_owned(),
        Refusal::BadPath(_) => "choose a shorter one with --socket or TELEMETRYD_SOCKET".to_owned(),
        _ if Path::new("/run/systemd/system").is_dir() => {
            format!("{}, or run 'telemetryd' in a terminal", how_to_start())
        }
        _ => "run 'telemetryd' in a terminal, or 'telemetryd --background'".to_owned(),
    };
    let mut failure = Failure::new(exit, error.to_string()).caused_by(&error.cause);
    // Where a machine has no machine-wide daemon, its socket's absence says nothing.
    for (path, refusal) in error
        .others
        .iter()
        .filter(|(_, why)| !matches!(why, Refusal::Absent))
    {
        failure = failure.caused_by(format_args!("{}: {refusal}", path.display()));
    }
    failure.hint(hint)
}

/// What starts it where systemd runs: a unit that is there, else what puts one there.
fn how_to_start() -> &'static str {
    if rustix::process::geteuid().is_root() {
        return "start it with 'systemctl start telemetryd.socket'";
    }
    let below =
        |variable: &str, below: &str| std::env::var_os(variable).map(|base| Path::new(&base).join(below));
    let own = below("XDG_CONFIG_HOME", "systemd/user").or_else(|| below("HOME", ".config/systemd/user"));
    let all = [
        "/etc/systemd/user",
        "/usr/local/lib/systemd/user",
        "/usr/lib/systemd/user",
    ];
    let known = all.iter().map(|place| Path::new(place).to_owned()).chain(own);
    if known
        .map(|place| place.join("telemetryd.socket"))
        .any(|unit| unit.is_file())
    {
        "start it with 'systemctl --user start telemetryd.socket'"
    } else {
        "have it run with 'telemetryctl service install'"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line {
            text: text.to_owned(),
            value: serde_json::from_str(text).unwrap(),
        }
    }

    #[test]
    fn a_key_is_taken_out_and_the_rest_stays_as_it_came() {
        let answer = line(r#"{"ok":true,"n":1.10, "s" : "a,b"}"#);
        assert_eq!(answer.without("ok"), r#"{"n":1.10,"s" : "a,b"}"#);
    }

    #[test]
    fn what_is_not_allowed_has_an_exit_code_of_its_own() {
        let refused = accepted(line(r#"{"ok":false,"error":"not_allowed","message":"m"}"#));
        assert_eq!(refused.err().map(|f| f.exit), Some(Exit::NotPermitted));
        let failed = accepted(line(r#"{"ok":false,"error":"storage","message":"disk full"}"#));
        assert_eq!(failed.err().map(|f| f.exit), Some(Exit::Failed));
    }
}
