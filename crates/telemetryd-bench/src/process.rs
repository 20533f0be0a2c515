//! What the system says of a process: CPU, memory, sockets. Linux alone; elsewhere there are no such figures.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustix::process::{Resource, getrlimit, setrlimit};

/// What the kernel counts a process's time by for everybody outside (`USER_HZ`), on every machine of today.
const USER_HZ: f64 = 100.0;

/// A process that is watched.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    folder: PathBuf,
}

impl Process {
    /// By its id.
    pub(crate) fn of(pid: u32) -> Self {
        Self {
            folder: PathBuf::from(format!("/proc/{pid}")),
        }
    }

    /// CPU seconds of its threads so far, by their names (`schedstat`, nanoseconds).
    pub(crate) fn cpu(&self) -> BTreeMap<String, f64> {
        let mut threads = BTreeMap::new();
        for task in self.tasks() {
            let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
            let used = fs::read_to_string(task.join("schedstat"))
                .ok()
                .and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
            *threads.entry(name.trim().to_owned()).or_default() += used.unwrap_or_default() / 1e9;
        }
        threads
    }

    /// CPU seconds of the whole process so far, threads that have ended included (`stat`, hundredths of a second).
    pub(crate) fn cpu_of_all(&self) -> f64 {
        let stat = fs::read_to_string(self.folder.join("stat")).unwrap_or_default();
        // Behind the name, which may hold anything; user and system time are its 12th and 13th there (proc_pid_stat(5)).
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
        let ticks = fields
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<f64>().ok());
        ticks.sum::<f64>() / USER_HZ
    }

    /// How often its threads went to sleep so far.
    pub(crate) fn sleeps(&self) -> u64 {
        self.tasks()
            .iter()
            .filter_map(|task| {
                field(
                    &fs::read_to_string(task.join("status")).ok()?,
                    "voluntary_ctxt_switches:",
                )
            })
            .sum()
    }

    fn tasks(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.join("task")).into_iter().flatten();
        entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
    }

    /// Resident memory in MB, and how much of it is its own and no file's.
    pub(crate) fn resident(&self) -> (f64, f64) {
        let status = fs::read_to_string(self.folder.join("status")).unwrap_or_default();
        let mb = |name| field(&status, name).unwrap_or_default() as f64 * 1024.0 / 1e6;
        (mb("VmRSS:"), mb("RssAnon:"))
    }

    /// The most that was ever resident, in MB.
    pub(crate) fn peak(&self) -> f64 {
        let status = fs::read_to_string(self.folder.join("status")).unwrap_or_default();
        field(&status, "VmHWM:").unwrap_or_default() as f64 * 1024.0 / 1e6
    }

    /// Its open internet sockets.
    pub(crate) fn internet_sockets(&self) -> usize {
        let entries = fs::read_dir(self.folder.join("fd")).into_iter().flatten();
        let held: HashSet<String> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let target = fs::read_link(entry.path()).ok()?;
                Some(
                    target
                        .to_str()?
                        .strip_prefix("socket:[")?
                        .strip_suffix(']')?
                        .to_owned(),
                )
            })
            .collect();
        ["tcp", "tcp6", "udp", "udp6"]
            .iter()
            .filter_map(|kind| fs::read_to_string(self.folder.join("net").join(kind)).ok())
            .map(|table| {
                let inodes = table
                    .lines()
                    .skip(1)
                    .filter_map(|line| line.split_whitespace().nth(9));
                inodes.filter(|inode| held.contains(*inode)).count()
            })
            .sum()
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// As many open files as may be, for this process and for the daemons that it starts.
///
/// # Errors
/// When the limit cannot be raised.
pub(crate) fn open_many() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")
}

/// CPU seconds of this process so far.
pub(crate) fn own_cpu() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}
