//! `demo`: with the real daemon where it was built beside this program, and how it refuses.

use std::path::{Path, PathBuf};

use crate::world::World;

/// The daemon of the same build, or `None` where only this package was built; with `CI=true` that fails.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn daemon() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_BIN_EXE_telemetryctl")).with_file_name("telemetryd");
    let named = std::env::var_os("TELEMETRYD_BIN").map(PathBuf::from);
    let found = named.into_iter().chain([beside]).find(|path| path.is_file());
    if found.is_none() {
        let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!in_ci, "telemetryd was not built");
        eprintln!("skipped: needs telemetryd (cargo build -p telemetryd)");
    }
    found
}

#[test]
fn every_acknowledged_event_arrives_once_through_an_outage_and_a_crash_and_nothing_is_left() {
    let Some(daemon) = daemon() else { return };
    let world = World::new().with("TELEMETRYD_BIN", daemon.to_str().unwrap());
    std::fs::create_dir(world.path("tmp")).unwrap();
    let world = {
        let place = world.path("tmp").display().to_string();
        world.with("TMPDIR", &place)
    };
    let ended = world.run(&["demo", "--json", "--events", "50"]);
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    let sum = ended.value();
    assert_eq!(
        (
            sum["ok"].as_bool(),
            sum["missing"].as_u64(),
            sum["twice"].as_u64()
        ),
        (Some(true), Some(0), Some(0))
    );
    assert_eq!(sum["accepted"], sum["delivered"]);
    assert_eq!(sum["repeated_batches"], 1);
    assert_eq!(
        std::fs::read_dir(world.path("tmp")).unwrap().count(),
        0,
        "nothing is left behind"
    );
    for directory in ["config", "state", "run", "machine"] {
        assert_eq!(
            std::fs::read_dir(world.path(directory)).unwrap().count(),
            0,
            "{directory} is not touched"
        );
    }
}

#[test]
fn an_opt_out_is_respected_and_explained() {
    let world = World::new().with("DO_NOT_TRACK", "");
    let ended = world.run(&["demo"]);
    assert_eq!(ended.code, 0);
    assert!(
        ended.out.contains("DO_NOT_TRACK") && ended.out.contains("respects"),
        "{}",
        ended.out
    );
    let world = World::new();
    world.write("machine/opt-out", "");
    assert_eq!(world.run(&["demo", "--json"]).value()["skipped"], "opt-out");
}

#[test]
fn a_missing_daemon_is_named() {
    let ended = World::new().run(&["demo"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains("no-such-program") && ended.err.contains("hint:"),
        "{}",
        ended.err
    );
}
