//! Whose are the files, who may read them, what are they on, and what do they say about consent?

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::{Check, State};
use crate::Context;
use crate::policy;
use crate::words::bytes;

/// Below this the queue cannot grow to its default limit (`queue.max_bytes`, 64 MiB, and a quarter).
const ROOM_TO_GROW: u64 = 80 * 1024 * 1024;
/// Below this new events are refused soon (`storage`).
const ROOM_TO_WRITE: u64 = 1024 * 1024;

pub(super) fn check(context: &Context) -> Vec<Check> {
    let mut checks = Vec::new();
    let own = rustix::process::geteuid().as_raw();
    for socket in context.surroundings.sockets.candidates() {
        checks.extend(socket_permissions(&socket, own));
    }
    if let Some(dirs) = &context.surroundings.user {
        checks.extend(private("state directory", &dirs.state, own, 0o700));
        checks.extend(private("queue file", &dirs.state.join("queue.db"), own, 0o600));
        checks.extend(private("config directory", &dirs.config, own, 0o755));
        let there = dirs.state.ancestors().find(|path| path.exists());
        if let Some(there) = there {
            checks.push(space(there));
            checks.push(file_system(there));
        }
    } else {
        checks.push(
            Check::new("home", State::Warn, "neither HOME nor the XDG variables are set")
                .hint("set HOME, or TELEMETRYD_CONFIG_DIR and TELEMETRYD_STATE_DIR"),
        );
    }
    checks.push(consent(context));
    checks
}

fn socket_permissions(path: &Path, own: u32) -> Option<Check> {
    let found = std::fs::symlink_metadata(path).ok()?;
    let shown = path.display();
    let name = "socket file";
    if !found.file_type().is_socket() {
        return Some(Check::new(name, State::Fail, format!("{shown} is not a socket")).hint("move it away"));
    }
    let machine_wide = path == Path::new(telemetry_protocol::place::SYSTEM_SOCKET);
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

/// The network file systems by the magic numbers of statfs(2) and linux/magic.h.
#[cfg(target_os = "linux")]
fn network(path: &Path) -> Option<&'static str> {
    let found = rustix::fs::statfs(path).ok()?;
    // The field's type differs between architectures; the numbers are of 32 bits.
    let magic = found.f_type as u32;
    match magic {
        0x6969 => Some("NFS"),
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Some("SMB"),
        0x0102_1997 => Some("9P"),
        0x00C3_6400 => Some("Ceph"),
        0x5346_414F | 0x6B41_4653 => Some("AFS"),
        0x7375_7245 => Some("Coda"),
        0x6573_5546 => Some("FUSE, which may be a network"),
        _ => None,
    }
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
    match policy::local(context).denies_everything() {
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
        assert!(socket_permissions(&path, own).is_none());
        std::fs::write(&path, "").unwrap();
        assert_eq!(
            socket_permissions(&path, own).map(|check| check.state),
            Some(State::Fail)
        );
    }
}
