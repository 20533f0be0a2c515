//! Does a daemon run, does it answer, and is it of the same version as this program?

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use telemetry_client::connect::Refusal;
use telemetry_protocol::PROTOCOL;
use telemetry_protocol::place::Mode;

use super::{Check, State, theirs};
use crate::Context;
use crate::daemon::{Daemon, PATIENCE, accepted, no_daemon};
use crate::everybody::Everybody;
use crate::programs;

/// A daemon that takes connections and does not say hello within this time hangs.
const WEDGED: Duration = Duration::from_secs(2);

/// This program's own version.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// The checks, and of which mode the daemon is that answers, or should.
pub(super) fn check(context: &Context, probe: bool, everybody: Everybody) -> (Vec<Check>, Mode) {
    let mut mode = Mode::User;
    let checks = ask(context, probe, everybody, &mut mode);
    (checks, mode)
}

fn ask(context: &Context, probe: bool, everybody: Everybody, mode: &mut Mode) -> Vec<Check> {
    let mut daemon = match Daemon::reach(context) {
        Ok(daemon) => daemon,
        Err(error) => {
            let busy = matches!(error.cause, Refusal::Busy);
            let state = if busy { State::Fail } else { State::NoDaemon };
            let detail = format!("no daemon answers at {}: {}", error.path.display(), error.cause);
            let told = no_daemon(error).to_string();
            let hint = told
                .lines()
                .find_map(|line| line.trim_start().strip_prefix("hint: "));
            let mut checks = vec![Check::new("socket", state, detail).hint(hint.unwrap_or_default())];
            checks.extend(lock(context, None));
            checks.extend(versions(None));
            if probe {
                checks.push(
                    Check::new(
                        "probe",
                        State::Warn,
                        "nobody was asked: the daemon would do it, and none answers",
                    )
                    .hint("start the daemon, and ask again"),
                );
            }
            return checks;
        }
    };
    let place = daemon.path().display().to_string();
    let shown = |pid: Option<i32>| pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let hello = json!({ "op": "hello", "protocol": PROTOCOL, "client": format!("telemetryctl/{OWN}") });
    let answer = match daemon.ask(&hello, WEDGED) {
        Ok(answer) => answer,
        Err(failure) => {
            let pid = shown(daemon.pid().filter(is_a_daemon));
            let detail = format!("a daemon{pid} takes connections at {place} and does not answer: {failure}");
            let detail = detail.replace('\n', ";");
            return vec![
                Check::new("socket", State::Fail, detail)
                    .hint("it hangs or is overloaded: its log says more; end it and start it again"),
            ];
        }
    };
    // Its own word, not the socket's: that names who made the socket, which may be the service manager.
    let pid = answer
        .value
        .get("pid")
        .and_then(Value::as_i64)
        .and_then(|pid| i32::try_from(pid).ok());
    let mut checks = vec![Check::new(
        "socket",
        State::Ok,
        format!("{place}{} answers", shown(pid)),
    )];
    if answer.word("mode") == Mode::System.as_str() {
        *mode = Mode::System;
    } else {
        checks.extend(lock(context, pid));
    }
    checks.extend(versions(Some(answer.word("server"))));
    let (theirs_half, refused) = half(&mut daemon, probe, everybody);
    checks.extend(theirs_half);
    checks.extend(refused);
    checks
}

/// Whether a process is a daemon, and not the service manager that holds its socket. Where nobody says it is.
fn is_a_daemon(pid: &i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).map_or(true, |name| name.trim_end() == "telemetryd")
}

/// The daemon's half, and a word on a probe that it refused.
fn half(daemon: &mut Daemon, probe: bool, everybody: Everybody) -> (Vec<Check>, Option<Check>) {
    let request = everybody.ask(json!({ "op": "doctor", "probe": probe }));
    match daemon.put(&request, PATIENCE * 6).and_then(|answer| {
        let refused = probe && answer.word("error") == "not_allowed";
        if refused {
            Ok(Err(answer))
        } else {
            accepted(answer).map(Ok)
        }
    }) {
        Ok(Ok(answer)) => match answer.value.get("checks") {
            Some(Value::Array(list)) => (list.iter().map(theirs).collect(), None),
            _ => (Vec::new(), None),
        },
        // The machine's daemon asks no destination for just anybody; the rest it tells.
        Ok(Err(answer)) => {
            let detail = format!("nobody was asked: {}", answer.word("message"));
            let refused = Check::new("probe", State::Warn, detail).hint("ask again as root");
            (half(daemon, false, everybody).0, Some(refused))
        }
        Err(failure) => {
            let detail = failure.to_string().replace('\n', ";");
            (vec![Check::new("daemon", State::Fail, detail)], None)
        }
    }
}

/// Who owns the queue of this user's state directory? The lock itself is not touched: it may be wanted by a
/// daemon that starts in this moment. Its owner has written its process into the file.
fn lock(context: &Context, answers: Option<i32>) -> Option<Check> {
    let path = context.surroundings.user.as_ref()?.state.join("queue.lock");
    let text = std::fs::read_to_string(&path).ok()?;
    let owner: i32 = text.trim().parse().ok()?;
    let name = "lock";
    let shown = path.display();
    if !is_telemetryd(owner) {
        return Some(Check::new(name, State::Ok, format!("{shown} is free")));
    }
    Some(match answers {
        Some(pid) if pid == owner => Check::new(name, State::Ok, format!("{shown} is held by pid {owner}")),
        Some(pid) => Check::new(
            name,
            State::Warn,
            format!("{shown} is held by pid {owner}, but pid {pid} answers"),
        )
        .hint("two daemons run: 'telemetryctl stop' ends the one that answers"),
        None => Check::new(
            name,
            State::Fail,
            format!("{shown} is held by pid {owner}, which answers at no socket that was tried"),
        )
        .hint("it listens elsewhere (--socket, TELEMETRYD_SOCKET), or is starting or stopping"),
    })
}

/// Whether that process is there and is a daemon: the number of a dead one may be somebody else's by now.
fn is_telemetryd(pid: i32) -> bool {
    let alive = rustix::process::Pid::from_raw(pid)
        .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok());
    let named = |name: String| name.trim() == "telemetryd";
    // Where the system does not tell names, being alive is enough.
    alive && std::fs::read_to_string(format!("/proc/{pid}/comm")).map_or(!cfg!(target_os = "linux"), named)
}

/// The running daemon, its program on disk, and this program should be one version.
fn versions(server: Option<&str>) -> Vec<Check> {
    let running = server.map(|server| server.rsplit('/').next().unwrap_or(server).to_owned());
    let program = programs::telemetryd();
    let installed = Command::new(&program)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| {
            let text = String::from_utf8(output.stdout).ok()?;
            text.split_whitespace().last().map(ToOwned::to_owned)
        });
    let mut checks = Vec::new();
    match (&running, &installed) {
        (Some(running), _) if running != OWN => checks.push(
            Check::new(
                "versions",
                State::Warn,
                format!("the daemon is {running}, this program is {OWN}"),
            )
            .hint("after an upgrade: 'telemetryctl stop', then start it again"),
        ),
        (_, Some(installed)) if installed != OWN => checks.push(
            Check::new(
                "versions",
                State::Warn,
                format!("{} is {installed}, this program is {OWN}", program.display()),
            )
            .hint("install both together"),
        ),
        (None, None) => checks.push(
            Check::new(
                "versions",
                State::Warn,
                format!("{} cannot be started", program.display()),
            )
            .hint(format!(
                "install telemetryd beside telemetryctl, or name it in {}",
                programs::VARIABLE
            )),
        ),
        _ => checks.push(Check::new(
            "versions",
            State::Ok,
            format!("both programs are {OWN}"),
        )),
    }
    checks
}
