//! Whatever stands in the place of the daemon's own files, it keeps nobody waiting.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use telemetry_testkit::{Ctl, DEADLINE, Daemon};

use crate::stage::{TOLD, TOOL, ask, destination, home};

/// All files below, but for those of the database, which a queue that cannot be opened reports by itself.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn a_pipe_in_the_place_of_any_file_of_its_own_keeps_no_daemon_waiting() {
    let home = home();
    let manifest = "name = \"demo\"\nconsent = \"opt-out\"\nnotice = \"We count.\"\nnotice_required = true\n\
        max_per_day = 100\nevents = \"any\"\n";
    home.write_manifest(TOOL, manifest);
    let builder = Daemon::builder(&home).config(&destination("http://127.0.0.1:9/", TOLD));
    let ran = json!({"tool": TOOL, "event": "ran", "project": "p", "user": "u"});
    let brought = json!({"op": "register", "manifest": "name = \"brought\"\nevents = \"any\"\n"});
    let noticed = json!({"op": "consent", "action": "noticed", "tool": TOOL});
    let mut daemon = builder.clone().start();
    // Everything that makes a file.
    assert_eq!(ask(&daemon, &brought)["ok"], true);
    assert_eq!(ask(&daemon, &noticed)["ok"], true);
    assert_eq!(ask(&daemon, &ran)["status"], "queued");
    for action in ["deny", "allow"] {
        ask(&daemon, &json!({"op": "consent", "action": action, "tool": TOOL}));
    }
    assert_eq!(ask(&daemon, &ran)["status"], "queued");
    daemon.term().expect_code(0);
    drop(daemon);
    let mut own = files(&home.state_dir());
    own.push(home.config_dir().join("consent.toml"));
    own.push(home.state_dir().join("telemetryd.log"));
    own.sort();
    assert!(own.len() >= 10, "{own:?}");
    for path in own {
        let kept = fs::read(&path).ok();
        let _ = fs::remove_file(&path);
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        // It runs, or says why not; in any case soon.
        let mut running = builder.spawn();
        let ctl = Ctl::new(&home);
        telemetry_testkit::eventually(
            &format!("it answers or ends with {}", path.display()),
            DEADLINE,
            || {
                let answers = ctl.run(["status"]).code == Some(0);
                (answers || running.exited().is_some()).then_some(())
            },
        );
        if running.exited().is_none() {
            for args in [
                &["consent", "log"][..],
                &["consent", "explain", "--tool", TOOL],
                &["send", TOOL, "ran"],
            ] {
                let exit = ctl.run(args);
                assert!(
                    exit.signal.is_none(),
                    "{args:?} with {}: {exit:?}",
                    path.display()
                );
            }
            let stopped = ctl.run(["stop"]);
            assert_eq!(stopped.code, Some(0), "{}: {stopped:?}", path.display());
            telemetry_testkit::eventually(&format!("it ends with {}", path.display()), DEADLINE, || {
                running.exited()
            });
        }
        let _ = fs::remove_file(&path);
        if let Some(kept) = kept {
            fs::write(&path, kept).unwrap();
        }
    }
}
