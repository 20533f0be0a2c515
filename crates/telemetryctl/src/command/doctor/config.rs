//! Is the configuration good? The daemon's program says it, as for `config check`; a daemon that runs may still
//! have the one from before.

use std::process::{Command, Stdio};

use telemetry_protocol::place::Mode;

use super::{Check, State};
use crate::programs;

const NAME: &str = "config";

pub(super) fn check(mode: Mode) -> Vec<Check> {
    let mut command = Command::new(programs::telemetryd());
    command.arg("--check-config").stdin(Stdio::null());
    if mode == Mode::System {
        command.arg("--system");
    }
    // That the program is not there has been said ("versions").
    let Ok(output) = command.output() else {
        return Vec::new();
    };
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return vec![Check::new(NAME, State::Ok, said.trim())];
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let mut problems = problems(&said);
    if mode == Mode::System && !rustix::process::geteuid().is_root() {
        // A key that only the daemon may read is no mistake.
        for check in &mut problems {
            check.state = State::Warn;
            check.hint = Some("ask again as root: perhaps it is only not yours to read".to_owned());
        }
    }
    if problems.is_empty() {
        let detail = format!("it cannot be checked: {}", output.status);
        return vec![Check::new(NAME, State::Fail, detail)];
    }
    problems
}

/// A check for each `error:` line, with the hint below it.
fn problems(said: &str) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for line in said.lines() {
        if let Some(error) = line.strip_prefix("error: ") {
            checks.push(Check::new(NAME, State::Fail, error));
        } else if let (Some(check), Some(hint)) =
            (checks.last_mut(), line.trim_start().strip_prefix("hint: "))
        {
            check.hint = Some(hint.to_owned());
        } else if let (Some(check), false) = (checks.last_mut(), line.trim().is_empty()) {
            check.detail.push_str("; ");
            check.detail.push_str(line.trim());
        }
    }
    for check in checks.iter_mut().filter(|check| check.hint.is_none()) {
        check.hint =
            Some("mend it; a daemon that runs keeps its old settings until 'telemetryctl reload'".to_owned());
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_a_check_with_its_own_hint() {
        let said = "error: /c.toml:3: queue.max_bites: unknown key\n  hint: did you mean 'queue.max_bytes'?\n\
                    error: destinations.default.tls.ca_file /x cannot be read\n  caused by: it is gone\n";
        let checks = problems(said);
        assert_eq!(checks.len(), 2);
        assert_eq!(checks[0].hint.as_deref(), Some("did you mean 'queue.max_bytes'?"));
        assert!(
            checks[1]
                .detail
                .ends_with("cannot be read; caused by: it is gone")
        );
        assert!(checks[1].hint.is_some());
        assert!(problems("").is_empty());
    }
}
