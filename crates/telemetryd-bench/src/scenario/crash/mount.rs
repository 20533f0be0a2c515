//! File systems of a row's own: small ones, and an ext4 that can lose its power or become read-only.
//!
//! They need root and a mount namespace, which the program makes for itself: what it mounts goes with it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

/// Set for the process within the namespace.
const INSIDE: &str = "TELEMETRYD_BENCH_MOUNTS";

/// Bytes of an ext4: room for its journal, the queue's reserve and a few thousand events.
const EXT4: u64 = 96 << 20;

/// Runs this program again within a mount namespace of its own, where it may make one; how that ended.
pub(crate) fn inside() -> Option<ExitCode> {
    if can_mount() || !rustix::process::geteuid().is_root() {
        return None;
    }
    let program = std::env::current_exe().ok()?;
    let tried = Command::new("unshare").args(["-m", "true"]).status();
    if !tried.is_ok_and(|status| status.success()) {
        return None;
    }
    let status = Command::new("unshare")
        .args(["-m", "--propagation", "private"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .ok()?;
    Some(status.code().map_or(ExitCode::FAILURE, |code| {
        ExitCode::from(u8::try_from(code).unwrap_or(1))
    }))
}

/// Whether rows may mount.
pub(super) fn can_mount() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// A mounted directory; dropping it unmounts it.
#[derive(Debug)]
pub(super) struct Mount {
    at: PathBuf,
    image: Option<PathBuf>,
}

impl Mount {
    /// A file system in memory, with these options.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub(super) fn memory(at: &Path, options: &str) -> Result<Self> {
        let options = format!("mode=0700,{options}");
        run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", text(at)?])?;
        Ok(Self {
            at: at.to_owned(),
            image: None,
        })
    }

    /// An ext4 on a loop device, in that file.
    ///
    /// # Errors
    /// When it cannot be made or mounted.
    pub(super) fn ext4(at: &Path, image: &Path) -> Result<Self> {
        File::create(image)?.set_len(EXT4)?;
        run("mkfs.ext4", &["-q", "-F", text(image)?])?;
        let mount = Self {
            at: at.to_owned(),
            image: Some(image.to_owned()),
        };
        mount.mount()?;
        fs::set_permissions(at, Permissions::from_mode(0o700))?;
        Ok(mount)
    }

    fn mount(&self) -> Result<()> {
        let image = self.image.as_deref().context("a file system without a file")?;
        let options = "loop,errors=remount-ro";
        run(
            "mount",
            &["-t", "ext4", "-o", options, text(image)?, text(&self.at)?],
        )
    }

    /// Unmounts it and mounts it again, as a reboot does: its journal is replayed.
    ///
    /// # Errors
    /// When somebody still uses it, or it cannot be mounted any more.
    pub(super) fn again(&self) -> Result<()> {
        run("umount", &[text(&self.at)?])?;
        self.mount()
    }

    /// Cuts its power: nothing that is not on the device yet gets there, the journal's open transaction neither
    /// (`EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`, Linux `include/uapi/linux/ext4.h`; Python makes the
    /// call, which in Rust would be unsafe).
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn cut_power(&self) -> Result<()> {
        const CALL: &str = "import fcntl, os, struct, sys\n\
                            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run("python3", &["-c", CALL, text(&self.at)?])
    }

    /// Lets the kernel find an error in it, upon which it becomes read-only.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn find_error(&self) -> Result<()> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let at = text(&self.at)?;
        let device = mounts
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(_, rest)| rest.split(' ').next() == Some(at))
            .and_then(|(device, _)| device.rsplit('/').next())
            .with_context(|| format!("{at} is not mounted"))?;
        let path = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        fs::write(&path, "telemetryd-bench").with_context(|| format!("cannot write {path}"))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: it goes with its last user, and with the namespace at the latest.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not text")
}

/// Runs a program that must succeed.
fn run(program: &str, args: &[&str]) -> Result<()> {
    ensure!(can_mount(), "no mount namespace of its own");
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
