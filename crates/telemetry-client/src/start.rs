//! A daemon for whoever has none: started by the first event that nobody took, where no service manager provides the
//! socket. From an absolute path beside the tool's program or in the system's directories, never by `PATH`; one at a
//! time; never waited for. Not by root, not in CI, not where `TELEMETRYD_AUTOSTART` is `0`, a socket is named, or the
//! admin has said `on_demand = "off"`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use rustix::fs::OFlags;
use telemetry_protocol::place::SOCKET_VARIABLE;

use crate::{Surroundings, clock, connect};

/// Where a system's packages put it.
const SYSTEM: [&str; 4] = [
    "/usr/bin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "/opt/telemetryd/bin",
];

/// What the daemon gets of the environment: where its user's files are, and how the network is reached. Whatever else
/// a shell has (tokens, `LD_PRELOAD`) is none of its business.
const KEPT: [&str; 20] = [
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TZ",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// In the state directory: who starts a daemon holds it, then the daemon itself, for as long as it lives.
pub(crate) const LOCK: &str = "start.lock";

/// After a start, nobody starts another for so long: a daemon is there within some tens of milliseconds, or will not be.
const ONE_AT_A_TIME: Duration = Duration::from_secs(2);
/// Somebody who answers meanwhile is found within this.
const PROBE: Duration = Duration::from_millis(5);

/// Programs that were started and have perhaps not ended: `--background` ends when the daemon is ready.
static STARTED: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Starts a daemon, unless something speaks against it or somebody else is at it.
pub(crate) fn start(surroundings: &Surroundings) {
    reap();
    if let (true, Some(user)) = (wanted(surroundings), &surroundings.user)
        && let Some(program) = program(surroundings)
    {
        // One that cannot be started is as good as none.
        let _ = spawn(&program, &user.state, surroundings);
    }
}

pub(crate) fn wanted(surroundings: &Surroundings) -> bool {
    let variables = &surroundings.variables;
    surroundings.uid != 0
        && !rustix::process::geteuid().is_root()
        && variables
            .get("TELEMETRYD_AUTOSTART")
            .is_none_or(|word| word != "0")
        && variables
            .get(SOCKET_VARIABLE)
            .is_none_or(|socket| socket.is_empty())
}

/// The daemon's program: beside the tool's own, or in the system's directories.
pub(crate) fn program(surroundings: &Surroundings) -> Option<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|program| program.parent().map(Path::to_owned));
    beside
        .into_iter()
        .chain(SYSTEM.map(PathBuf::from))
        .map(|directory| directory.join("telemetryd"))
        .find(|path| trusted(path, surroundings.uid))
}

/// Whether nobody but root and this user can have put something else there.
fn trusted(path: &Path, uid: u32) -> bool {
    let own = |path: &Path| {
        fs::metadata(path).ok().filter(|found| {
            let sticky = found.mode() & 0o1000 != 0;
            (found.uid() == 0 || found.uid() == uid) && (found.mode() & 0o002 == 0 || sticky)
        })
    };
    path.parent().and_then(own).is_some()
        && own(path).is_some_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn spawn(program: &Path, state: &Path, surroundings: &Surroundings) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(state)?;
    let mut lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(state.join(LOCK))?;
    // Held by somebody: he is at it.
    lock.try_lock().map_err(io::Error::from)?;
    let found = lock.metadata()?;
    if found.len() > 0 && clock::age(&found).is_some_and(|age| age < ONE_AT_A_TIME) {
        return Ok(());
    }
    if connect::connect(&surroundings.sockets.candidates(), clock::after(PROBE)).is_ok() {
        return Ok(());
    }
    lock.set_len(0)?;
    lock.write_all(b"started\n")?;
    let kept = surroundings.variables.iter().filter(|(name, _)| {
        let name = name.to_string_lossy();
        KEPT.contains(&&*name) || name.starts_with("TELEMETRYD_") || name.starts_with("LC_")
    });
    let child = Command::new(program)
        .args(["--background", "--idle-exit", "60s"])
        .env_clear()
        .envs(kept)
        .current_dir("/")
        // `--background` keeps a file that it finds there open.
        .stdin(Stdio::from(lock))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Ok(mut started) = STARTED.try_lock() {
        started.push(child);
    }
    Ok(())
}

/// Lets go of what has ended. Never waits: after a fork the lock may be nobody's.
fn reap() {
    if let Ok(mut started) = STARTED.try_lock() {
        started.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(home: &Path, more: &[(&str, &str)]) -> Surroundings {
        let at = |name: &str| home.join(name).display().to_string();
        let (state, runtime) = (at("state"), at("run"));
        let mut vars = vec![
            ("HOME", home.to_str().unwrap()),
            ("TELEMETRYD_STATE_DIR", state.as_str()),
            ("XDG_RUNTIME_DIR", runtime.as_str()),
            ("LC_ALL", "C"),
            ("API_TOKEN", "secret"),
            ("LD_PRELOAD", ""),
        ];
        vars.extend_from_slice(more);
        Surroundings::read(vars.into_iter().collect(), None, 1000, &|_| false)
    }

    /// A program that tells with what it was started.
    fn program(home: &Path) -> PathBuf {
        let path = home.join("telemetryd");
        let told = home.join("told");
        let script = format!(
            "#!/bin/sh\n{{ echo \"$@\"; pwd; env; }} >>{0}.part\necho >>{0}.part\nmv {0}.part {0}\n",
            told.display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn told(home: &Path) -> String {
        let until = clock::after(Duration::from_secs(20));
        loop {
            if let Ok(text) = fs::read_to_string(home.join("told")) {
                return text;
            }
            assert!(!clock::left(until).is_zero(), "it was never started");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_daemon_is_started_once_with_what_it_needs_of_the_environment() {
        let home = tempfile::tempdir().unwrap();
        let program = program(home.path());
        let surroundings = surroundings(home.path(), &[]);
        let state = home.path().join("state");
        spawn(&program, &state, &surroundings).unwrap();
        let said = told(home.path());
        let mut lines = said.lines();
        assert_eq!(lines.next(), Some("--background --idle-exit 60s"));
        assert_eq!(lines.next(), Some("/"));
        assert!(
            said.contains("TELEMETRYD_STATE_DIR=") && said.contains("LC_ALL=C"),
            "{said}"
        );
        assert!(
            !said.contains("API_TOKEN") && !said.contains("LD_PRELOAD"),
            "{said}"
        );
        fs::remove_file(home.path().join("told")).unwrap();
        // The program holds the lock until it has ended.
        let again = || while spawn(&program, &state, &surroundings).is_err() {};
        again();
        again();
        // As long as the first one may still be coming up nobody starts a second.
        let lock = fs::File::options()
            .write(true)
            .open(state.join("start.lock"))
            .unwrap();
        lock.set_modified(std::time::UNIX_EPOCH).unwrap();
        again();
        assert_eq!(told(home.path()).matches("--background").count(), 1);
    }

    #[test]
    fn who_is_at_it_and_who_answers_meanwhile_are_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let program = program(home.path());
        let surroundings = surroundings(home.path(), &[]);
        let state = home.path().join("state");
        fs::create_dir_all(&state).unwrap();
        let lock = fs::File::create(state.join("start.lock")).unwrap();
        lock.lock().unwrap();
        assert!(spawn(&program, &state, &surroundings).is_err());
        lock.unlock().unwrap();
        fs::create_dir_all(home.path().join("run/telemetryd")).unwrap();
        let socket = home.path().join("run/telemetryd/telemetryd.sock");
        let _daemon = std::os::unix::net::UnixListener::bind(socket).unwrap();
        spawn(&program, &state, &surroundings).unwrap();
        assert_eq!(
            fs::metadata(state.join("start.lock")).unwrap().len(),
            0,
            "nothing was started"
        );
    }

    #[test]
    fn only_a_program_that_nobody_else_can_have_put_there_is_started() {
        let home = tempfile::tempdir().unwrap();
        let program = program(home.path());
        let uid = rustix::process::geteuid().as_raw();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(trusted(&program, uid));
        assert!(!trusted(&home.path().join("absent"), uid));
        mode(&program, 0o644);
        assert!(!trusted(&program, uid), "not a program");
        mode(&program, 0o757);
        assert!(!trusted(&program, uid), "anybody may change it");
        mode(&program, 0o755);
        mode(home.path(), 0o777);
        assert!(!trusted(&program, uid), "anybody may replace it");
    }

    #[test]
    fn nobody_is_started_for_root_or_where_somebody_has_said_no() {
        let home = tempfile::tempdir().unwrap();
        let root = rustix::process::geteuid().is_root();
        assert_eq!(wanted(&surroundings(home.path(), &[])), !root);
        assert!(!wanted(&surroundings(
            home.path(),
            &[("TELEMETRYD_AUTOSTART", "0")]
        )));
        assert!(!wanted(&surroundings(
            home.path(),
            &[("TELEMETRYD_SOCKET", "/x.sock")]
        )));
        let mut of_root = surroundings(home.path(), &[]);
        of_root.uid = 0;
        assert!(!wanted(&of_root));
    }
}
