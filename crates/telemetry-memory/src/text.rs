//! Which mappings of a process hold nothing but what is in their file, read from `/proc/self/maps` (proc_pid_maps(5)).

use std::ops::Range;

/// The mappings of the program's file that nothing has written: executable text, and the file's head, which holds read-only
/// data and no relocations (what is relocated comes after the text, and is written before it is made read-only: dropping
/// such a page would lose the relocation). `program` is what `/proc/self/exe` points to.
///
/// What is written into text past its permissions, a debugger's breakpoints or a live patch, is lost.
pub(crate) fn unwritten<'m>(maps: &'m str, program: &'m str) -> impl Iterator<Item = Range<usize>> + 'm {
    maps.lines().filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace();
        let (range, mode, offset) = (fields.next()?, fields.next()?, fields.next()?);
        let (_device, inode, _path) = (fields.next()?, fields.next()?, fields.next()?);
        let offset = u64::from_str_radix(offset, 16).ok()?;
        // A path may hold blanks, and ends with ` (deleted)` in both places where it is.
        let is_program = inode != "0" && program.starts_with('/') && line.ends_with(program) && {
            let before = &line[..line.len() - program.len()];
            before.ends_with(' ') && before.split_ascii_whitespace().count() == 5
        };
        let is_unwritten = mode == "r-xp" || mode == "r--p" && offset == 0;
        if !is_program || !is_unwritten {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        (start < end).then_some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<Range<usize>> {
        let program = match line.ends_with("(deleted)") {
            true => "/usr/bin/x (deleted)",
            false => "/usr/bin/x",
        };
        unwritten(line, program).next()
    }

    #[test]
    fn text_and_the_head_of_a_file_are_named() {
        for line in [
            "1000-3000 r-xp 001d1000 fe:00 543 /usr/bin/x",
            "1000-3000 r--p 00000000 fe:00 543 /usr/bin/x",
            "1000-3000 r-xp 001d1000 fe:00 543 /usr/bin/x (deleted)",
        ] {
            assert_eq!(of(line), Some(0x1000..0x3000), "{line}");
        }
    }

    #[test]
    fn what_may_have_been_written_is_not() {
        for line in [
            "1000-3000 r--p 00875000 fe:00 543 /usr/bin/x", // relocated, then made read-only
            "1000-3000 rw-p 00000000 fe:00 543 /usr/bin/x",
            "1000-3000 rwxp 00000000 fe:00 543 /usr/bin/x",
            "1000-3000 rw-s 00000000 fe:00 543 /var/lib/telemetryd/queue.db-shm",
            "1000-3000 r--s 00000000 fe:00 543 /var/lib/telemetryd/queue.db-shm",
            "1000-3000 rw-p 00000000 00:00 0 [heap]",
            "1000-3000 rw-p 00000000 00:00 0",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_not_the_programs_is_not() {
        for line in [
            "1000-3000 r-xp 00000000 00:00 0 [vdso]",
            "1000-3000 r--p 00000000 00:00 0 [vvar]",
            "1000-3000 r-xp 00000000 00:00 0",
            "1000-3000 r-xp 00000000 fe:00 543 anon_inode:x",
            "1000-3000 r-xp 00000000 fe:00 543 /usr/lib/libc.so.6",
            "1000-3000 r-xp 00000000 fe:00 543 /elsewhere/usr/bin/x",
            "1000-3000 r-xp 00000000 fe:00 543 /elsewhere /usr/bin/x",
            "3000-1000 r-xp 00000000 fe:00 543 /usr/bin/x",
            "x-3000 r-xp 00000000 fe:00 543 /usr/bin/x",
            "",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
