//! Whose are the files, who may read them, what are they on, and what do they say about consent?

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

#[cfg(target_os = "linux")]
use telemetry_protocol::place::network_file_system;
use telemetry_protocol::place::{Dirs, Mode, SYSTEM_SOCKET};
use telemetry_protocol::time::Rfc3339;

use super::{Check, State};
use crate::Context;
use crate::policy;
use crate::words::bytes;

/// Below this the queue cannot grow to its default limit (`queue.max_bytes`, 64 MiB, and a quarter).
const ROOM_TO_GROW: u64 = 80 * 1024 * 1024;
/// Below this new events are refused soon (`storage`).
const ROOM_TO_WRITE: u64 = 1024 * 1024;

pub(super) fn check(context: &Context, mode: Mode) -> Vec<Check> {
    let mut checks = Vec::new();
    let own = rustix::process::geteuid().as_raw();
    for socket in context.surroundings.sockets.candidates() {
        let machine_wide = mode == Mode::System || socket == Path::new(SYSTEM_SOCKET);
        checks.extend(socket_permissions(&socket, own, machine_wide));
    }
    match dirs(context, mode) {
        Some(dirs) if mode == Mode::System => {
            // Its files are its own user's; what nobody else may do is change them.
            checks.extend(unchanged("state directory", &dirs.state));
            checks.extend(unchanged("config directory", &dirs.config));
            checks.extend(on_disk(&dirs.state));
        }
        Some(dirs) => {
            checks.extend(private("state directory", &dirs.state, own, 0o700));
            checks.extend(private("queue file", &dirs.state.join("queue.db"), own, 0o600));
            checks.extend(private("config directory", &dirs.config, own, 0o755));
            checks.extend(on_disk(&dirs.state));
        }
        None => checks.push(
            Check::new("home", State::Warn, "neither HOME nor the XDG variables are set")
                .hint("set HOME, or TELEMETRYD_CONFIG_DIR and TELEMETRYD_STATE_DIR"),
        ),
    }
    checks.push(consent(context));
    checks
}

/// The directories of the daemon that answers, or would.
pub(super) fn dirs(context: &Context, mode: Mode) -> Option<Dirs> {
    match mode {
        Mode::User => context.surroundings.user.clone(),
        Mode::System => Dirs::find(mode, &|name| std::env::var_os(name)).ok(),
    }
}

fn on_disk(state: &Path) -> Vec<Check> {
    let mut checks: Vec<Check> = set_aside(state);
    if let Some(there) = state.ancestors().find(|path| path.exists()) {
        checks.push(space(there));
        checks.push(file_system(there));
    }
    checks
}

/// A queue file that was damaged when a daemon started: it was set aside, and what could be read carried over.
fn set_aside(state: &Path) -> Vec<Check> {
    let Ok(entries) = std::fs::read_dir(state) else {
        return Vec::new();
    };
    let damaged = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        let seconds: i64 = name.strip_prefix("queue.db.corrupt-")?.parse().ok()?;
        Some((name, seconds))
    });
    let told = damaged.map(|(name, seconds)| {
        let when = Rfc3339(seconds.saturating_mul(1000));
        let detail = format!(
            "{} was damaged and set aside on {when}",
            state.join(name).display()
        );
        Check::new("queue file", State::Warn, detail).hint(
            "what could be read was carried over, the rest is booked as lost (see 'telemetryctl status'); \
             the file is erased after a week; check the disk if this happens again",
        )
    });
    told.collect()
}

fn socket_permissions(path: &Path, own: u32, machine_wide: bool) -> Option<Check> {
    let found = std::fs::symlink_metadata(path).ok()?;
    let shown = path.display();
    let name = "socket file";
    if !found.file_type().is_socket() {
        return Some(Check::new(name, State::Fail, format!("{shown} is not a socket")).hint("move it away"));
    }
    let mode = found.mode() & 0o777;
    let owner = found.uid();
    Some(if owner != own && owner != 0 && !machine_wide {
        Check::new(name, State::Fail, format!("{shown} belongs to uid {owner}"))
            .hint("another user's daemon listens there: choose another place with TELEMETRYD_SOCKET")
    } else if !machine_wide && mode & 0o077 != 0 {
        Check::new(
            name,
            State::Warn,
            format!("{shown} has mode {mode:04o}: other users may connect"),
        )
        .hint("restart the daemon, which makes it 0600")
    } else {
        Check::new(name, State::Ok, format!("{shown} has mode {mode:04o}"))
    })
}

/// Something of the user's: its owner, and no more rights than `most`.
fn private(name: &str, path: &Path, own: u32, most: u32) -> Option<Check> {
    let found = std::fs::metadata(path).ok()?;
    let shown = path.display();
    let mode = found.mode() & 0o777;
    let owner = found.uid();
    Some(if owner != own {
        Check::new(
            name,
            State::Fail,
            format!("{shown} belongs to uid {owner}, not to {own}"),
        )
        .hint(format!("chown {own} {shown}"))
    } else if mode & !most != 0 {
        Check::new(
            name,
            State::Warn,
            format!("{shown} has mode {mode:04o}: others may look into it"),
        )
        .hint(format!("chmod {most:04o} {shown}"))
    } else if mode & 0o200 == 0 {
        Check::new(
            name,
            State::Fail,
            format!("{shown} has mode {mode:04o}: it cannot be written"),
        )
        .hint(format!("chmod u+w {shown}"))
    } else {
        Check::new(name, State::Ok, format!("{shown} has mode {mode:04o}"))
    })
}

/// Something of the machine's daemon: nobody but its owner may write to it.
fn unchanged(name: &str, path: &Path) -> Option<Check> {
    let found = std::fs::metadata(path).ok()?;
    let shown = path.display();
    let mode = found.mode() & 0o777;
    Some(if mode & 0o022 != 0 {
        Check::new(
            name,
            State::Fail,
            format!("{shown} has mode {mode:04o}: others may change what is in it"),
        )
        .hint(format!("chmod go-w {shown}"))
    } else {
        Check::new(name, State::Ok, format!("{shown} has mode {mode:04o}"))
    })
}

fn space(path: &Path) -> Check {
    let name = "disk space";
    let shown = path.display();
    match rustix::fs::statvfs(path) {
        Err(errno) => Check::new(name, State::Warn, format!("cannot tell for {shown}: {errno}")),
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let detail = format!("{} free at {shown}", bytes(free));
            match free {
                0..ROOM_TO_WRITE => Check::new(name, State::Fail, detail)
                    .hint("new events are refused until there is room; what is queued is still delivered"),
                ROOM_TO_WRITE..ROOM_TO_GROW => {
                    Check::new(name, State::Warn, detail).hint("the queue may not grow to queue.max_bytes")
                }
                _ => Check::new(name, State::Ok, detail),
            }
        }
    }
}

fn file_system(path: &Path) -> Check {
    let name = "file system";
    let shown = path.display();
    match network(path) {
        Some(kind) => Check::new(name, State::Warn, format!("{shown} is on {kind}"))
            .hint("a queue does not belong on a network: the daemon keeps it under /var/tmp instead"),
        None => Check::new(name, State::Ok, format!("{shown} is on a local file system")),
    }
}

#[cfg(target_os = "linux")]
fn network(path: &Path) -> Option<&'static str> {
    let found = rustix::fs::statfs(path).ok()?;
    // The field's type differs between architectures; the numbers are of 32 bits.
    network_file_system(found.f_type as u32)
}

/// Apple says it by a flag (statfs(2), `MNT_LOCAL`).
#[cfg(target_vendor = "apple")]
fn network(path: &Path) -> Option<&'static str> {
    const MNT_LOCAL: u32 = 0x1000;
    let found = rustix::fs::statfs(path).ok()?;
    (found.f_flags & MNT_LOCAL == 0).then_some("a network")
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn network(_: &Path) -> Option<&'static str> {
    None
}

/// To be off is no fault; who wonders why nothing is sent learns it here.
fn consent(context: &Context) -> Check {
    let policy = policy::local(context);
    let parts = policy.parts();
    let machine = parts.machine.denies_everything().cloned();
    if let Some(fact) = machine.or_else(|| parts.variables.denies_everything()) {
        let detail = format!(
            "off for every tool, by {}: {} ({})",
            fact.layer, fact.source, fact.detail
        );
        return Check::new("policy", State::Warn, detail).hint(
            "that is the admin's decision for this machine: nothing is recorded or sent while it stands",
        );
    }
    match policy.denies_everything() {
        Some(fact) => {
            let detail = format!(
                "off for every tool, by {}: {} ({})",
                fact.layer, fact.source, fact.detail
            );
            Check::new("consent", State::Ok, detail)
        }
        None => Check::new("consent", State::Ok, "on for the tools that are allowed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_others_may_read_is_a_warning_and_what_is_absent_is_none() {
        let home = tempfile::tempdir().unwrap();
        let own = rustix::process::geteuid().as_raw();
        let path = home.path().join("queue.db");
        assert!(private("queue file", &path, own, 0o600).is_none());
        std::fs::write(&path, "").unwrap();
        for (mode, state) in [(0o600, State::Ok), (0o644, State::Warn), (0o400, State::Fail)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                private("queue file", &path, own, 0o600).map(|c| c.state),
                Some(state)
            );
        }
        let foreign = private("queue file", &path, own + 1, 0o600).map(|check| check.state);
        assert_eq!(foreign, Some(State::Fail));
    }

    #[test]
    fn something_else_in_the_sockets_place_is_a_failure() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("telemetryd.sock");
        let own = rustix::process::geteuid().as_raw();
        assert!(socket_permissions(&path, own, false).is_none());
        std::fs::write(&path, "").unwrap();
        assert_eq!(
            socket_permissions(&path, own, false).map(|check| check.state),
            Some(State::Fail)
        );
    }
}
