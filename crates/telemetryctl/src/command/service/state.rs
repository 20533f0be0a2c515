//! What the daemon kept: counted, then erased. What somebody has denied is no state: it stays.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Done;
use super::definitions::refused;
use super::place::Place;
use crate::failure::Failure;
use crate::programs;

/// What may stand in the same directory (macOS has one for all) and is not the daemon's: settings, manifests, denials.
const NOT_STATE: [&str; 4] = ["config.toml", "config.d", "consent.toml", "tools.d"];

/// What users have said to the machine's daemon: a file each.
const CONSENT: &str = "consent";

/// How many events are queued or parked. The daemon's program takes the lock for it, so nobody else has the queue.
///
/// # Errors
/// When a daemon still runs.
pub(super) fn count(place: &Place) -> Result<u64, Failure> {
    let holds = |directory: &&PathBuf| directory.join("queue.db").exists();
    let Some(directory) = place.state.iter().find(holds) else {
        return Ok(0);
    };
    let program = programs::telemetryd();
    let mut command = Command::new(&program);
    if place.system {
        command.arg("--system");
        // The queue is the daemon's user's, whom root can be.
        let owner = fs::metadata(directory).map_err(|error| refused("look at", directory, &error))?;
        command.uid(owner.uid()).gid(owner.gid());
    }
    let output = command
        .args(["--export", "-"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| programs::cannot_start(&program, &error))?;
    if output.status.success() {
        return Ok(
            u64::try_from(output.stdout.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u64::MAX),
        );
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    Err(
        Failure::failed("cannot take the queue over, so nothing was erased")
            .caused_by(said)
            .hint("'telemetryctl stop' ends a daemon that was started by hand"),
    )
}

/// Erases it.
pub(super) fn erase(place: &Place, done: &mut Done) -> Result<(), Failure> {
    for directory in &place.state {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(refused("read", directory, &error)),
        };
        let shared = *directory == place.config;
        let mut left = false;
        for entry in entries {
            let entry = entry.map_err(|error| refused("read", directory, &error))?;
            let (path, name) = (entry.path(), entry.file_name());
            if shared && NOT_STATE.iter().any(|known| name == *known) {
                left = true;
            } else if name == CONSENT && place.system {
                left |= keep_denials(&path, done)?;
            } else {
                remove(&path)?;
            }
        }
        if !left {
            fs::remove_dir(directory).map_err(|error| refused("remove", directory, &error))?;
        }
        done.removed.push(directory.display().to_string());
    }
    if place.socket.exists() {
        // A daemon's without a service manager; nobody listens any more.
        let _ = fs::remove_file(&place.socket);
    }
    let denial = place.config.join("consent.toml");
    if !place.system && denial.exists() {
        done.kept.push(denial.display().to_string());
    }
    Ok(())
}

/// Removes all that denies nothing; whether something is left.
fn keep_denials(directory: &Path, done: &mut Done) -> Result<bool, Failure> {
    let entries = fs::read_dir(directory).map_err(|error| refused("read", directory, &error))?;
    let mut left = false;
    for entry in entries {
        let path = entry.map_err(|error| refused("read", directory, &error))?.path();
        let consent = path.extension().is_some_and(|ending| ending == "toml");
        // What cannot be read denies.
        let denies = consent && fs::read_to_string(&path).map_or(true, |text| text.contains("false"));
        if denies {
            left = true;
            done.kept.push(path.display().to_string());
        } else {
            remove(&path)?;
        }
    }
    if !left {
        remove(directory)?;
    }
    Ok(left)
}

fn remove(path: &Path) -> Result<(), Failure> {
    let directory = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let removed = if directory {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused("remove", path, &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(home: &Path, system: bool) -> Place {
        Place {
            system,
            definitions: home.join("units"),
            socket: home.join("run/t.sock"),
            state: vec![home.join("state")],
            config: home.join(if system { "etc" } else { "state" }),
        }
    }

    fn put(home: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = home.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn a_directory_that_holds_settings_too_keeps_them() {
        let home = tempfile::tempdir().unwrap();
        put(
            home.path(),
            &[
                ("state/queue.db", "x"),
                ("state/spool/1", "x"),
                ("state/consent.toml", "telemetry = false"),
            ],
        );
        let mut done = Done::default();
        erase(&place(home.path(), false), &mut done).unwrap();
        let left: Vec<_> = fs::read_dir(home.path().join("state"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["consent.toml"]);
        assert_eq!(done.kept.len(), 1, "{done:?}");
    }

    #[test]
    fn of_what_users_have_said_denials_stay() {
        let home = tempfile::tempdir().unwrap();
        let said = [
            ("state/consent/1.toml", "telemetry = false\n"),
            ("state/consent/2.toml", "[tools]\ndemo = true\n"),
            ("state/consent/1-epochs.json", "{}"),
            ("state/queue.db", "x"),
        ];
        put(home.path(), &said);
        erase(&place(home.path(), true), &mut Done::default()).unwrap();
        let consent = home.path().join("state/consent");
        let left: Vec<_> = fs::read_dir(&consent)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["1.toml"]);
        fs::remove_file(consent.join("1.toml")).unwrap();
        erase(&place(home.path(), true), &mut Done::default()).unwrap();
        assert!(!home.path().join("state").exists());
        erase(&place(home.path(), true), &mut Done::default()).unwrap();
    }
}
