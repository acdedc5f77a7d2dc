//! Address space for stacks: mapping, guarding, discarding, and asking which pages are resident.
//!
//! A [`Mapping`] owns one anonymous, private, lazily committed range. Its operations take offsets
//! into the range, so that no call can touch memory of other code; they are `unsafe` if they take
//! memory away that may be in use.
//!
//! Guards come in two kinds. `MADV_GUARD_INSTALL` (Linux 6.13) marks page-table entries, costs 0.3
//! µs and no extra mapping. `mprotect(PROT_NONE)` works everywhere but splits the mapping in up to
//! three, and `vm.max_map_count` (65,530) ends that at about 32,000 guards.
#![expect(unsafe_code, reason = "maps memory and takes it away again")]

use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::ptr::{self, NonNull};

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

/// `MADV_GUARD_INSTALL` of `include/uapi/asm-generic/mman-common.h`; not yet in `rustix` or `libc`.
const MADV_GUARD_INSTALL: i32 = 102;

/// Returns the size of a page.
#[inline]
pub fn page_size() -> usize {
    rustix::param::page_size()
}

/// An anonymous private mapping, readable and writable, unmapped when dropped.
///
/// Pages appear when they are first touched. No swap space is reserved for them, the kernel knows
/// that they are stacks, and huge pages are refused: one touched page must not become 2 MiB.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: required: usable from any thread. A mapping belongs to the process, not to a thread, and
// the value is nothing but its address and length.
unsafe impl Send for Mapping {}
// SAFETY: required: shareable between threads. The methods change no field, and the kernel
// serialises changes to mappings.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes (rounded up to pages by the kernel) of zeroes.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when the address space (`RLIMIT_AS`), the number of mappings (`vm.max_map_count`)
    /// or the commit limit (`vm.overcommit_memory=2`) is exhausted; `EINVAL` when `len` is zero.
    pub fn new(len: usize) -> io::Result<Mapping> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::STACK;
        // SAFETY: required: a fixed address must not be in use. We give none: the kernel chooses.
        let base = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, protection, flags) }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = Mapping { base, len };
        // SAFETY: required: our own range. It has just been mapped. Refused (EINVAL) by kernels
        // without huge pages, which is as good.
        let _ = unsafe { rustix::mm::madvise(mapping.at(0), len, Advice::LinuxNoHugepage) };
        Ok(mapping)
    }

    /// Returns the lowest address.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Returns the length in bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Makes a range of pages fault when touched, without splitting the mapping; what they held is
    /// lost.
    ///
    /// # Errors
    ///
    /// `EINVAL` from kernels older than 6.13, and when the memory is locked (`mlockall`); then
    /// [`Mapping::protect`] is the way.
    ///
    /// # Panics
    ///
    /// When the range is not inside the mapping.
    ///
    /// # Safety
    ///
    /// The memory of the range is not used, now or later.
    pub unsafe fn guard(&self, range: Range<usize>) -> io::Result<()> {
        let len = self.checked(&range);
        let start = self.at(range.start);
        // SAFETY: required: `madvise(addr, len, advice)` on pages nobody uses. The caller promises
        // it.
        let done = unsafe { libc::syscall(libc::SYS_madvise, start, len, MADV_GUARD_INSTALL) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Makes a range of pages inaccessible, as a mapping of its own.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when the process has `vm.max_map_count` mappings.
    ///
    /// # Panics
    ///
    /// When the range is not inside the mapping.
    ///
    /// # Safety
    ///
    /// The memory of the range is not used, now or later.
    pub unsafe fn protect(&self, range: Range<usize>) -> io::Result<()> {
        let len = self.checked(&range);
        // SAFETY: required: nobody uses the pages. The caller promises it.
        unsafe { rustix::mm::mprotect(self.at(range.start), len, MprotectFlags::empty()) }?;
        Ok(())
    }

    /// Gives the memory of a range of pages back to the kernel; they read as zeroes afterwards.
    /// Guards in the range stay.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the memory is locked (`mlockall`).
    ///
    /// # Panics
    ///
    /// When the range is not inside the mapping.
    ///
    /// # Safety
    ///
    /// No code relies on what the range holds.
    pub unsafe fn discard(&self, range: Range<usize>) -> io::Result<()> {
        let len = self.checked(&range);
        // SAFETY: required: the content may be lost. The caller promises it.
        unsafe { rustix::mm::madvise(self.at(range.start), len, Advice::LinuxDontNeed) }?;
        Ok(())
    }

    /// Returns the offset of the lowest page of a range that is in memory, touching nothing; `None`
    /// when no page is.
    ///
    /// Swapped-out pages count as absent.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when the kernel is short of memory for the moment.
    ///
    /// # Panics
    ///
    /// When the range is not inside the mapping.
    pub fn lowest_resident(&self, range: Range<usize>) -> io::Result<Option<usize>> {
        self.checked(&range);
        let page = page_size();
        let mut found = [0_u8; 512];
        for start in range.clone().step_by(found.len() * page) {
            let len = (range.end - start).min(found.len() * page);
            let (from, into) = (self.at(start), found.as_mut_ptr());
            // SAFETY: required: `mincore(addr, len, vec)` with a byte of `vec` for each page. `len`
            // is bounded to as many pages as `found` has bytes, and the range is ours.
            let done = unsafe { libc::syscall(libc::SYS_mincore, from, len, into) };
            if done != 0 {
                return Err(io::Error::last_os_error());
            }
            let pages = len.div_ceil(page);
            if let Some(first) = found[..pages].iter().position(|state| state & 1 == 1) {
                return Ok(Some(start + first * page));
            }
        }
        Ok(None)
    }

    /// Returns the address at an offset, for the kernel.
    fn at(&self, offset: usize) -> *mut c_void {
        self.base.as_ptr().wrapping_add(offset).cast()
    }

    /// Returns the length of a range that lies inside the mapping.
    fn checked(&self, range: &Range<usize>) -> usize {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "range {range:?} leaves a mapping of {} bytes",
            self.len
        );
        range.end - range.start
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: required: nobody uses the memory. We own the mapping, and users of its memory
        // keep it alive by contract.
        let unmapped = unsafe { rustix::mm::munmap(self.at(0), self.len) };
        debug_assert!(unmapped.is_ok(), "munmap: {unmapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_mapping_has_no_resident_page_and_a_touched_one_is_found() {
        let page = page_size();
        let mapping = Mapping::new(600 * page).expect("mapped");
        assert_eq!(mapping.lowest_resident(0..mapping.len()).expect("asked"), None);
        let touched = mapping.base().as_ptr().wrapping_add(550 * page);
        // SAFETY: required: ours and mapped. The offset is below the length.
        unsafe { touched.write(1) };
        let lowest = mapping.lowest_resident(0..mapping.len()).expect("asked");
        assert_eq!(lowest, Some(550 * page));
    }

    #[test]
    fn discarded_memory_reads_as_zeroes() {
        let page = page_size();
        let mapping = Mapping::new(page).expect("mapped");
        let byte = mapping.base().as_ptr();
        // SAFETY: required: ours and mapped. It is the first byte.
        unsafe { byte.write(7) };
        // SAFETY: required: nobody relies on the content. We do not.
        unsafe { mapping.discard(0..page) }.expect("discarded");
        // SAFETY: required: ours and mapped. It is the first byte.
        assert_eq!(unsafe { byte.read() }, 0);
    }

    #[test]
    #[should_panic(expected = "leaves a mapping")]
    fn a_range_outside_is_refused() {
        let mapping = Mapping::new(page_size()).expect("mapped");
        let _ = mapping.lowest_resident(0..mapping.len() + 1);
    }
}
