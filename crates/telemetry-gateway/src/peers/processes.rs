//! Which processes hold a socket, and with which environment they were started.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

/// Of an environment, so much is read (what `execve` takes by default), and so much kept (I6).
const READ: u64 = 2 * 1024 * 1024;
const KEPT: usize = 4 * 1024;
/// Processes that hold one socket and are looked at.
const HOLDERS: usize = 16;

/// Which processes hold each of these sockets.
pub(super) fn holders(inodes: &[u64], owner: Option<u32>) -> HashMap<u64, Vec<i32>> {
    let mut holders: HashMap<u64, Vec<i32>> = HashMap::new();
    let links: HashMap<String, u64> = inodes
        .iter()
        .map(|inode| (format!("socket:[{inode}]"), *inode))
        .collect();
    if links.is_empty() {
        return holders;
    }
    let ours = i32::try_from(std::process::id()).ok();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let theirs = process.metadata().map(|about| about.uid());
        if ours == Some(pid) || owner.is_some_and(|owner| theirs.ok() != Some(owner)) {
            continue;
        }
        for descriptor in fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let target = fs::read_link(descriptor.path()).ok();
            let inode = target.as_deref().and_then(|target| links.get(target.to_str()?));
            if let Some(inode) = inode {
                let held = holders.entry(*inode).or_default();
                if held.len() < HOLDERS && !held.contains(&pid) {
                    held.push(pid);
                }
            }
        }
    }
    holders
}

/// The wanted variables with which a process of this user was started.
pub(super) fn environment(pid: i32, uid: u32, wanted: &BTreeSet<String>) -> Option<Vec<(String, String)>> {
    let file = fs::File::open(format!("/proc/{pid}/environ")).ok()?;
    if file.metadata().ok()?.uid() != uid {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(READ).read_to_end(&mut bytes).ok()?;
    let mut kept = Vec::new();
    let mut size = 0;
    for entry in bytes.split(|byte| *byte == 0) {
        let Some(at) = entry.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let name = String::from_utf8_lossy(&entry[..at]);
        if !wanted.contains(&*name) {
            continue;
        }
        // A value that is too long to keep is still there: being present may be enough.
        let value = &entry[at + 1..];
        let value = String::from_utf8_lossy(&value[..value.len().min(256)]);
        size += name.len() + value.len();
        if size > KEPT {
            break;
        }
        kept.push((name.into_owned(), value.into_owned()));
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_environment_only_what_is_wanted_is_read_and_nobody_elses() {
        let uid = fs::metadata("/proc/self").unwrap().uid();
        let pid = i32::try_from(std::process::id()).unwrap();
        let wanted = BTreeSet::from(["PATH".to_owned()]);
        assert_eq!(environment(pid, uid, &wanted).unwrap().len(), 1);
        assert_eq!(environment(pid, uid + 1, &wanted), None, "somebody else's");
    }
}
