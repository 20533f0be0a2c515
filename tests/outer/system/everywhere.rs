//! Root's `opt-out --system` on a machine of its own (a mount namespace with its own `/run` and `/var/lib`): users' daemons
//! at `/run/user/<uid>`, and the queue of a machine-wide daemon that does not run, which belongs to a user of its own.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{ANN, BEN};

/// Whose the machine's queue is.
const SERVICE: u32 = 64_013;

/// Each daemon has its own queue; what is said in the end is read by the test.
const SCRIPT: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
export PATH="$ROOT/bin:$PATH"
mkdir /run/user
install -d -m 755 -o "$SERVICE" /run/telemetryd
install -d -m 700 -o "$SERVICE" -g "$SERVICE" /var/lib/telemetryd
install -d "$ROOT/homes/0"
as() {
    uid=$1; shift
    setpriv --reuid "$uid" --regid "$uid" --clear-groups env -i PATH="$PATH" HOME="$ROOT/homes/$uid" \
        TELEMETRYD_MACHINE_DIR="$ROOT/machine" "$@"
}
soon() {
    for _ in $(seq 200); do "$@" && return; sleep 0.05; done
    echo "never: $*" >&2; exit 1
}
# The machine's daemon takes three events and is killed.
as "$SERVICE" TELEMETRYD_CONFIG_DIR="$ROOT/config/telemetryd" telemetryd --system >"$ROOT/machine.log" 2>&1 &
soon test -S /run/telemetryd/telemetryd.sock
for _ in 1 2 3; do as "$ANN" telemetryctl send --strict demo ran; done
kill -9 "$(cat /var/lib/telemetryd/queue.lock)"
wait
# Two users' own daemons.
for uid in "$ANN" "$BEN"; do
    install -d -m 700 -o "$uid" -g "$uid" "/run/user/$uid"
    as "$uid" XDG_RUNTIME_DIR="/run/user/$uid" telemetryd --background
done
as "$ANN" XDG_RUNTIME_DIR="/run/user/$ANN" telemetryctl send --strict demo ran
for _ in 1 2; do as "$BEN" XDG_RUNTIME_DIR="/run/user/$BEN" telemetryctl send --strict demo ran; done
as 0 telemetryctl opt-out --system --json
stat -c %u /var/lib/telemetryd /var/lib/telemetryd/* | sort -u | tr '\n' ' '; echo
for uid in "$ANN" "$BEN"; do
    as "$uid" XDG_RUNTIME_DIR="/run/user/$uid" telemetryctl status --json
    as "$uid" XDG_RUNTIME_DIR="/run/user/$uid" telemetryctl stop >&2
done
"#;

#[test]
fn root_reaches_every_users_daemon_and_the_machines_own_queue_as_the_user_whose_it_is() {
    let Some(home) = super::machine() else { return };
    let bin = home.root().join("bin");
    fs::create_dir_all(&bin).unwrap();
    for program in [telemetry_testkit::telemetryd(), telemetry_testkit::telemetryctl()] {
        fs::copy(&program, bin.join(program.file_name().unwrap())).unwrap();
    }
    let config = crate::stage::destination("http://127.0.0.1:9/", crate::stage::TOLD);
    home.write_config(&config);
    for uid in [ANN, BEN] {
        let own = home.root().join(format!("homes/{uid}"));
        home.write(own.join(".config/telemetryd/config.toml"), &config);
        home.write(
            own.join(".local/share/telemetryd/tools.d/demo.toml"),
            crate::stage::manifest("demo"),
        );
        let owned = Command::new("chown")
            .arg("-R")
            .arg(format!("{uid}:{uid}"))
            .arg(&own)
            .status();
        assert!(owned.unwrap().success());
    }
    let output = Command::new("unshare")
        // Whatever was started there ends with it.
        .args([
            "-m",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            SCRIPT,
        ])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("ROOT", home.root())
        .envs([("ANN", ANN), ("BEN", BEN), ("SERVICE", SERVICE)].map(|(name, uid)| (name, uid.to_string())))
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
    let mut lines = out.lines();
    let mut next = || lines.next().unwrap_or_else(|| panic!("{out}\n{err}"));
    let receipt: Value = serde_json::from_str(next()).unwrap();
    assert_eq!(
        receipt["purged"], 6,
        "three of the machine's, one and two of the users': {receipt}"
    );
    let reached: Vec<&str> = receipt["reached"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for one in [
        format!("/run/user/{ANN}/telemetryd/telemetryd.sock"),
        format!("/run/user/{BEN}/telemetryd/telemetryd.sock"),
        "the machine's queue, through telemetryd --system --purge".to_owned(),
    ] {
        assert!(reached.contains(&&*one), "{one} is not in {receipt}");
    }
    assert_eq!(
        next().trim(),
        SERVICE.to_string(),
        "what is the machine's stays its daemon's"
    );
    for purged in [1, 2] {
        let status: Value = serde_json::from_str(next()).unwrap();
        let books = status["books"].as_array().unwrap();
        assert!(books.iter().all(|book| book["queued"] == 0), "{status}");
        let sum: u64 = books.iter().filter_map(|book| book["purged"].as_u64()).sum();
        assert_eq!(sum, purged, "{status}");
    }
}
