//! A home of a test's own: a temporary directory with everything that telemetryd looks for, and an
//! environment that leads nowhere else. The real home, the real machine's consent variables (`DO_NOT_TRACK`,
//! `CI`…) and a real daemon's socket are never seen.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use telemetry_protocol::limits::MAX_SOCKET_PATH;
use telemetry_protocol::place;
use tempfile::TempDir;

/// What a test process hands on to the programs that it starts, and nothing else.
const HANDED_ON: [&str; 6] = [
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "RUST_BACKTRACE",
    "LLVM_PROFILE_FILE",
    "TMPDIR",
];

/// A temporary home. Cloning it shares it; the directory goes with the last clone.
#[derive(Clone, Debug)]
pub struct Home {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: TempDir,
    env: Mutex<BTreeMap<OsString, OsString>>,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// An empty one.
    ///
    /// # Panics
    /// When there is no temporary directory, or none whose path is short enough for a socket.
    #[must_use]
    pub fn new() -> Self {
        let make = |below: &Path| {
            tempfile::Builder::new()
                .prefix("tmd")
                .rand_bytes(8)
                .tempdir_in(below)
        };
        let mut root = make(&std::env::temp_dir()).expect("a temporary directory can be made");
        if socket_below(root.path()).as_os_str().len() > MAX_SOCKET_PATH {
            root = make(Path::new("/tmp")).expect("a temporary directory can be made in /tmp");
        }
        let home = Self {
            inner: Arc::new(Inner {
                root,
                env: Mutex::new(BTreeMap::new()),
            }),
        };
        for folder in [
            home.config_dir(),
            home.config_dir().join("config.d"),
            home.state_dir(),
            home.tools_dir(),
        ] {
            fs::create_dir_all(folder).expect("a folder in a temporary home");
        }
        for folder in [
            home.machine_dir(),
            home.runtime_dir(),
            home.root().join("cache"),
            home.home_dir(),
        ] {
            fs::create_dir_all(folder).expect("a folder in a temporary home");
        }
        for private in [home.runtime_dir(), home.state_dir()] {
            fs::set_permissions(private, fs::Permissions::from_mode(0o700)).expect("a folder of our own");
        }
        for name in HANDED_ON {
            if let Some(value) = std::env::var_os(name) {
                home.set_env(name, value);
            }
        }
        home.set_env("HOME", home.home_dir());
        home.set_env("XDG_CONFIG_HOME", home.root().join("config"));
        home.set_env("XDG_DATA_HOME", home.root().join("data"));
        home.set_env("XDG_STATE_HOME", home.root().join("state"));
        home.set_env("XDG_CACHE_HOME", home.root().join("cache"));
        home.set_env("XDG_RUNTIME_DIR", home.runtime_dir());
        home.set_env(place::CONFIG_DIR_VARIABLE, home.config_dir());
        home.set_env(place::STATE_DIR_VARIABLE, home.state_dir());
        home.set_env(place::MACHINE_DIR_VARIABLE, home.machine_dir());
        home.set_env(place::SOCKET_VARIABLE, home.socket());
        home.set_env("NO_COLOR", "1");
        home
    }

    /// The temporary directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.inner.root.path()
    }

    /// `$HOME`.
    #[must_use]
    pub fn home_dir(&self) -> PathBuf {
        self.root().join("home")
    }

    /// Where `config.toml`, `config.d` and `consent.toml` are.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.root().join("config/telemetryd")
    }

    /// Where the queue, the lock and the spool are.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.root().join("state/telemetryd")
    }

    /// Where the user's manifests are.
    #[must_use]
    pub fn tools_dir(&self) -> PathBuf {
        self.root().join("data/telemetryd/tools.d")
    }

    /// Stands for `/etc/telemetryd`: `opt-out`, `opt-out.d`, `policy.d`.
    #[must_use]
    pub fn machine_dir(&self) -> PathBuf {
        self.root().join("machine")
    }

    /// `$XDG_RUNTIME_DIR`.
    #[must_use]
    pub fn runtime_dir(&self) -> PathBuf {
        self.root().join("run")
    }

    /// Where the daemon's socket is or will be.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket_below(self.root())
    }

    /// The main configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config_dir().join("config.toml")
    }

    /// Writes the main configuration file.
    pub fn write_config(&self, text: &str) {
        self.write(self.config_file(), text);
    }

    /// Installs a manifest in the user's `tools.d`.
    pub fn write_manifest(&self, tool: &str, text: &str) {
        self.write(self.tools_dir().join(format!("{tool}.toml")), text);
    }

    /// Writes a file inside of this home, folders included.
    ///
    /// # Panics
    /// When it would be outside.
    pub fn write(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        assert!(
            path.starts_with(self.root()),
            "{} is outside of the test's home",
            path.display()
        );
        assert!(
            !path.components().any(|part| part.as_os_str() == ".."),
            "no .. in {}",
            path.display()
        );
        let folder = path.parent().expect("a file is in a folder");
        fs::create_dir_all(folder).expect("a folder in a temporary home");
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    /// Adds to the environment of everything that is started in this home.
    pub fn set_env(&self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.env().insert(name.into(), value.into());
    }

    /// Takes from that environment.
    pub fn unset_env(&self, name: impl AsRef<OsStr>) {
        self.env().remove(name.as_ref());
    }

    /// That environment.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<OsString, OsString> {
        self.env().clone()
    }

    /// A command that runs in this home, with its environment and no other.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.env().iter())
            .current_dir(self.home_dir());
        command
    }

    fn env(&self) -> MutexGuard<'_, BTreeMap<OsString, OsString>> {
        self.inner.env.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn socket_below(root: &Path) -> PathBuf {
    root.join("run/telemetryd").join(place::SOCKET_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_has_a_short_socket_path_and_goes_when_it_is_dropped() {
        let home = Home::new();
        let root = home.root().to_owned();
        assert!(
            home.socket().as_os_str().len() <= MAX_SOCKET_PATH,
            "{}",
            home.socket().display()
        );
        assert!(home.socket().starts_with(home.runtime_dir()));
        drop(home);
        assert!(!root.exists());
    }

    #[test]
    fn what_runs_there_sees_no_variable_of_the_test_but_the_ones_handed_on() {
        let home = Home::new();
        home.set_env("EXTRA", "1");
        let output = home.command("env").output().expect("env can be started");
        let text = String::from_utf8(output.stdout).expect("the variables are text");
        for line in text.lines() {
            let name = line.split('=').next().unwrap_or_default();
            let ours = name.starts_with("XDG_") || name.starts_with("TELEMETRYD_");
            let known = HANDED_ON.contains(&name) || ["HOME", "NO_COLOR", "EXTRA", "PWD"].contains(&name);
            assert!(ours || known, "{line} came from outside");
        }
        assert!(text.contains(&format!("HOME={}", home.home_dir().display())));
    }

    #[test]
    #[should_panic(expected = "outside of the test's home")]
    fn nothing_is_written_outside() {
        Home::new().write("/etc/telemetryd/opt-out", "");
    }
}
