//! Looking at this process's own memory without touching it: by the kernel, which copies it.
//!
//! For those who search memory that others may be writing, or giving back, in the same moment: what
//! they get is some bytes, or an error, where a load would be a data race or a fault.
//! `process_vm_readv(2)` of oneself needs no privilege; some sandboxes refuse it.
#![expect(unsafe_code, reason = "asks the kernel to write into a buffer")]

use std::io;
use std::ops::Range;

use libc::{c_ulong, iovec};

/// Copies what lies at `address` into the words and tells how many are there: as many as are in
/// pages that can be read.
///
/// Never suspends.
///
/// # Errors
///
/// `EFAULT` when not even the first can be read; `EPERM` or `ENOSYS` from sandboxes.
pub fn copy(address: usize, into: &mut [usize]) -> io::Result<usize> {
    let bytes = size_of_val(into);
    let local = iovec { iov_base: into.as_mut_ptr().cast(), iov_len: bytes };
    let remote = iovec { iov_base: address as *mut libc::c_void, iov_len: bytes };
    let (one, no_flags): (c_ulong, c_ulong) = (1, 0);
    let me = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: required: `process_vm_readv(pid, local, 1, remote, 1, 0)`, with a local buffer that
    // may be written. It is borrowed exclusively, and all bits are words.
    let copied = unsafe {
        let call = libc::SYS_process_vm_readv;
        libc::syscall(call, me, &raw const local, one, &raw const remote, one, no_flags)
    };
    match usize::try_from(copied) {
        Ok(copied) => Ok(copied / size_of::<usize>()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Memory that may hold what a program has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writable {
    /// Its addresses.
    pub range: Range<usize>,
    /// Does it hold static variables of the program itself, not of libraries?
    pub is_static: bool,
}

/// The ranges of memory that can be written, in ascending order.
///
/// # Errors
///
/// Those of reading `/proc/self/maps` and `/proc/self/exe`.
pub fn writable() -> io::Result<Vec<Writable>> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let program = program.to_string_lossy();
    let mut all: Vec<Writable> = Vec::new();
    for (range, path) in maps.lines().filter_map(parse) {
        // Those that are zero at first lie behind the others, in a mapping without a file.
        let goes_on = |last: &Writable| last.is_static && last.range.end == range.start;
        let goes_on = path.is_empty() && all.last().is_some_and(goes_on);
        all.push(Writable { is_static: goes_on || path == program, range });
    }
    Ok(all)
}

/// The addresses and the path of a mapping that can be written.
/// `55d0c9a00000-55d0c9a21000 rw-p 00000000 00:00 0   [heap]`
fn parse(line: &str) -> Option<(Range<usize>, &str)> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let rights = words.next()?;
    let path = words.nth(3).unwrap_or("").trim_start();
    let address = |text| usize::from_str_radix(text, 16).ok();
    rights.starts_with("rw").then_some((address(start)?..address(end)?, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Mapping, page_size};

    #[test]
    fn words_are_copied_up_to_the_first_page_that_cannot_be_read() {
        let page = page_size();
        let mapping = Mapping::new(3 * page).expect("mapped");
        // SAFETY: required: nobody uses the page. It is ours, and new.
        unsafe { mapping.protect(page..2 * page) }.expect("protected");
        let first = mapping.base().addr().get();
        let mut words = [7; 512];
        assert_eq!(copy(first, &mut words).expect("it can be read"), 512);
        assert_eq!(words, [0; 512]);
        let near_end = first + page - 80;
        assert_eq!(copy(near_end, &mut words).expect("some can be read"), 10);
        assert!(copy(first + page, &mut words).is_err(), "nothing can be read");
    }

    #[test]
    fn a_stack_is_writable_and_statics_are_told_from_it() {
        use std::sync::atomic::AtomicUsize;
        static SET: AtomicUsize = AtomicUsize::new(7);
        static ZERO: AtomicUsize = AtomicUsize::new(0);
        let all = writable().expect("there is a list");
        let find = |at: usize| all.iter().find(|one| one.range.contains(&at)).cloned();
        let local = 7;
        let of_stack = find(std::ptr::from_ref(&local).addr()).expect("it is listed");
        assert!(!of_stack.is_static, "{of_stack:?}");
        for one in [&raw const SET, &raw const ZERO] {
            let of_static = find(one.addr()).expect("it is listed");
            assert!(of_static.is_static, "{of_static:?}");
        }
        assert!(all.is_sorted_by_key(|one| one.range.start));
    }
}
