//! `select(2)` over sets that cannot be overrun (D21).
//!
//! libc's `FD_SET` writes out of bounds for a descriptor of [`LIMIT`] or more. A [`FdSet`] refuses
//! it.
#![expect(unsafe_code, reason = "passes three sets and a timeout to pselect6")]

use std::ffi::{c_int, c_ulong};
use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

use crate::multiplex::timeout::timespec;

/// One more than the highest descriptor that `select` can watch (`FD_SETSIZE`).
pub const LIMIT: RawFd = libc::FD_SETSIZE as RawFd;

const WORD: usize = c_ulong::BITS as usize;
const WORDS: usize = LIMIT as usize / WORD;

/// A set of descriptors below [`LIMIT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdSet([c_ulong; WORDS]);

impl FdSet {
    /// Adds or removes a descriptor. Returns `false` if it does not fit.
    #[inline]
    pub fn set(&mut self, fd: RawFd, member: bool) -> bool {
        let Some((word, bit)) = place(fd) else { return false };
        if member {
            self.0[word] |= bit;
        } else {
            self.0[word] &= !bit;
        }
        true
    }

    /// Returns `true` if the descriptor is a member.
    #[inline]
    pub fn contains(&self, fd: RawFd) -> bool {
        place(fd).is_some_and(|(word, bit)| self.0[word] & bit != 0)
    }

    /// Returns the first member of any of the sets at or above `from`.
    #[inline]
    pub fn first_of(sets: [&FdSet; 3], from: RawFd) -> Option<RawFd> {
        let (first, _) = place(from)?;
        let mut mask = c_ulong::MAX << (from as usize % WORD);
        for word in first..WORDS {
            let members = sets.iter().fold(0, |all, set| all | set.0[word]) & mask;
            if members != 0 {
                return Some((word * WORD) as RawFd + members.trailing_zeros() as RawFd);
            }
            mask = c_ulong::MAX;
        }
        None
    }

    /// Returns one more than the highest member of any of the sets; zero if they are empty.
    #[inline]
    pub fn bound_of(sets: [&FdSet; 3]) -> RawFd {
        for word in (0..WORDS).rev() {
            let members = sets.iter().fold(0, |all, set| all | set.0[word]);
            if members != 0 {
                return (word * WORD + WORD) as RawFd - members.leading_zeros() as RawFd;
            }
        }
        0
    }
}

#[inline]
fn place(fd: RawFd) -> Option<(usize, c_ulong)> {
    let at = usize::try_from(fd).ok().filter(|at| *at < LIMIT as usize)?;
    Some((at / WORD, 1 << (at % WORD)))
}

/// The three sets of a call: the descriptors to watch before it, the ready ones after it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sets {
    /// Readable: data, end of stream, hang-up or error.
    pub read: FdSet,
    /// Writable: room, or error.
    pub write: FdSet,
    /// Priority: urgent data, not errors.
    pub priority: FdSet,
}

/// Waits once for descriptors below `bound` and returns the number of set bits.
///
/// # Errors
///
/// `EINTR` after a signal, `EBADF` when a member is not open.
#[inline]
pub fn select(sets: &mut Sets, bound: RawFd, timeout: Option<Duration>) -> io::Result<usize> {
    let mut timeout = timeout.map(timespec);
    let timeout_at = timeout.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    let bound: c_int = bound.clamp(0, LIMIT);
    let (read, write) = (sets.read.0.as_mut_ptr(), sets.write.0.as_mut_ptr());
    let (other, no_mask) = (sets.priority.0.as_mut_ptr(), ptr::null::<u64>());
    let call = libc::SYS_pselect6;
    // SAFETY: required: three sets valid for `bound` bits, the timeout null or valid for writes.
    // Each set holds `LIMIT` bits, `bound` is at most that, and all are local or exclusively
    // borrowed.
    let count = unsafe { libc::syscall(call, bound, read, write, other, timeout_at, no_mask) };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_that_does_not_fit_changes_nothing_d21() {
        let mut set = FdSet::default();
        for fd in [-1, LIMIT, LIMIT + 1, RawFd::MAX] {
            assert!(!set.set(fd, true));
            assert!(!set.contains(fd));
        }
        assert_eq!(set, FdSet::default());
        assert!(set.set(LIMIT - 1, true));
        assert!(set.contains(LIMIT - 1));
    }

    #[test]
    fn members_are_found_in_order_over_all_sets() {
        let mut sets = Sets::default();
        sets.read.set(3, true);
        sets.write.set(64, true);
        sets.priority.set(1023, true);
        let all = [&sets.read, &sets.write, &sets.priority];
        assert_eq!(FdSet::first_of(all, 0), Some(3));
        assert_eq!(FdSet::first_of(all, 4), Some(64));
        assert_eq!(FdSet::first_of(all, 65), Some(1023));
        assert_eq!(FdSet::first_of(all, LIMIT), None);
        assert_eq!(FdSet::bound_of(all), 1024);
        sets.priority.set(1023, false);
        assert_eq!(FdSet::first_of([&sets.read, &sets.write, &sets.priority], 65), None);
        assert_eq!(FdSet::bound_of([&sets.read, &sets.write, &sets.priority]), 65);
        assert_eq!(FdSet::bound_of([&sets.read, &sets.read, &sets.read]), 4);
        assert_eq!(FdSet::bound_of([&sets.priority; 3]), 0);
    }
}
