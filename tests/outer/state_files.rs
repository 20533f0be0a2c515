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

#[cfg(target_os = "linux")]
#[test]
fn what_is_acknowledged_after_the_state_directory_was_deleted_arrives_and_the_daemon_ends_with_an_error() {
    use crate::stage::{Stage, event};
    use telemetry_testkit::sink::Script;

    let mut stage = Stage::new(Script::new(), TOLD);
    let mut said = stage.queue([event(1), event(2)]);
    let mut tool = stage.daemon.connect();
    fs::remove_dir_all(stage.home.state_dir()).unwrap();
    for n in 3.. {
        if tool.try_send_bytes(format!("{}\n", event(n)).as_bytes()).is_err() {
            break;
        }
        match tool.hear(DEADLINE) {
            telemetry_testkit::Heard::Line(answer) if answer.contains("\"queued\"") => {
                said.push(crate::stage::id(n))
            }
            telemetry_testkit::Heard::Line(_) => {}
            _ => break,
        }
    }
    let exit = stage.daemon.wait(DEADLINE).expect_code(1);
    assert!(
        exit.stderr.contains("state/telemetryd is gone"),
        "{}",
        exit.stderr
    );
    let arrived: std::collections::BTreeSet<String> = stage
        .endpoint
        .events()
        .iter()
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect();
    let lost: Vec<&String> = said.iter().filter(|id| !arrived.contains(*id)).collect();
    assert!(
        lost.is_empty(),
        "acknowledged, {} of {} did not arrive",
        lost.len(),
        said.len()
    );
    // The next one begins anew.
    stage.daemon.restart();
    stage.queue([event(1)]);
}
