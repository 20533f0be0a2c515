//! A withdrawal by a file is obeyed by an idle daemon that nobody asks anything: its watch on the files of consent
//! tells it (CONSENT.md, "Epochs").

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use telemetry_testkit::{Collector, DEADLINE, Home, eventually};

use crate::stage::{Stage, TOLD, TOOL, booked, id, manifest, status};

type Withdrawal = fn(&Home);

/// The roads of a withdrawal that lead through a file.
const ROADS: [(&str, Withdrawal); 10] = [
    ("opt-out", |home| {
        home.write(home.machine_dir().join("opt-out"), "")
    }),
    ("opt-out.d/demo", |home| {
        home.write(home.machine_dir().join("opt-out.d/demo"), "");
    }),
    ("opt-out as a dangling link", |home| {
        fs::create_dir_all(home.machine_dir()).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", home.machine_dir().join("opt-out")).unwrap();
    }),
    ("consent.toml", |home| {
        home.write(home.config_dir().join("consent.toml"), "telemetry = false\n");
    }),
    ("consent.toml, renamed over the old one", |home| {
        let file = home.config_dir().join("consent.toml");
        let new = home.config_dir().join("new");
        home.write(&new, "telemetry = false\n");
        fs::rename(new, file).unwrap();
    }),
    ("consent.toml, a link whose target is edited", |home| {
        append(&home.root().join("dotfiles/consent.toml"), "telemetry = false\n");
    }),
    ("the manifest is gone", |home| {
        fs::remove_file(home.tools_dir().join("demo.toml")).unwrap();
    }),
    ("the manifest is opt-in now", |home| {
        home.write_manifest(TOOL, &manifest(TOOL).replace("opt-out", "opt-in"));
    }),
    ("the manifest lists less than it took", |home| {
        let listed = manifest(TOOL).replace("events = \"any\"\n", "") + "[events.other]\n";
        home.write_manifest(TOOL, &listed);
    }),
    ("all manifests are gone", |home| {
        fs::remove_dir_all(home.tools_dir()).unwrap();
    }),
];

fn append(file: &Path, text: &str) {
    let before = fs::read_to_string(file).unwrap();
    fs::write(file, before + text).unwrap();
}

fn telling(n: u64) -> Value {
    json!({"tool": TOOL, "event": "telling-event-name", "id": id(n)})
}

fn is_in(directory: &Path, word: &str) -> bool {
    fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => is_in(&path, word),
            false => fs::read(path)
                .is_ok_and(|bytes| bytes.windows(word.len()).any(|part| part == word.as_bytes())),
        }
    })
}

#[test]
fn whatever_the_file_an_idle_daemon_erases_without_being_asked() {
    for (what, withdraw) in ROADS {
        let stage = Stage::before(Collector::builder().expect_nothing().start(), TOLD);
        if what.contains("link whose target") {
            let real = stage.home.root().join("dotfiles/consent.toml");
            stage.home.write(&real, "# mine\n");
            std::os::unix::fs::symlink(&real, stage.home.config_dir().join("consent.toml")).unwrap();
        }
        stage.queue((0..50).map(telling));
        assert!(is_in(&stage.home.state_dir(), "telling-event-name"));
        withdraw(&stage.home);
        // Only the files are looked at: a question would make it look.
        eventually(&format!("{what}: it is erased"), DEADLINE, || {
            (!is_in(&stage.home.state_dir(), "telling-event-name")).then_some(())
        });
        assert_eq!(booked(&status(&stage.daemon), "purged"), 50, "{what}");
        stage.endpoint.finish();
    }
}
