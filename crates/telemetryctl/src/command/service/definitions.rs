//! The files that a service manager reads: those of `systemd/` and `launchd/`, with the program's real path in them,
//! and a mark by which they are known again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Done;
use super::manager::Manager;
use super::place::Place;
use crate::exit::Exit;
use crate::failure::Failure;

const USER_SERVICE: &str = include_str!("../../../../../systemd/user/telemetryd.service");
const USER_SOCKET: &str = include_str!("../../../../../systemd/user/telemetryd.socket");
const SYSTEM_SERVICE: &str = include_str!("../../../../../systemd/system/telemetryd.service");
const SYSTEM_SOCKET: &str = include_str!("../../../../../systemd/system/telemetryd.socket");
const SYSUSERS: &str = include_str!("../../../../../systemd/sysusers.d/telemetryd.conf");
const TMPFILES: &str = include_str!("../../../../../systemd/tmpfiles.d/telemetryd.conf");
const AGENT: &str = include_str!("../../../../../launchd/agent/org.telemetryd.telemetryd.plist");
const DAEMON: &str = include_str!("../../../../../launchd/daemon/org.telemetryd.telemetryd.plist");

/// In every file that this command has written, and in no other.
const MARK: &str = "Written by 'telemetryctl service install'; 'telemetryctl service uninstall' removes it.";

/// Where a package puts its units, and the program that they start.
const PACKAGED: [&str; 2] = ["/usr/lib/systemd", "/lib/systemd"];
const PACKAGED_PROGRAM: &str = "/usr/bin/telemetryd";

/// A file to be there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// All files of a service that starts this program. None where a package has brought them.
pub(super) fn of(place: &Place, manager: &Manager, program: &Path) -> Result<Vec<File>, Failure> {
    let Some(start) = program
        .to_str()
        .filter(|text| !text.chars().any(char::is_control))
    else {
        return Err(Failure::failed(format!("{:?} cannot stand in a unit", program)));
    };
    let files = match (manager, place.system) {
        (Manager::Systemd { .. }, _) if packaged(place, program) => Vec::new(),
        (Manager::Systemd { .. }, false) => {
            vec![unit(USER_SERVICE, "telemetryd", start), USER_SOCKET.to_owned()]
        }
        (Manager::Systemd { .. }, true) => vec![
            unit(SYSTEM_SERVICE, "/usr/bin/telemetryd", start),
            SYSTEM_SOCKET.to_owned(),
            SYSUSERS.to_owned(),
            TMPFILES.to_owned(),
        ],
        (Manager::Launchd { .. }, system) => {
            vec![plist(if system { DAEMON } else { AGENT }, start, &place.socket)]
        }
    };
    Ok(all_paths(place, manager)
        .into_iter()
        .zip(files)
        .map(|(path, text)| marked(path, &text))
        .collect())
}

/// Where they are, in the same order.
pub(super) fn all_paths(place: &Place, manager: &Manager) -> Vec<PathBuf> {
    let own = |name: &str| place.definitions.join(name);
    match (manager, place.system) {
        (Manager::Systemd { .. }, false) => vec![own("telemetryd.service"), own("telemetryd.socket")],
        (Manager::Systemd { .. }, true) => vec![
            own("telemetryd.service"),
            own("telemetryd.socket"),
            "/etc/sysusers.d/telemetryd.conf".into(),
            "/etc/tmpfiles.d/telemetryd.conf".into(),
        ],
        (Manager::Launchd { .. }, _) => vec![own("org.telemetryd.telemetryd.plist")],
    }
}

fn packaged(place: &Place, program: &Path) -> bool {
    let kind = if place.system { "system" } else { "user" };
    program == Path::new(PACKAGED_PROGRAM)
        && PACKAGED.iter().any(|base| {
            ["telemetryd.service", "telemetryd.socket"]
                .iter()
                .all(|unit| Path::new(base).join(kind).join(unit).is_file())
        })
}

/// A unit that starts that program. systemd.service(5), "COMMAND LINES": quotes and backslashes are escaped inside of
/// quotes; `%` and `$` mean something everywhere.
fn unit(text: &str, program: &str, start: &str) -> String {
    let quoted = start
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$");
    let line = |line: &str| match line
        .strip_prefix("ExecStart=")
        .and_then(|rest| rest.strip_prefix(program))
    {
        Some(flags) => format!("ExecStart=\"{quoted}\"{flags}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn plist(text: &str, start: &str, socket: &Path) -> String {
    let escaped = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let before = "<key>SockPathName</key>";
    let text = text.replace("/usr/local/bin/telemetryd", &escaped(start));
    let Some((head, rest)) = text.split_once(before) else {
        return text;
    };
    let tail = rest.split_once("</string>").map_or(rest, |(_, tail)| tail);
    let socket = escaped(&socket.to_string_lossy());
    format!("{head}{before}\n            <string>{socket}</string>{tail}")
}

/// With the mark in front: in XML behind the declaration, which has to be first.
fn marked(path: PathBuf, text: &str) -> File {
    let text = match text.split_once("?>\n") {
        Some((declaration, rest)) if declaration.starts_with("<?xml") => {
            format!("{declaration}?>\n<!-- {MARK} -->\n{rest}")
        }
        _ => format!("# {MARK}\n{text}"),
    };
    File { path, text }
}

/// Puts a file in its place, unless it stands there as it should.
///
/// # Errors
/// When somebody else's file stands there.
pub(super) fn write(file: &File, done: &mut Done) -> Result<(), Failure> {
    let shown = file.path.display().to_string();
    match fs::read_to_string(&file.path) {
        Ok(text) if text == file.text => {
            done.unchanged.push(shown);
            return Ok(());
        }
        Ok(text) if !text.contains(MARK) => {
            return Err(
                Failure::failed(format!("{shown} exists, and this command has not written it"))
                    .hint("move it away, or leave the service as it is"),
            );
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(refused("read", &file.path, &error)),
    }
    let directory = file.path.parent().unwrap_or_else(|| Path::new("/"));
    fs::create_dir_all(directory).map_err(|error| refused("make", directory, &error))?;
    fs::write(&file.path, &file.text).map_err(|error| refused("write", &file.path, &error))?;
    done.written.push(shown);
    Ok(())
}

/// Removes a file that carries our mark.
pub(super) fn remove(path: &Path, done: &mut Done) -> Result<(), Failure> {
    match fs::read_to_string(path) {
        Ok(text) if text.contains(MARK) => {
            fs::remove_file(path).map_err(|error| refused("remove", path, &error))?;
            done.removed.push(path.display().to_string());
        }
        Ok(_) => done.kept.push(path.display().to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(refused("read", path, &error)),
    }
    Ok(())
}

/// What the system refused.
pub(super) fn refused(verb: &str, path: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::NotPermitted,
        _ => Exit::Failed,
    };
    Failure::new(exit, format!("cannot {verb} {}", path.display())).caused_by_io(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_starts_the_program_that_was_found_with_the_same_flags() {
        let text = unit(
            SYSTEM_SERVICE,
            "/usr/bin/telemetryd",
            "/opt/a b/50%$\"/telemetryd",
        );
        assert!(
            text.contains("\nExecStart=\"/opt/a b/50%%$$\\\"/telemetryd\" --system\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), SYSTEM_SERVICE.lines().count());
        let text = unit(USER_SERVICE, "telemetryd", "/h/.cargo/bin/telemetryd");
        assert!(
            text.contains("\nExecStart=\"/h/.cargo/bin/telemetryd\"\n"),
            "{text}"
        );
    }

    #[test]
    fn a_plist_has_the_programs_and_the_sockets_own_paths() {
        let text = plist(AGENT, "/h/a&b/telemetryd", Path::new("/h/Library/t.sock"));
        assert!(text.contains("<string>/h/a&amp;b/telemetryd</string>"), "{text}");
        assert!(text.contains("<string>/h/Library/t.sock</string>"), "{text}");
        assert!(!text.contains("YOU") && !text.contains("/usr/local"), "{text}");
        let file = marked("/x".into(), &text);
        assert!(file.text.starts_with("<?xml") && file.text.contains(MARK));
    }

    #[test]
    fn somebody_elses_file_is_neither_replaced_nor_removed() {
        let home = tempfile::tempdir().unwrap();
        let file = marked(home.path().join("systemd/user/telemetryd.service"), "[Service]\n");
        let mut done = Done::default();
        write(&file, &mut done).unwrap();
        write(&file, &mut done).unwrap();
        assert_eq!((done.written.len(), done.unchanged.len()), (1, 1));
        fs::write(&file.path, "[Service]\nExecStart=/mine\n").unwrap();
        assert!(write(&file, &mut done).is_err());
        remove(&file.path, &mut done).unwrap();
        assert!(file.path.exists() && done.kept.len() == 1);
        write(&marked(file.path.clone(), "new"), &mut done).unwrap_err();
    }
}
