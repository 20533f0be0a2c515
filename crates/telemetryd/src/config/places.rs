//! Where this daemon's files are: a pure function of mode and environment, so that no test ever touches
//! a real one. Where the socket and the directories are is the protocol crate's to say, for clients and
//! command line come to the same places; here is what the daemon alone needs: the order of config files.

use std::path::{Path, PathBuf};

use telemetry_protocol::place::{
    CONFIG_DIR_VARIABLE, Dirs, MACHINE_CONFIG, MACHINE_DIR_VARIABLE, Mode, PACKAGE_MANIFESTS,
    SOCKET_VARIABLE, STATE_DIR_VARIABLE, SocketFacts,
};

use super::environment::Environment;
use super::origin::Origin;
use super::problem::{Problem, Problems};

/// Where this daemon's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// A person's daemon, or the machine's.
    pub mode: Mode,
    /// Directories with `config.toml` and `config.d`, the ones that are read later going over the earlier:
    /// the machine's, then (user mode) the user's.
    pub config: Vec<PathBuf>,
    /// The directory of the user's `consent.toml`: the last of `config`.
    pub consent: PathBuf,
    /// Queue, lock, identity, notices, registered manifests.
    pub state: PathBuf,
    /// Directories of manifests, the first that has a tool's counts: the admin's, the packages', and in
    /// user mode the user's. Registered ones, in the state directory, come after these.
    pub manifests: Vec<PathBuf>,
    /// Directories with `opt-out`, `opt-out.d` and `policy.d`: the real one always, and perhaps one more.
    pub machine: Vec<PathBuf>,
    /// Where the socket is bound, unless one is inherited.
    pub socket: PathBuf,
}

impl Places {
    /// The places of a daemon of this mode. `uid` is the daemon's own; `is_directory` is asked about
    /// `/run/user/<uid>` alone.
    ///
    /// # Errors
    /// A variable that names a place holds a relative path, or nothing says where the user's files are.
    pub fn find(
        mode: Mode,
        environment: &Environment,
        uid: u32,
        is_directory: &dyn Fn(&Path) -> bool,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        for name in [
            CONFIG_DIR_VARIABLE,
            STATE_DIR_VARIABLE,
            SOCKET_VARIABLE,
            MACHINE_DIR_VARIABLE,
        ] {
            if let Some(path) = environment
                .get(name)
                .map(PathBuf::from)
                .filter(|path| !path.is_absolute())
            {
                let found = super::units::quoted(&path.to_string_lossy());
                let origin = Origin::Environment {
                    variable: name.into(),
                };
                let message = format!("found {found}, allowed is an absolute path");
                problems.add(Problem {
                    found: Some(found),
                    allowed: Some("an absolute path".to_owned()),
                    ..Problem::new(&origin, message)
                });
            }
        }
        let dirs = match Dirs::find(mode, &|name| environment.get(name)) {
            Ok(dirs) => dirs,
            Err(error) => {
                let origin = Origin::Environment {
                    variable: "HOME".into(),
                };
                let hint = format!("set HOME, or {CONFIG_DIR_VARIABLE} and {STATE_DIR_VARIABLE}");
                problems.add(Problem::new(&origin, error.to_string()).hint(hint));
                return Err(problems);
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }

        let run_user = PathBuf::from(format!("/run/user/{uid}"));
        let facts = SocketFacts {
            explicit: environment.get(SOCKET_VARIABLE).map(PathBuf::from),
            // The base directory specification has relative paths ignored.
            runtime_dir: environment
                .get("XDG_RUNTIME_DIR")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute() && mode == Mode::User),
            run_user: (mode == Mode::User && is_directory(&run_user)).then_some(run_user),
            state: Some(dirs.state.clone()),
        };
        let Some(socket) = facts.bind(mode) else {
            let origin = Origin::Environment {
                variable: SOCKET_VARIABLE.into(),
            };
            problems.add(Problem::new(&origin, "nothing says where the socket belongs"));
            return Err(problems);
        };

        let own = dirs.config.clone();
        let mut config = match mode {
            Mode::User => vec![PathBuf::from(MACHINE_CONFIG), own.clone()],
            Mode::System => vec![own.clone()],
        };
        config.dedup();
        // Where the machine's place is replaced (system mode), so are the admin's manifests in it.
        let admins = match mode {
            Mode::User => PathBuf::from(MACHINE_CONFIG),
            Mode::System => own.clone(),
        };
        let mut manifests = vec![admins.join("tools.d"), PathBuf::from(PACKAGE_MANIFESTS)];
        if mode == Mode::User {
            manifests.push(dirs.manifests.clone());
        }
        Ok(Self {
            mode,
            config,
            consent: own,
            state: dirs.state,
            manifests,
            machine: dirs.machine,
            socket,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(mode: Mode, variables: &[(&str, &str)]) -> Result<Places, Problems> {
        let environment: Environment = variables.iter().copied().collect();
        Places::find(mode, &environment, 7, &|path| path == Path::new("/run/user/7"))
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_users_daemon_reads_the_machines_config_and_then_the_users() {
        let places = find(Mode::User, &[("HOME", "/h")]).unwrap();
        assert_eq!(
            places.config,
            [PathBuf::from("/etc/telemetryd"), "/h/.config/telemetryd".into()]
        );
        assert_eq!(places.consent, PathBuf::from("/h/.config/telemetryd"));
        assert_eq!(places.state, PathBuf::from("/h/.local/state/telemetryd"));
        assert_eq!(
            places.socket,
            PathBuf::from("/run/user/7/telemetryd/telemetryd.sock")
        );
        assert_eq!(
            places.manifests,
            [
                PathBuf::from("/etc/telemetryd/tools.d"),
                "/usr/share/telemetryd/tools.d".into(),
                "/h/.local/share/telemetryd/tools.d".into()
            ]
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_machines_daemon_touches_no_home() {
        let places = find(Mode::System, &[("HOME", "/h"), ("XDG_CONFIG_HOME", "/h/c")]).unwrap();
        assert_eq!(places.config, [PathBuf::from("/etc/telemetryd")]);
        assert_eq!(places.state, PathBuf::from("/var/lib/telemetryd"));
        assert_eq!(places.socket, PathBuf::from("/run/telemetryd/telemetryd.sock"));
        assert_eq!(places.manifests.len(), 2);
        assert!(!format!("{places:?}").contains("/h"));
    }

    #[test]
    fn our_variables_replace_the_users_places_and_leave_the_machines() {
        let variables = [
            ("TELEMETRYD_CONFIG_DIR", "/c"),
            ("TELEMETRYD_STATE_DIR", "/s"),
            ("TELEMETRYD_SOCKET", "/x.sock"),
            ("HOME", "/h"),
        ];
        let user = find(Mode::User, &variables).unwrap();
        assert_eq!(user.config, [PathBuf::from(MACHINE_CONFIG), "/c".into()]);
        assert_eq!((user.state, user.socket), ("/s".into(), "/x.sock".into()));
        let system = find(Mode::System, &variables).unwrap();
        assert_eq!(system.config, [PathBuf::from("/c")]);
        assert_eq!(
            system.manifests,
            [
                PathBuf::from("/c/tools.d"),
                "/usr/share/telemetryd/tools.d".into()
            ]
        );
        assert_eq!((system.state, system.socket), ("/s".into(), "/x.sock".into()));
        assert!(system.machine.contains(&PathBuf::from("/etc/telemetryd")));
    }

    #[test]
    fn a_machine_directory_more_is_read_beside_the_real_one() {
        let places = find(Mode::User, &[("HOME", "/h"), ("TELEMETRYD_MACHINE_DIR", "/m")]).unwrap();
        assert_eq!(places.machine, [PathBuf::from("/etc/telemetryd"), "/m".into()]);
        assert!(!places.config.contains(&"/m".into()));
    }

    #[test]
    fn a_relative_place_is_a_problem_that_names_its_variable() {
        let problems = find(Mode::User, &[("HOME", "/h"), ("TELEMETRYD_STATE_DIR", "state")]).unwrap_err();
        assert_eq!(
            problems.to_string(),
            "error: TELEMETRYD_STATE_DIR: found \"state\", allowed is an absolute path"
        );
    }

    #[test]
    fn without_a_home_it_says_what_to_set() {
        let problems = find(Mode::User, &[]).unwrap_err();
        assert!(problems.to_string().contains("hint: set HOME"), "{problems}");
    }
}
