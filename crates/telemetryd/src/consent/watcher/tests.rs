//! What a watch tells of, and what it does not claim to.

use super::*;

/// A home with a config and policies in it, and the watch over both.
fn watched_home() -> (tempfile::TempDir, Vec<Watched>) {
    let home = tempfile::tempdir().expect("a directory");
    for directory in ["config", "machine/policy.d"] {
        std::fs::create_dir_all(home.path().join(directory)).expect("a directory");
    }
    let these = vec![
        Watched::File(home.path().join("config/consent.toml")),
        Watched::File(home.path().join("machine/opt-out")),
        Watched::Directory(home.path().join("machine/policy.d")),
        Watched::Directory(home.path().join("data/tools.d")),
    ];
    (home, these)
}

#[tokio::test]
async fn whatever_a_look_would_see_ends_the_quiet_at_once() {
    type Change = fn(&std::path::Path) -> io::Result<()>;
    let changes: [(&str, Change); 7] = [
        ("an opt-out", |home| {
            std::fs::write(home.join("machine/opt-out"), "")
        }),
        ("a word", |home| {
            std::fs::write(home.join("config/consent.toml"), "")
        }),
        ("a policy", |home| {
            std::fs::write(home.join("machine/policy.d/a.toml"), "")
        }),
        ("manifests for the first time", |home| {
            std::fs::create_dir_all(home.join("data/tools.d"))
        }),
        ("a directory goes", |home| {
            std::fs::rename(home.join("config"), home.join("other"))
        }),
        ("the one above goes", |home| {
            std::fs::rename(home, home.with_extension("moved"))
        }),
        ("nobody may read", |home| {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(
                home.join("machine/policy.d"),
                std::fs::Permissions::from_mode(0o000),
            )
        }),
    ];
    for (name, change) in changes {
        let (home, these) = watched_home();
        let watch = Watch::over(&these).unwrap();
        assert!(watch.is_quiet(), "before {name}");
        change(home.path()).unwrap();
        assert!(!watch.is_quiet(), "{name}");
        let moved = home.path().with_extension("moved");
        if moved.exists() {
            std::fs::rename(moved, home.path()).unwrap();
        }
    }
}

#[tokio::test]
async fn a_directory_that_comes_while_the_watch_is_made_is_watched() {
    for come in ["data", "data/tools.d", "data/tools.d/more"] {
        for these in [
            |tools: PathBuf| Watched::Directory(tools),
            |tools: PathBuf| Watched::File(tools.join("a.toml")),
        ] {
            let home = tempfile::tempdir().unwrap();
            let tools = home.path().join("data/tools.d");
            let watch = Watch::over_while(&[these(tools.clone())], |looked| {
                // Right after it was found to be missing, and before anything above it is watched.
                if looked == tools {
                    std::fs::create_dir_all(home.path().join(come)).unwrap();
                }
            });
            let watch = watch.unwrap();
            std::fs::create_dir_all(&tools).unwrap();
            std::fs::write(tools.join("a.toml"), "").unwrap();
            assert!(!watch.is_quiet(), "{come}");
        }
    }
}

#[tokio::test]
async fn a_watch_that_cannot_tell_everything_is_never_quiet() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("policy.toml");
    std::fs::write(&target, "").unwrap();
    for link in [
        "config/consent.toml",
        "machine/opt-out",
        "machine/policy.d/a.toml",
        "data",
    ] {
        let (home, these) = watched_home();
        let target = if link == "data" { elsewhere.path() } else { &target };
        std::os::unix::fs::symlink(target, home.path().join(link)).unwrap();
        assert!(!Watch::over(&these).unwrap().is_quiet(), "{link}");
    }
}

#[tokio::test]
async fn a_file_that_may_be_edited_by_another_name_is_not_left_to_the_watch() {
    for name in ["config/consent.toml", "machine/opt-out"] {
        let (home, these) = watched_home();
        let other = home.path().join("another-name");
        std::fs::write(&other, "").unwrap();
        std::fs::hard_link(&other, home.path().join(name)).unwrap();
        let watch = Watch::over(&these).unwrap();
        std::fs::write(&other, "telemetry = false").unwrap();
        assert!(!watch.is_quiet(), "{name}");
    }
}
