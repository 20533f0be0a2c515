//! A machine of a test's own: a real systemd in namespaces, over a throw-away root (`boot.sh` says what it sees and
//! what it cannot touch). It runs until it is dropped, and leaves nothing behind.
//!
//! Needs root, overlayfs and cgroups. Where it cannot be had the test fails, unless `TELEMETRYD_SKIP_SYSTEMD=1`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use telemetry_testkit::{DEADLINE, Exit, Running, eventually, telemetryctl, telemetryd};
use tempfile::TempDir;

/// Says that a machine that cannot run this shall pass it over.
const SKIP: &str = "TELEMETRYD_SKIP_SYSTEMD";

/// A person with an account there: name and uid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person(pub(crate) &'static str, pub(crate) u32);

pub(crate) const ALICE: Person = Person("alice", 2001);
pub(crate) const BOB: Person = Person("bob", 2002);

/// Where the endpoint listens, and what it writes down.
pub(crate) const ENDPOINT: &str = "http://127.0.0.1:9000/";
const ARRIVED: &str = "/var/tmp/arrived.ndjson";

/// What every machine has besides this one's files: people, and units that tests start.
const FILES: [(&str, &str); 4] = [
    // No fsync on a root of memory, no index of all manuals.
    ("etc/dpkg/dpkg.cfg.d/quick", "force-unsafe-io\nno-triggers\n"),
    (
        "usr/lib/sysusers.d/people.conf",
        "u alice 2001 \"\" /home/alice /bin/sh\nu bob 2002 \"\" /home/bob /bin/sh\n",
    ),
    (
        "usr/lib/systemd/system/endpoint.service",
        "[Service]\nExecStart=/usr/bin/telemetryctl sink --listen 127.0.0.1:9000 --out /var/tmp/arrived.ndjson\n",
    ),
    (
        "usr/lib/systemd/system/manager@.service",
        "[Service]\nType=notify\nUser=%i\nGroup=%i\nDelegate=yes\nKillMode=mixed\nPassEnvironment=PATH\n\
         ExecStart=/bin/sh -c 'XDG_RUNTIME_DIR=/run/user/$$(id -u) exec /lib/systemd/systemd --user'\n",
    ),
];

/// A machine that runs.
pub(crate) struct Machine {
    boot: Running,
    /// Its systemd, as this machine counts.
    init: u32,
    cgroup: PathBuf,
    _base: TempDir,
    _tree: TempDir,
}

impl Machine {
    /// Boots one that has these files besides, with their paths there. `None`: it cannot be done here, and the
    /// test was told to be passed over.
    #[track_caller]
    pub(crate) fn boot_with(files: &[(&Path, &str)]) -> Option<Self> {
        if let Err(why) = possible() {
            assert!(
                std::env::var_os(SKIP).is_some_and(|told| told == "1"),
                "no machine can be booted here: {why}. {SKIP}=1 passes these tests over"
            );
            skipped(&why);
            return None;
        }
        let tree = TempDir::with_prefix("tmd-machine").expect("a temporary directory can be made");
        let put = |path: &str| {
            let path = tree.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().expect("a file is in a directory"))
                .expect("a directory of ours");
            path
        };
        for (path, text) in FILES {
            fs::write(put(path), text).expect("a file of ours");
        }
        for (from, path) in files {
            fs::copy(from, put(path)).expect("a file that was built");
        }
        let base = TempDir::with_prefix("tmd-root").expect("a temporary directory can be made");
        let cgroup = own_cgroup();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/boot.sh");
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""])
            .arg(&cgroup)
            .args([
                "unshare",
                "--fork",
                "--kill-child",
                "--pid",
                "--mount",
                "--propagation",
                "private",
            ])
            .args(["--net", "--uts", "--ipc", "--cgroup", "sh"])
            .args([&script, base.path(), tree.path()]);
        let mut boot = Running::start(command, None);
        let init = eventually("systemd runs", DEADLINE, || {
            if let Some(exit) = boot.exited() {
                panic!("the machine did not boot: {}{}", exit.stdout, exit.stderr);
            }
            child_called(boot.pid(), "systemd")
        });
        let machine = Self {
            boot,
            init,
            cgroup,
            _base: base,
            _tree: tree,
        };
        eventually("the machine has booted", DEADLINE, || {
            (machine.try_sh("systemctl is-active --quiet machine.target").code == Some(0)).then_some(())
        });
        machine.sh("systemd-sysusers");
        for Person(name, uid) in [ALICE, BOB] {
            machine.sh(&format!(
                "install -d -m 0700 -o {name} -g {name} /home/{name} /run/user/{uid}"
            ));
        }
        Some(machine)
    }

    /// Runs a shell script there as root, to its end, however that is.
    pub(crate) fn try_sh(&self, script: &str) -> Exit {
        self.enter(&["sh", "-c", script])
    }

    /// Runs a shell script there as root. What it printed.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        held(script, self.try_sh(script), self)
    }

    /// Runs a shell script there as that person.
    #[track_caller]
    pub(crate) fn sh_as(&self, person: Person, script: &str) -> String {
        held(script, self.try_sh_as(person, script), self)
    }

    /// The same, however it ends.
    pub(crate) fn try_sh_as(&self, Person(name, uid): Person, script: &str) -> Exit {
        let uid = uid.to_string();
        let (home, run) = (
            format!("HOME=/home/{name}"),
            format!("XDG_RUNTIME_DIR=/run/user/{uid}"),
        );
        let who = ["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups"];
        self.enter(
            &[
                &who[..],
                &["env", "-C", &home[5..], &home, &run, "sh", "-c", script],
            ]
            .concat(),
        )
    }

    fn enter(&self, words: &[&str]) -> Exit {
        let mut command = Command::new("nsenter");
        command
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("NO_COLOR", "1")
            .args([
                "--target",
                &self.init.to_string(),
                "--all",
                "--",
                "env",
                "-C",
                "/",
            ])
            .args(words);
        Running::start(command, None).wait(DEADLINE * 2)
    }

    /// Waits for something there.
    #[track_caller]
    pub(crate) fn eventually(&self, what: &str, script: &str) {
        eventually(what, DEADLINE, || {
            (self.try_sh(script).code == Some(0)).then_some(())
        });
    }

    /// Writes a file there, folders included.
    #[track_caller]
    pub(crate) fn write(&self, path: &str, text: &str) {
        let folder = Path::new(path)
            .parent()
            .expect("a file is in a folder")
            .display()
            .to_string();
        self.sh(&format!(
            "mkdir -p {folder} && cat > {path} <<'TEXT'\n{text}\nTEXT"
        ));
    }

    /// Has the daemon started again after a failure in a tenth of a second, not in ten.
    #[track_caller]
    pub(crate) fn quick_restart(&self) {
        self.write(
            "/etc/systemd/system/telemetryd.service.d/quick.conf",
            "[Service]\nRestartSec=100ms\n",
        );
        self.sh("systemctl daemon-reload");
    }

    /// Its network, for a thread that enters it.
    #[track_caller]
    pub(crate) fn network(&self) -> fs::File {
        fs::File::open(format!("/proc/{}/ns/net", self.init)).expect("a process that runs has one")
    }

    /// A property of a unit.
    #[track_caller]
    pub(crate) fn property(&self, unit: &str, property: &str) -> String {
        self.sh(&format!("systemctl show --value --property {property} {unit}"))
            .trim()
            .to_owned()
    }

    /// The daemon's process there.
    #[track_caller]
    pub(crate) fn daemon_pid(&self) -> u32 {
        self.property("telemetryd.service", "MainPID")
            .parse()
            .expect("a number")
    }

    /// Starts the endpoint, which answers 200 and writes down what comes.
    #[track_caller]
    pub(crate) fn start_endpoint(&self) {
        self.sh("systemctl start endpoint");
        self.eventually("the endpoint listens", "ss -ltn | grep -q 127.0.0.1:9000");
    }

    /// Every event that arrived, once for each time.
    #[track_caller]
    pub(crate) fn arrived(&self) -> Vec<Value> {
        let text = self.sh(&format!("cat {ARRIVED} 2>/dev/null || true"));
        let requests = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
        requests
            .flat_map(|request| request["events"].as_array().cloned().unwrap_or_default())
            .collect()
    }

    /// Waits until so many events have arrived.
    #[track_caller]
    pub(crate) fn wait_for_arrived(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} events arrive"), DEADLINE, || {
            let arrived = self.arrived();
            (arrived.len() >= count).then_some(arrived)
        })
    }
}

/// Ends with what a machine says about itself when a script failed in it.
#[track_caller]
fn held(script: &str, exit: Exit, machine: &Machine) -> String {
    assert!(
        exit.code == Some(0),
        "{script}\nended with {:?}:\n{}{}\n---- the journal there ----\n{}",
        exit.code,
        exit.stdout,
        exit.stderr,
        machine
            .try_sh("journalctl --no-pager --quiet -o cat -n 25")
            .stdout
    );
    exit.stdout
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The namespace's first process goes with the one that made it, and everything else with that.
        self.boot.kill();
        let gone = || (!self.cgroup.exists() || remove_cgroup(&self.cgroup).is_ok()).then_some(());
        if !std::thread::panicking() {
            eventually("the machine's processes are gone", Duration::from_secs(30), gone);
        }
    }
}

/// What is missing here, if anything is.
fn possible() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("not root".to_owned());
    }
    if !Path::new("/lib/systemd/systemd").exists() {
        return Err("no systemd is installed".to_owned());
    }
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    for needed in ["overlay", "cgroup2"] {
        if !known
            .lines()
            .any(|line| line.split_whitespace().last() == Some(needed))
        {
            return Err(format!("the kernel has no {needed}"));
        }
    }
    cgroups().map(|_| ())
}

/// Where the unified hierarchy is mounted, writable.
fn cgroups() -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .filter(|mount| {
            mount.get(2) == Some(&"cgroup2")
                && mount
                    .get(3)
                    .is_some_and(|options| options.split(',').any(|o| o == "rw"))
        });
    let mount = found.next().ok_or("no writable cgroup2 is mounted")?;
    Ok(PathBuf::from(mount[1]))
}

/// A new group for a machine's processes; those that earlier tests could not remove go.
fn own_cgroup() -> PathBuf {
    let top = cgroups().expect("asked before");
    let left = fs::read_dir(&top)
        .expect("a file system that is mounted")
        .flatten();
    for group in left.filter(|entry| entry.file_name().to_string_lossy().starts_with("tmd-machine-")) {
        let _ = remove_cgroup(&group.path());
    }
    let own = top.join(format!("tmd-machine-{}", uuid::Uuid::new_v4().simple()));
    fs::create_dir(&own).unwrap_or_else(|error| panic!("cannot make {}: {error}", own.display()));
    own
}

/// Removes a group and those below it; fails while a process is in one.
fn remove_cgroup(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

/// The child of a process, once it is that program.
fn child_called(pid: u32, name: &str) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let child = children.split_whitespace().next()?.parse().ok()?;
    let called = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
    (called.trim_end() == name).then_some(child)
}

#[expect(clippy::print_stderr, reason = "a test that is passed over says so")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// Makes a .deb of the programs that the other tests use.
#[track_caller]
pub(crate) fn package(version: &str) -> (TempDir, PathBuf) {
    packed("deb", version)
}

/// Makes a package of either kind.
#[track_caller]
pub(crate) fn packed(kind: &str, version: &str) -> (TempDir, PathBuf) {
    let out = TempDir::with_prefix("tmd-package").expect("a temporary directory can be made");
    let daemon = telemetryd();
    let programs = daemon.parent().expect("a program is in a directory");
    assert_eq!(
        telemetryctl().parent(),
        Some(programs),
        "both programs stand together"
    );
    let xtask = std::env::var_os("XTASK_BIN").map_or_else(|| programs.join("xtask"), PathBuf::from);
    let mut command = Command::new(&xtask);
    command.args(["package", kind, "--plain", "--version", version]);
    command
        .arg("--programs")
        .arg(programs)
        .arg("--out")
        .arg(out.path());
    let said = Running::start(command, None)
        .wait(DEADLINE * 3)
        .expect_code(0)
        .stdout;
    let file = PathBuf::from(said.trim_end());
    assert!(file.is_file(), "{}", file.display());
    (out, file)
}
