//! What a process that comes to rest gives back to the system (I11): the program text that starting and working
//! touched, and free pages of the heap.
//!
//! The text of a daemon is most of its resident memory, and hardly any of it is needed while it waits: the kernel maps
//! pages around each one that is touched (`fault_around_bytes`, 64 KiB), whether they are asked for or not. The pages
//! given back stay in the page cache, where the next call finds them by a minor fault of a microsecond or so for each
//! 64 KiB, or where the system takes them when it is short of memory.
//!
//! Telling the kernel so is the only unsafe act here, and it has this crate to itself so that it can be read at one
//! sitting: only what `text.rs` lets through is named to `madvise`.

#[cfg(any(target_os = "linux", test))]
mod text;

/// Gives back what is not needed at rest. Costs some hundred microseconds, and the next event some minor faults: for
/// the moment in which the last event has left. Does nothing where it can not (another system, no `/proc`).
pub fn give_back() {
    #[cfg(target_os = "linux")]
    linux::give_back();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::ptr::with_exposed_provenance_mut;

    use rustix::mm::{Advice, madvise};

    pub(super) fn give_back() {
        trim();
        let Ok(maps) = fs::read_to_string("/proc/self/maps") else {
            return;
        };
        let Ok(program) = fs::read_link("/proc/self/exe") else {
            return;
        };
        let Some(program) = program.to_str() else {
            return;
        };
        for range in super::text::unwritten(&maps, program) {
            #[expect(unsafe_code, reason = "the system is told which pages are not needed")]
            // SAFETY: the range is a whole private mapping of the program's own file, which is mapped before its first
            // line runs and never again, and which nothing of it writes: dropped pages are read from the same file.
            // (Libraries are left alone: the loader may be at one in another thread, before it relocates it.)
            let _ = unsafe {
                madvise(
                    with_exposed_provenance_mut(range.start),
                    range.len(),
                    Advice::LinuxDontNeed,
                )
            };
        }
    }

    /// Free pages of the heap, which glibc keeps for later.
    fn trim() {
        #[cfg(target_env = "gnu")]
        #[expect(unsafe_code, reason = "a call of the C library")]
        // SAFETY: malloc_trim(3) takes its own locks and frees only what is free.
        unsafe {
            libc::malloc_trim(0);
        }
    }

    #[cfg(test)]
    mod tests {
        use std::fs;

        fn resident_file_pages() -> u64 {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("RssFile:"))
                .unwrap();
            line.trim_end_matches("kB").trim().parse().unwrap()
        }

        #[test]
        fn text_that_was_given_back_is_not_resident_and_works_on() {
            // Touches text here and there, the decimal and float formatting of the library for one.
            assert_eq!(format!("{:.3} {:?}", 1.0_f64 / 3.0, "ü"), "0.333 \"ü\"");
            let before = resident_file_pages();
            super::give_back();
            let after = resident_file_pages();
            assert!(after < before, "{before} KiB before, {after} KiB after");
            assert_eq!(format!("{:.3} {:?}", 1.0_f64 / 3.0, "ü"), "0.333 \"ü\"");
        }
    }
}
