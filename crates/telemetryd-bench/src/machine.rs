//! What the figures were measured on, without names of hosts or people.

use std::fs;
use std::path::Path;

/// `TMPFS_MAGIC` of Linux's `magic.h`.
const TMPFS: u64 = 0x0102_1994;

/// Cores, memory, kernel, file system and SQLite.
pub(crate) fn facts(directory: &Path) -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![
        ("processor", format!("{cores} x {}", processor())),
        ("memory", memory()),
        ("kernel", kernel.trim().to_owned()),
        ("file system", file_system(directory)),
        ("sqlite", rusqlite::version().to_owned()),
        (
            "build",
            if cfg!(debug_assertions) {
                "debug: these are no figures".to_owned()
            } else {
                "release".to_owned()
            },
        ),
    ]
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    model.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |model| model.trim_start_matches([' ', '\t', ':']).to_owned(),
    )
}

fn memory() -> String {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = info.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<f64>()
            .ok()
    });
    kib.map_or_else(
        || "unknown".to_owned(),
        |kib| format!("{:.0} GiB", kib / 1024.0 / 1024.0),
    )
}

/// The type of the file system that holds a directory, by the longest mount point above it.
fn file_system(directory: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let found = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (place, kind) = (words.next()?, words.next()?);
            directory.starts_with(place).then_some((place.len(), kind))
        })
        .max();
    found.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

/// Whether a directory is in memory, where a figure says nothing about a disk.
pub(crate) fn is_in_memory(directory: &Path) -> bool {
    // Signed on some systems, and not as wide on others.
    rustix::fs::statfs(directory).is_ok_and(|found| i128::from(found.f_type) == i128::from(TMPFS))
}
