//! `demo`: the whole way in one command, in a few seconds, leaving nothing behind.

use std::fs;
use std::time::Duration;

use telemetry_testkit::{Ctl, Home, telemetryd};

/// What CLI.md and the README promise.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn the_demo_shows_the_whole_way_and_leaves_nothing_behind() {
    let home = Home::new();
    let temporary = home.root().join("t");
    fs::create_dir(&temporary).unwrap();
    home.set_env("TMPDIR", &temporary);
    home.set_env("TELEMETRYD_BIN", telemetryd());
    let before = everything(&home);
    let exit = Ctl::new(&home).spawn(["demo"], None).wait(LIMIT).expect_code(0);
    let said = exit.stdout.to_lowercase();
    for word in ["kill", "delivered", "accepted"] {
        assert!(
            said.contains(word),
            "it does not speak of {word}:\n{}",
            exit.stdout
        );
    }
    assert_eq!(everything(&home), before, "it left something");
    let there = processes_in(&temporary.display().to_string());
    assert!(there.is_empty(), "it left processes: {there:?}");
}

#[test]
fn a_demo_where_telemetry_is_off_sends_nothing_and_says_why() {
    let home = Home::new();
    home.set_env("TELEMETRYD_BIN", telemetryd());
    home.set_env("DO_NOT_TRACK", "1");
    let exit = Ctl::new(&home).ok(["demo"]);
    assert!(exit.stdout.contains("DO_NOT_TRACK"), "{}", exit.stdout);
}

/// Every path of the home.
fn everything(home: &Home) -> Vec<std::path::PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![home.root().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Processes with that text in their command line or environment.
fn processes_in(text: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            let said = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let all = [said("cmdline"), said("environ")].concat();
            String::from_utf8_lossy(&all)
                .contains(text)
                .then(|| format!("{pid}: {}", String::from_utf8_lossy(&said("cmdline"))))
        })
        .collect()
}
