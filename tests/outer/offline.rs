//! Offline and back: a daemon and its endpoint in network namespaces of their own with a cable (veth) between, which
//! is pulled while tools go on, and plugged in again. Only root may make such a place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use telemetry_testkit::{DEADLINE, Daemon, Running, eventually};

use crate::stage::{TOOL, booked, home, id, queue, skipped, status};

/// `retry.spread` of these tests, and how much later a busy machine may be.
const SPREAD: Duration = Duration::from_secs(2);
const BUSY: Duration = Duration::from_secs(20);
/// What comes to another interface.
const ADDRESSES: u64 = 20;

/// A daemon and an endpoint at the two ends of a cable.
struct Cable {
    daemon: Daemon,
    endpoint: Running,
    arrived: std::path::PathBuf,
}

fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

impl Cable {
    /// Plugged in; `None`: not here.
    fn plugged() -> Option<Self> {
        if !rustix::process::geteuid().is_root()
            || !works(Command::new("unshare").args(["-n", "ip", "link", "add", "va", "type", "veth"]))
        {
            skipped("network namespaces and veth are needed, and only root has them");
            return None;
        }
        let home = home();
        let arrived = home.root().join("arrived");
        let mut command = home.command("unshare");
        command.args(["-n", "--"]).arg(telemetry_testkit::telemetryctl());
        command
            .args(["sink", "--json", "--listen", "0.0.0.0:8080", "--out"])
            .arg(&arrived);
        let endpoint = Running::start(command, None);
        // unshare in front of the daemon, by a script that stands for it.
        let program = home.root().join("alone");
        let script = format!(
            "#!/bin/sh\nexec unshare -n -- {} \"$@\"\n",
            telemetry_testkit::telemetryd().display()
        );
        home.write(&program, script);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        // After a failure the next try would come in half an hour; the cable is what brings it forward.
        home.write_config(&format!(
            "[destinations.default]\nurl = \"http://10.99.0.2:8080/\"\nallow_insecure = true\n\
             batch = {{ max_wait = \"50ms\" }}\nretry = {{ initial = \"2h\", max = \"2h\", spread = \"{}s\" }}\n",
            SPREAD.as_secs()
        ));
        let daemon = Daemon::builder(&home).program(program).start();
        eventually("the endpoint listens", DEADLINE, || {
            endpoint.stdout().contains("url").then_some(())
        });
        let cable = Self {
            daemon,
            endpoint,
            arrived,
        };
        let other = cable.endpoint.pid().to_string();
        cable.here(&[
            "link", "add", "va", "type", "veth", "peer", "name", "vb", "netns", &other,
        ]);
        cable.here(&["addr", "add", "10.99.0.1/24", "dev", "va"]);
        cable.at(
            cable.endpoint.pid(),
            &["addr", "add", "10.99.0.2/24", "dev", "vb"],
        );
        cable.at(cable.endpoint.pid(), &["link", "set", "vb", "up"]);
        cable.here(&["link", "set", "va", "up"]);
        Some(cable)
    }

    /// `ip` at the daemon's end.
    #[track_caller]
    fn here(&self, words: &[&str]) {
        self.at(self.daemon.pid(), words);
    }

    #[track_caller]
    fn at(&self, pid: u32, words: &[&str]) {
        let pid = pid.to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-n", "ip"]).args(words);
        assert!(works(&mut command), "{command:?}");
    }

    /// How many of these have arrived.
    fn arrived(&self, ids: &[String]) -> usize {
        let text = fs::read_to_string(&self.arrived).unwrap_or_default();
        ids.iter().filter(|id| text.contains(&**id)).count()
    }

    /// Netlink sockets that the daemon has open.
    fn watches(&self) -> usize {
        let proc = format!("/proc/{}", self.daemon.pid());
        let table = fs::read_to_string(format!("{proc}/net/netlink")).unwrap();
        let known: Vec<&str> = table
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().last())
            .collect();
        let held = fs::read_dir(format!("{proc}/fd")).unwrap().filter_map(|fd| {
            let target = fs::read_link(fd.ok()?.path()).ok()?;
            let inode = target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?
                .to_owned();
            known.contains(&&*inode).then_some(())
        });
        held.count()
    }

    /// It has seen that the endpoint cannot be reached, and looks out for what comes.
    #[track_caller]
    fn is_watched(&self) {
        eventually("the network is watched", DEADLINE, || {
            (self.watches() == 1).then_some(())
        });
    }

    /// The destination's state once it is this.
    #[track_caller]
    fn becomes(&self, state: &str) {
        eventually(state, DEADLINE, || {
            (status(&self.daemon)["destinations"][0]["state"] == state).then_some(())
        });
    }
}

/// A week of an hour's work each: runs of a tool that came and went, two events each.
fn a_week(cable: &Cable) -> Vec<String> {
    let mut ids = Vec::new();
    for hour in 0..7 * 24_u64 {
        let at = 1_763_000_000_000 + hour * 3_600_000;
        let run = [1, 2].map(|n| json!({"tool": TOOL, "event": "ran", "id": id(hour * 10 + n), "time": at}));
        ids.extend(queue(&cable.daemon, run));
    }
    ids
}

#[test]
fn a_week_offline_arrives_within_the_spread_and_the_log_has_two_lines_about_it() {
    let Some(cable) = Cable::plugged() else {
        return;
    };
    assert_eq!(cable.watches(), 0, "nothing waits, nothing is watched");
    let first = queue(&cable.daemon, [json!({"tool": TOOL, "event": "ran"})]);
    eventually("the first event arrives", DEADLINE, || {
        (cable.arrived(&first) == 1).then_some(())
    });
    for cycle in 1..=2 {
        cable.here(&["link", "set", "va", "down"]);
        let mut ids = if cycle == 1 { a_week(&cable) } else { Vec::new() };
        ids.extend(queue(&cable.daemon, [json!({"tool": TOOL, "event": "ran"})]));
        cable.becomes("backoff");
        cable.is_watched();
        assert_eq!(cable.arrived(&ids), 0);
        assert_eq!(booked(&status(&cable.daemon), "queued"), ids.len() as u64);

        cable.here(&["link", "set", "va", "up"]);
        #[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
        let back = Instant::now();
        eventually("everything arrives", SPREAD + BUSY, || {
            (cable.arrived(&ids) == ids.len()).then_some(())
        });
        assert!(back.elapsed() < SPREAD + BUSY);
        eventually("all is booked", DEADLINE, || {
            (booked(&status(&cable.daemon), "queued") == 0).then_some(())
        });
        cable.becomes("idle");
        eventually("nothing is watched any more", DEADLINE, || {
            (cable.watches() == 0).then_some(())
        });
        let log = cable.daemon.log();
        let about: Vec<&str> = log
            .lines()
            .filter(|line| !line.contains(" ready ") && !line.trim().is_empty())
            .collect();
        assert_eq!(about.len(), 2 * cycle, "{log}");
        for lines in about.chunks(2) {
            assert!(lines[0].contains("cannot be reached"), "{log}");
            assert!(lines[1].contains("is back"), "{log}");
        }
    }
}

#[test]
fn what_comes_and_goes_on_the_network_hurries_nobody_but_who_waits_for_it() {
    let Some(cable) = Cable::plugged() else {
        return;
    };
    cable.here(&["link", "set", "va", "down"]);
    queue(&cable.daemon, [json!({"tool": TOOL, "event": "ran"})]);
    cable.becomes("backoff");
    cable.is_watched();
    // Some other interface: addresses come, and the endpoint is as far away as before. What comes while a try waits for
    // its moment brings no other; what comes after that try has failed would, so they all come at once.
    let changes: String = (1..=ADDRESSES)
        .map(|n| format!("addr add 10.98.0.{n}/24 dev vc\n"))
        .collect();
    let file = cable.arrived.with_file_name("changes");
    fs::write(&file, changes).unwrap();
    cable.here(&["link", "add", "vc", "type", "veth", "peer", "name", "vd"]);
    cable.here(&["link", "set", "vc", "up"]);
    cable.here(&["-batch", file.to_str().unwrap()]);
    let attempts = || {
        status(&cable.daemon)["destinations"][0]["attempts"]
            .as_u64()
            .unwrap()
    };
    let tried = eventually("it was tried again", SPREAD + BUSY, || {
        Some(attempts()).filter(|attempts| *attempts > 1)
    });
    assert!(
        tried < ADDRESSES / 2,
        "a storm: {tried} tries, of {ADDRESSES} changes"
    );
    assert_eq!(cable.daemon.log().matches("cannot be reached").count(), 1);
    cable.here(&["link", "set", "va", "up"]);
    eventually("it arrives", SPREAD + BUSY, || {
        (booked(&status(&cable.daemon), "delivered") == 1).then_some(())
    });
}
