//! Where things belong that a service consists of: the manager's directories, the daemon's program, its state.

use std::path::{Path, PathBuf};

use telemetry_protocol::place::{Dirs, Mode};

use crate::failure::Failure;
use crate::{Context, programs};

/// Where this user's, or this machine's, service has its things.
#[derive(Debug)]
pub(super) struct Place {
    /// For all users.
    pub(super) system: bool,
    /// The manager's directory for definitions: units, or plists.
    pub(super) definitions: PathBuf,
    /// The daemon's socket.
    pub(super) socket: PathBuf,
    /// Queue, lock and what else the daemon keeps.
    pub(super) state: Vec<PathBuf>,
    /// Settings and what the user has said: never removed.
    pub(super) config: PathBuf,
}

impl Place {
    /// As the environment says.
    pub(super) fn find(context: &Context, system: bool) -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var_os(name);
        let mode = if system { Mode::System } else { Mode::User };
        let dirs = Dirs::find(mode, &variable).map_err(|error| Failure::failed(error.to_string()))?;
        let home = variable("HOME")
            .map(PathBuf::from)
            .filter(|home| home.is_absolute());
        let home = || {
            home.clone()
                .ok_or_else(|| Failure::failed("HOME is not set, so there is no place for units"))
        };
        let definitions = match (cfg!(target_os = "macos"), system) {
            (true, true) => PathBuf::from("/Library/LaunchDaemons"),
            (true, false) => home()?.join("Library/LaunchAgents"),
            (false, true) => PathBuf::from("/etc/systemd/system"),
            (false, false) => match variable("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
            {
                Some(config) => config.join("systemd/user"),
                None => home()?.join(".config/systemd/user"),
            },
        };
        let Some(socket) = context.surroundings.sockets.bind(mode) else {
            return Err(Failure::failed("nothing says where the daemon's socket belongs"));
        };
        let mut state = vec![dirs.state];
        if !system {
            // Where a daemon keeps its queue when that directory is on a network file system.
            let uid = rustix::process::geteuid().as_raw();
            state.push(PathBuf::from(format!("/var/tmp/telemetryd-{uid}")));
        }
        Ok(Self {
            system,
            definitions,
            socket,
            state,
            config: dirs.config,
        })
    }

    /// The daemon's program, with its whole path: that is what a service manager wants.
    pub(super) fn program(&self) -> Result<PathBuf, Failure> {
        let named = programs::telemetryd();
        let found = if named.components().count() > 1 {
            std::path::absolute(&named).ok().filter(|path| path.is_file())
        } else {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path)
                .map(|directory| directory.join(&named))
                .find(|path| path.is_file())
        };
        let Some(found) = found else {
            return Err(
                Failure::failed(format!("cannot find {}", named.display())).hint(format!(
                    "install telemetryd beside telemetryctl, or name it in {}",
                    programs::VARIABLE
                )),
            );
        };
        if self.system && in_a_home(&found) {
            return Err(
                Failure::failed(format!("{} is in somebody's home", found.display()))
                    .caused_by("the machine's daemon has no access to homes, its own program's included")
                    .hint("install both programs in /usr/local/bin first"),
            );
        }
        Ok(found)
    }
}

/// What `ProtectHome=yes` hides (systemd.exec(5)).
fn in_a_home(path: &Path) -> bool {
    ["/home", "/root", "/run/user"]
        .iter()
        .any(|home| path.starts_with(home))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_those_that_the_machines_unit_cannot_see() {
        for path in ["/home/alice/.cargo/bin/telemetryd", "/run/user/7/telemetryd"] {
            assert!(in_a_home(Path::new(path)), "{path}");
        }
        for path in [
            "/usr/bin/telemetryd",
            "/usr/local/bin/telemetryd",
            "/homestead/telemetryd",
        ] {
            assert!(!in_a_home(Path::new(path)), "{path}");
        }
    }
}
