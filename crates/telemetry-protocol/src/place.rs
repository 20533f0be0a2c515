//! Where things are (CLI.md "Files", PROTOCOL.md "Where the socket is"): pure functions of what the
//! environment says, shared by daemon, client and command line so that they always meet.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::limits::MAX_SOCKET_PATH;

/// The admin's directory. Opt-out and policy are read here on every system and in every mode.
pub const MACHINE_DIR: &str = "/etc/telemetryd";
/// The admin's directory for config and manifests: on macOS where Apple wants it.
pub const MACHINE_CONFIG: &str = if cfg!(target_os = "macos") {
    "/Library/Application Support/telemetryd"
} else {
    MACHINE_DIR
};
/// What a package installs.
pub const PACKAGE_MANIFESTS: &str = "/usr/share/telemetryd/tools.d";
/// The machine-wide daemon's socket.
pub const SYSTEM_SOCKET: &str = if cfg!(target_os = "macos") {
    "/var/run/telemetryd/telemetryd.sock"
} else {
    "/run/telemetryd/telemetryd.sock"
};
/// The socket's name in its directory.
pub const SOCKET_NAME: &str = "telemetryd.sock";
/// Names the socket; then nothing else is tried.
pub const SOCKET_VARIABLE: &str = "TELEMETRYD_SOCKET";
/// Replaces the config directory.
pub const CONFIG_DIR_VARIABLE: &str = "TELEMETRYD_CONFIG_DIR";
/// Replaces the state directory.
pub const STATE_DIR_VARIABLE: &str = "TELEMETRYD_STATE_DIR";
/// One more directory whose `opt-out`, `opt-out.d` and `policy.d` are read: it can only narrow.
pub const MACHINE_DIR_VARIABLE: &str = "TELEMETRYD_MACHINE_DIR";

/// A person's daemon, or the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One user's.
    User,
    /// Everybody's.
    System,
}

impl Mode {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
        }
    }
}

/// The directories of one mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    /// `config.toml`, `config.d`, `consent.toml`.
    pub config: PathBuf,
    /// Queue, lock, identity, notices, registered manifests.
    pub state: PathBuf,
    /// Manifests of this mode's own: the user's `tools.d`, or the admin's.
    pub manifests: PathBuf,
    /// Directories with `opt-out`, `opt-out.d` and `policy.d`: always the real one, and perhaps one more.
    pub machine: Vec<PathBuf>,
}

/// Nothing says where a user's files belong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither {variable} nor HOME is set, so there is no {what} directory")]
pub struct NoHome {
    /// The variable that would have said it.
    pub variable: &'static str,
    /// Which directory.
    pub what: &'static str,
}

impl Dirs {
    /// The directories as `lookup` (the environment) says.
    ///
    /// # Errors
    /// In user mode, when neither the variables nor `HOME` are set to absolute paths.
    pub fn find(mode: Mode, lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, NoHome> {
        let absolute = |name: &str| lookup(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let mut machine = vec![PathBuf::from(MACHINE_DIR)];
        machine.extend(absolute(MACHINE_DIR_VARIABLE));
        let user = |own: &'static str, xdg: &'static str, below: &str, what: &'static str| {
            if let Some(path) = absolute(own) {
                return Ok(path);
            }
            if cfg!(target_os = "macos") {
                let home = absolute("HOME").ok_or(NoHome { variable: own, what })?;
                return Ok(home.join("Library/Application Support/telemetryd"));
            }
            match absolute(xdg) {
                Some(base) => Ok(base.join("telemetryd")),
                None => match absolute("HOME") {
                    Some(home) => Ok(home.join(below).join("telemetryd")),
                    None => Err(NoHome { variable: xdg, what }),
                },
            }
        };
        Ok(match mode {
            Mode::User => Self {
                config: user(CONFIG_DIR_VARIABLE, "XDG_CONFIG_HOME", ".config", "config")?,
                state: user(STATE_DIR_VARIABLE, "XDG_STATE_HOME", ".local/state", "state")?,
                manifests: user("", "XDG_DATA_HOME", ".local/share", "manifest")?.join("tools.d"),
                machine,
            },
            Mode::System => Self {
                config: absolute(CONFIG_DIR_VARIABLE).unwrap_or_else(|| PathBuf::from(MACHINE_CONFIG)),
                state: absolute(STATE_DIR_VARIABLE).unwrap_or_else(|| {
                    PathBuf::from(if cfg!(target_os = "macos") {
                        "/Library/Application Support/telemetryd"
                    } else {
                        "/var/lib/telemetryd"
                    })
                }),
                manifests: PathBuf::from(MACHINE_CONFIG).join("tools.d"),
                machine,
            },
        })
    }
}

/// The name of the network file system whose type statfs(2) says (Linux, `include/uapi/linux/magic.h` and the
/// file systems' own); `None`: it is local, as far as is known. SQLite's locks and WAL cannot be trusted on one.
#[must_use]
pub const fn network_file_system(statfs_type: u32) -> Option<&'static str> {
    match statfs_type {
        0x6969 => Some("NFS"),
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Some("SMB"),
        0x0102_1997 => Some("9P"),
        0x00C3_6400 => Some("Ceph"),
        0x5346_414F | 0x6B41_4653 => Some("AFS"),
        0x7375_7245 => Some("Coda"),
        0x0BD0_0BD0 => Some("Lustre"),
        0x564C => Some("NCP"),
        0x0116_1970 => Some("GFS2"),
        0x7461_636F => Some("OCFS2"),
        _ => None,
    }
}

/// What the environment says about sockets.
#[derive(Clone, Debug, Default)]
pub struct SocketFacts {
    /// `--socket`, or `TELEMETRYD_SOCKET`.
    pub explicit: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `/run/user/<uid>`, if that directory exists.
    pub run_user: Option<PathBuf>,
    /// The user's state directory.
    pub state: Option<PathBuf>,
}

impl SocketFacts {
    /// The user's socket, or `None` where nothing says where it could be.
    #[must_use]
    pub fn user_socket(&self) -> Option<PathBuf> {
        let below = |dir: &Path| dir.join("telemetryd").join(SOCKET_NAME);
        self.runtime_dir
            .as_deref()
            .map(below)
            .or_else(|| self.run_user.as_deref().map(below))
            .or_else(|| self.state.as_ref().map(|state| state.join(SOCKET_NAME)))
    }

    /// Where clients look, in order; they go on to the next when one refuses the connection.
    #[must_use]
    pub fn candidates(&self) -> Vec<PathBuf> {
        match &self.explicit {
            Some(path) => vec![path.clone()],
            None => std::iter::once(PathBuf::from(SYSTEM_SOCKET))
                .chain(self.user_socket())
                .collect(),
        }
    }

    /// Where a daemon of this mode binds.
    #[must_use]
    pub fn bind(&self, mode: Mode) -> Option<PathBuf> {
        match (&self.explicit, mode) {
            (Some(path), _) => Some(path.clone()),
            (None, Mode::System) => Some(PathBuf::from(SYSTEM_SOCKET)),
            (None, Mode::User) => self.user_socket(),
        }
    }
}

/// Whether a socket can be bound at `path`: the reason, if not.
///
/// # Errors
/// A sentence that names the path's length and the limit.
pub fn check_socket_path(path: &Path) -> Result<(), String> {
    let length = path.as_os_str().len();
    if length > MAX_SOCKET_PATH {
        return Err(format!(
            "the socket path is {length} bytes long; a Unix socket takes at most {MAX_SOCKET_PATH}: {}",
            path.display()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(vars: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| {
            vars.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_users_files_are_under_the_xdg_directories() {
        let dirs = Dirs::find(Mode::User, &env(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")])).unwrap();
        assert_eq!(dirs.config, PathBuf::from("/h/.config/telemetryd"));
        assert_eq!(dirs.state, PathBuf::from("/s/telemetryd"));
        assert_eq!(
            dirs.manifests,
            PathBuf::from("/h/.local/share/telemetryd/tools.d")
        );
        assert_eq!(dirs.machine, [PathBuf::from("/etc/telemetryd")]);
    }

    #[test]
    fn our_own_variables_come_first_and_relative_paths_count_as_unset() {
        let vars = [
            ("HOME", "/h"),
            ("TELEMETRYD_STATE_DIR", "/own"),
            ("TELEMETRYD_CONFIG_DIR", "here"),
            ("TELEMETRYD_MACHINE_DIR", "/m"),
        ];
        let dirs = Dirs::find(Mode::User, &env(&vars)).unwrap();
        assert_eq!(dirs.state, PathBuf::from("/own"));
        assert!(dirs.config.starts_with("/h"));
        assert_eq!(dirs.machine.len(), 2);
    }

    #[test]
    fn without_a_home_it_says_so() {
        assert!(Dirs::find(Mode::User, &env(&[])).is_err());
        assert!(Dirs::find(Mode::System, &env(&[])).is_ok());
    }

    #[test]
    fn clients_try_the_machine_first_and_an_explicit_socket_alone() {
        let mut facts = SocketFacts {
            runtime_dir: Some("/run/user/7".into()),
            state: Some("/s".into()),
            ..SocketFacts::default()
        };
        assert_eq!(
            facts.candidates(),
            [
                PathBuf::from(SYSTEM_SOCKET),
                "/run/user/7/telemetryd/telemetryd.sock".into()
            ]
        );
        facts.runtime_dir = None;
        assert_eq!(facts.user_socket(), Some("/s/telemetryd.sock".into()));
        facts.explicit = Some("/x.sock".into());
        assert_eq!(facts.candidates(), [PathBuf::from("/x.sock")]);
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused_with_the_reason() {
        let long = PathBuf::from(format!("/{}", "x".repeat(120)));
        assert!(check_socket_path(&long).unwrap_err().contains("121 bytes"));
    }
}
