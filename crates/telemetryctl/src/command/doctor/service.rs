//! Does a service manager look after the daemon, and what does it say? Asked of systemd by its own program; what
//! is not there is no fault, for a daemon may be started by hand.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::{Check, State};

/// systemd answers in milliseconds; a bus that hangs is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);

const NAME: &str = "service";

/// Whose systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manager {
    User,
    Machine,
}

impl Manager {
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::User => ("this user's", "systemctl --user"),
            Self::Machine => ("the machine's", "systemctl"),
        }
    }
}

pub(super) fn check() -> Vec<Check> {
    if !cfg!(target_os = "linux") {
        return Vec::new();
    }
    let mut checks = Vec::new();
    let mut silent = None;
    let mut heard = Vec::new();
    for manager in [Manager::Machine, Manager::User] {
        match units(manager) {
            Ok(units) => heard.push((manager, units)),
            Err(why) => silent = Some(why),
        }
    }
    // A package brings both kinds of units; where one kind is in use, the other is not missed.
    let in_use = heard
        .iter()
        .any(|(_, units)| units.iter().any(|unit| state(unit) == "active"));
    heard.retain(|(_, units)| !in_use || units.iter().any(|unit| state(unit) != "inactive"));
    checks.extend(heard.iter().filter_map(|(manager, units)| judge(*manager, units)));
    if checks.is_empty() {
        let detail = match silent {
            Some(why) => format!("no service manager looks after it: {why}"),
            None => {
                "no unit of telemetryd is installed: it is started by hand, or by whoever needs it".to_owned()
            }
        };
        checks.push(Check::new(NAME, State::Ok, detail));
    }
    checks
}

/// A unit's properties.
type Unit = BTreeMap<String, String>;

fn state(unit: &Unit) -> &str {
    unit.get("ActiveState").map_or("", String::as_str)
}

/// What systemd says of our units.
fn units(manager: Manager) -> Result<Vec<Unit>, String> {
    let mut command = Command::new("systemctl");
    if manager == Manager::User {
        command.arg("--user");
    }
    command
        .args([
            "show",
            "--no-pager",
            "--property=Id,LoadState,ActiveState,UnitFileState,Result",
        ])
        .args(["telemetryd.service", "telemetryd.socket"])
        .stdin(Stdio::null());
    let (done, told) = mpsc::channel();
    // The thread ends with the process, whoever still waits inside it.
    std::thread::spawn(move || {
        // Nobody may wait any more.
        let _ = done.send(command.output());
    });
    let output = match told.recv_timeout(PATIENCE) {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("systemctl cannot be started ({error})")),
        Err(_) => {
            return Err(format!(
                "systemctl does not answer within {} s",
                PATIENCE.as_secs()
            ));
        }
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.lines().next().unwrap_or("systemctl failed").to_owned());
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// `key=value` lines, an empty line between units.
fn parse(said: &str) -> Vec<Unit> {
    let unit = |block: &str| {
        let pairs = block.lines().filter_map(|line| line.split_once('='));
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    said.split("\n\n")
        .map(unit)
        .filter(|unit: &Unit| !unit.is_empty())
        .collect()
}

fn judge(manager: Manager, units: &[Unit]) -> Option<Check> {
    let (whose, command) = manager.words();
    let word = |unit: &Unit, key: &str| unit.get(key).cloned().unwrap_or_default();
    let installed: Vec<&Unit> = units
        .iter()
        .filter(|unit| word(unit, "LoadState") != "not-found")
        .collect();
    if installed.is_empty() {
        return None;
    }
    let id = |unit: &Unit| word(unit, "Id");
    if let Some(masked) = installed.iter().find(|unit| word(unit, "LoadState") == "masked") {
        let detail = format!("{} of {whose} systemd is masked: it is never started", id(masked));
        return Some(Check::new(NAME, State::Warn, detail).hint(format!("{command} unmask {}", id(masked))));
    }
    if let Some(bad) = installed.iter().find(|unit| word(unit, "LoadState") != "loaded") {
        let detail = format!(
            "{} of {whose} systemd cannot be loaded ({})",
            id(bad),
            word(bad, "LoadState")
        );
        return Some(Check::new(NAME, State::Fail, detail).hint(format!("{command} status {}", id(bad))));
    }
    if let Some(failed) = installed
        .iter()
        .find(|unit| word(unit, "ActiveState") == "failed")
    {
        let (id, why) = (id(failed), word(failed, "Result"));
        let journal = match manager {
            Manager::User => "journalctl --user -u telemetryd",
            Manager::Machine => "journalctl -u telemetryd",
        };
        let detail = format!("{id} of {whose} systemd has failed ({why})");
        let hint = format!("'{journal}' says why; then '{command} restart {id}'");
        return Some(Check::new(NAME, State::Fail, detail).hint(hint));
    }
    let states: Vec<String> = installed
        .iter()
        .map(|unit| {
            format!(
                "{} is {} and {}",
                id(unit),
                word(unit, "ActiveState"),
                word(unit, "UnitFileState")
            )
        })
        .collect();
    let detail = format!("in {whose} systemd: {}", states.join(", "));
    let runs = |unit: &&&Unit| {
        matches!(
            word(unit, "ActiveState").as_str(),
            "active" | "activating" | "reloading"
        )
    };
    if installed.iter().any(|unit| runs(&unit)) {
        return Some(Check::new(NAME, State::Ok, detail));
    }
    let hint = format!("{command} enable --now telemetryd.socket");
    Some(Check::new(NAME, State::Warn, detail).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(id: &str, load: &str, active: &str) -> String {
        format!("Id={id}\nLoadState={load}\nActiveState={active}\nUnitFileState=enabled\nResult=exit-code\n")
    }

    #[test]
    fn what_systemd_says_is_put_into_a_line() {
        let (service, socket) = ("telemetryd.service", "telemetryd.socket");
        for (service_is, socket_is, state) in [
            (("not-found", "inactive"), ("not-found", "inactive"), None),
            (("loaded", "inactive"), ("loaded", "active"), Some(State::Ok)),
            (("loaded", "active"), ("not-found", "inactive"), Some(State::Ok)),
            (("loaded", "inactive"), ("loaded", "inactive"), Some(State::Warn)),
            (("loaded", "failed"), ("loaded", "active"), Some(State::Fail)),
            (("masked", "inactive"), ("loaded", "active"), Some(State::Warn)),
            (
                ("bad-setting", "inactive"),
                ("loaded", "active"),
                Some(State::Fail),
            ),
        ] {
            let said = format!(
                "{}\n{}",
                unit(service, service_is.0, service_is.1),
                unit(socket, socket_is.0, socket_is.1)
            );
            let units = parse(&said);
            assert_eq!(units.len(), 2);
            let check = judge(Manager::User, &units);
            assert_eq!(check.as_ref().map(|check| check.state), state, "{said}");
            assert!(check.is_none_or(|check| check.state == State::Ok || check.hint.is_some()));
        }
    }
}
