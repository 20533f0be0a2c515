//! What the environment of a process says about places and about consent: read once, then a plain value.
//! A test hands in an environment of its own; nothing below this file looks at the real one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use telemetry_protocol::place::{
    Dirs, MACHINE_DIR, MACHINE_DIR_VARIABLE, Mode, SOCKET_VARIABLE, SocketFacts,
};

/// Asks the environment for a variable.
pub type Lookup<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Where a process finds the daemon and the files about consent.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Directories with `opt-out`, `opt-out.d` and `policy.d`.
    pub machine: Vec<PathBuf>,
    /// The user's directories; `None` where nothing says where they are (no `HOME`).
    pub user: Option<Dirs>,
    /// Where the socket may be.
    pub sockets: SocketFacts,
    /// `DO_NOT_TRACK` is present, whatever its value.
    pub do_not_track: bool,
}

impl Surroundings {
    /// As the environment of this process has it. `socket` is what a person asked for (`--socket`): it
    /// goes before `TELEMETRYD_SOCKET`.
    #[must_use]
    pub fn of_this_process(socket: Option<PathBuf>) -> Self {
        let uid = rustix::process::getuid().as_raw();
        Self::read(&|name| std::env::var_os(name), socket, uid, &Path::is_dir)
    }

    /// As `lookup` has it. `is_directory` is asked about `/run/user/<uid>` alone, and only where
    /// `XDG_RUNTIME_DIR` does not say it.
    #[must_use]
    pub fn read(
        lookup: &Lookup<'_>,
        socket: Option<PathBuf>,
        uid: u32,
        is_directory: &dyn Fn(&Path) -> bool,
    ) -> Self {
        let path = |name: &str| lookup(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let user = Dirs::find(Mode::User, lookup).ok();
        let machine = match &user {
            Some(dirs) => dirs.machine.clone(),
            None => std::iter::once(PathBuf::from(MACHINE_DIR))
                .chain(path(MACHINE_DIR_VARIABLE))
                .collect(),
        };
        let explicit = socket.or_else(|| {
            lookup(SOCKET_VARIABLE)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        });
        let runtime_dir = path("XDG_RUNTIME_DIR");
        let run_user = match (&explicit, &runtime_dir) {
            (None, None) => Some(PathBuf::from(format!("/run/user/{uid}"))).filter(|path| is_directory(path)),
            _ => None,
        };
        Self {
            machine,
            sockets: SocketFacts {
                explicit,
                runtime_dir,
                run_user,
                state: user.as_ref().map(|dirs| dirs.state.clone()),
            },
            user,
            // CONSENT.md: a variable denies by being present, the empty string included.
            do_not_track: lookup("DO_NOT_TRACK").is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)], socket: Option<&str>) -> Surroundings {
        let lookup = |name: &str| {
            vars.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        };
        Surroundings::read(&lookup, socket.map(PathBuf::from), 7, &|_| true)
    }

    #[test]
    fn a_flag_goes_before_the_variable_and_the_variable_before_all_else() {
        let vars = [("HOME", "/h"), ("TELEMETRYD_SOCKET", "/v.sock")];
        assert_eq!(
            read(&vars, Some("/f.sock")).sockets.candidates(),
            [PathBuf::from("/f.sock")]
        );
        assert_eq!(read(&vars, None).sockets.candidates(), [PathBuf::from("/v.sock")]);
        let none = read(&[("HOME", "/h"), ("TELEMETRYD_SOCKET", "")], None);
        assert_eq!(
            none.sockets.candidates().last(),
            Some(&PathBuf::from("/run/user/7/telemetryd/telemetryd.sock"))
        );
    }

    #[test]
    fn do_not_track_denies_by_being_there() {
        assert!(read(&[("DO_NOT_TRACK", "0")], None).do_not_track);
        assert!(read(&[("DO_NOT_TRACK", "")], None).do_not_track);
        assert!(!read(&[], None).do_not_track);
    }

    #[test]
    fn without_a_home_the_machines_places_are_still_known() {
        let found = read(
            &[("TELEMETRYD_MACHINE_DIR", "/m"), ("XDG_RUNTIME_DIR", "/r")],
            None,
        );
        assert_eq!(found.user, None);
        assert_eq!(found.machine, [PathBuf::from("/etc/telemetryd"), "/m".into()]);
        assert_eq!(found.sockets.candidates().len(), 2);
    }
}
