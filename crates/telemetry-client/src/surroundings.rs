//! What the environment of a process says about places and about consent: read once, then a plain value.
//! A test hands in an environment of its own; nothing below this file looks at the real one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use telemetry_policy::Variables;
use telemetry_protocol::place::{
    Dirs, MACHINE_DIR, MACHINE_DIR_VARIABLE, Mode, SOCKET_VARIABLE, SocketFacts,
};

/// Where a process finds the daemon and the files about consent.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Directories with `opt-out`, `opt-out.d` and `policy.d`.
    pub machine: Vec<PathBuf>,
    /// The user's directories; `None` where nothing says where they are (no `HOME`).
    pub user: Option<Dirs>,
    /// Where the socket may be.
    pub sockets: SocketFacts,
    /// The variables, for the ones that deny.
    pub variables: Arc<Variables>,
    /// The user's home, where the environment says it.
    pub home: Option<PathBuf>,
    /// The working directory, links resolved; `None` where there is none any more.
    pub working: Option<PathBuf>,
    /// Who asks.
    pub uid: u32,
    /// Who called `sudo`, where somebody did (`SUDO_UID`): a denial of theirs counts too.
    pub sudo_uid: Option<u32>,
}

impl Surroundings {
    /// As the environment of this process has it. `socket` is what a person asked for (`--socket`): it
    /// goes before `TELEMETRYD_SOCKET`.
    #[must_use]
    pub fn of_this_process(socket: Option<PathBuf>) -> Self {
        let uid = rustix::process::getuid().as_raw();
        let mut found = Self::read(Variables::of_this_process(), socket, uid, &Path::is_dir);
        found.working = std::env::current_dir().ok();
        // So that it is known among the parents of a directory whose links are resolved.
        found.home = found.home.map(|home| home.canonicalize().unwrap_or(home));
        found
    }

    /// As `variables` have it. `is_directory` is asked about `/run/user/<uid>` alone, and only where
    /// `XDG_RUNTIME_DIR` does not say it.
    #[must_use]
    pub fn read(
        variables: Variables,
        socket: Option<PathBuf>,
        uid: u32,
        is_directory: &dyn Fn(&Path) -> bool,
    ) -> Self {
        let lookup = |name: &str| variables.get(name).map(ToOwned::to_owned);
        let path = |name: &str| lookup(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let user = Dirs::find(Mode::User, &lookup).ok();
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
            home: path("HOME"),
            working: None,
            uid,
            sudo_uid: lookup("SUDO_UID").and_then(|uid| uid.to_str()?.parse().ok()),
            variables: Arc::new(variables),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)], socket: Option<&str>) -> Surroundings {
        let variables = vars.iter().copied().collect();
        Surroundings::read(variables, socket.map(PathBuf::from), 7, &|_| true)
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
    fn who_called_sudo_is_known_by_number_alone() {
        assert_eq!(read(&[("SUDO_UID", "1000")], None).sudo_uid, Some(1000));
        assert_eq!(read(&[("SUDO_UID", "alice")], None).sudo_uid, None);
        assert_eq!(read(&[], None).sudo_uid, None);
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
