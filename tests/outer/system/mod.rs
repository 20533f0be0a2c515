//! The machine-wide daemon, with real users: each is answered about itself, limited by itself, and never read at home
//! (I13). A connection is made by a thread that has become the user, for the credentials of a socket are those of who
//! connected it; programs run through setpriv. Only root can be two users: elsewhere these tests say that they do not
//! run, and fail where they must.

mod answers;
mod consent;
mod ctl;
mod everywhere;
mod gateway;
mod homes;
mod hostile;
mod limits;
mod refused;
mod shares;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde_json::{Value, json};
use telemetry_testkit::sink::Script;
use telemetry_testkit::{Collector, Daemon, DaemonBuilder, Home, Tool};

use crate::stage::{TOOL, books_balance, destination, endpoint, manifest};

/// Two users that exist nowhere else.
pub(crate) const ANN: u32 = 64_011;
pub(crate) const BEN: u32 = 64_012;
/// Root, who may ask for all.
pub(crate) const ROOT: u32 = 0;

/// A home that stands for the machine: anybody may come to the socket, nobody else may see the rest.
pub(crate) fn machine() -> Option<Home> {
    if !rustix::process::geteuid().is_root() {
        crate::stage::skipped("two users are needed, and only root can be them");
        return None;
    }
    let home = Home::new();
    for tool in [TOOL, "other"] {
        announce(&home, tool);
    }
    for (path, mode) in [
        (home.root().to_owned(), 0o711),
        (home.runtime_dir(), 0o755),
        (home.state_dir(), 0o700),
    ] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    // The daemon makes the socket's own directory.
    let _ = fs::remove_dir(home.socket().parent().unwrap());
    Some(home)
}

/// The admin's manifest of a tool: on unless denied.
pub(crate) fn announce(home: &Home, tool: &str) {
    home.write(
        home.config_dir().join("tools.d").join(format!("{tool}.toml")),
        manifest(tool),
    );
}

/// A daemon for everybody.
pub(crate) fn builder(home: &Home, config: &str) -> DaemonBuilder {
    Daemon::builder(home).config(config).arg("--system")
}

/// A machine, an endpoint, and a daemon for everybody between.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) daemon: Daemon,
    pub(crate) endpoint: Collector,
    pub(crate) home: Home,
}

impl Machine {
    /// With settings of the destination, and settings of everything else; `None`: not here.
    #[track_caller]
    pub(crate) fn start(of_destination: &str, others: &str) -> Option<Self> {
        Self::before(Script::new(), of_destination, others)
    }

    /// With an endpoint that does as the script says.
    #[track_caller]
    pub(crate) fn scripted(script: Script, of_destination: &str) -> Option<Self> {
        Self::before(script, of_destination, "")
    }

    #[track_caller]
    fn before(script: Script, of_destination: &str, others: &str) -> Option<Self> {
        let home = machine()?;
        let endpoint = endpoint(script);
        let config = format!("{others}\n{}", destination(&endpoint.url(), of_destination));
        let daemon = builder(&home, &config).start();
        Some(Self {
            daemon,
            endpoint,
            home,
        })
    }

    /// A connection of that user.
    #[track_caller]
    pub(crate) fn connect(&self, uid: u32) -> Tool {
        connect_as(&self.home.socket(), uid)
    }

    /// One request of that user, and its one answer.
    #[track_caller]
    pub(crate) fn ask(&self, uid: u32, request: &Value) -> Value {
        self.connect(uid).ask(request)
    }

    /// The lines of a listing that user asked for.
    #[track_caller]
    pub(crate) fn list(&self, uid: u32, request: &Value) -> Vec<Value> {
        let mut tool = self.connect(uid);
        tool.send(request);
        let mut lines = Vec::new();
        loop {
            let line = tool.answer();
            assert_ne!(line["ok"], false, "{line}");
            if line["status"] == "end" {
                return lines;
            }
            lines.push(line);
        }
    }

    /// That user's `status`, whose books balance and are its own.
    #[track_caller]
    pub(crate) fn status(&self, uid: u32) -> Value {
        let status = self.ask(uid, &json!({"op": "status"}));
        assert_eq!(status["ok"], true, "{status}");
        books_balance(&status);
        for book in status["books"].as_array().expect("books") {
            assert_eq!(book["uid"], uid, "{book}");
        }
        status
    }

    /// Sends events as that user, and has each answered `queued`.
    #[track_caller]
    pub(crate) fn queue(&self, uid: u32, events: impl IntoIterator<Item = Value>) {
        let mut tool = self.connect(uid);
        for event in events {
            let answer = tool.ask(&event);
            assert_eq!(answer["status"], "queued", "{answer}");
        }
    }
}

/// A connection that this user made.
#[track_caller]
pub(crate) fn connect_as(socket: &Path, uid: u32) -> Tool {
    let become_and_connect = || {
        let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
        set_thread_groups(&[]).unwrap();
        set_thread_res_gid(group, group, group).unwrap();
        set_thread_res_uid(user, user, user).unwrap();
        Tool::connect(socket)
    };
    std::thread::scope(|scope| scope.spawn(become_and_connect).join()).expect("the socket is everybody's")
}

/// telemetryctl as this user, in a home of the user's own, beside the machine's daemon.
pub(crate) fn ctl_as(home: &Home, uid: u32) -> Command {
    let own = home.root().join(format!("homes/{uid}"));
    fs::create_dir_all(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(uid), Some(uid)).unwrap();
    // Where the built one lies others may have no way to.
    let program = home.root().join("bin/telemetryctl");
    if !program.exists() {
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::copy(telemetry_testkit::telemetryctl(), &program).unwrap();
    }
    let mut command = home.command("setpriv");
    for ours in home.variables().keys() {
        let name = ours.to_string_lossy();
        if name.starts_with("XDG_") || name.starts_with("TELEMETRYD_") {
            command.env_remove(ours);
        }
    }
    let uid = uid.to_string();
    command
        .args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--"])
        .arg(program)
        .env("HOME", own)
        .env("TELEMETRYD_SOCKET", home.socket())
        .current_dir("/");
    command
}

/// The ids of listed rows, in order.
pub(crate) fn ids(rows: &[Value]) -> Vec<&str> {
    let mut ids: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    ids.sort_unstable();
    ids
}
