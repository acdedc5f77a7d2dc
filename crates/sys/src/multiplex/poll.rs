//! `poll(2)` over a table that lives longer than one call.
//!
//! The table holds descriptor numbers, not borrows: a number that has been closed is reported as
//! [`INVALID`], and nothing is touched.
#![expect(unsafe_code, reason = "passes a table and a timeout to ppoll")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::time::Duration;

use crate::multiplex::timeout::timespec;

/// `POLLIN`
pub const IN: i16 = libc::POLLIN;
/// `POLLPRI`
pub const PRIORITY: i16 = libc::POLLPRI;
/// `POLLOUT`
pub const OUT: i16 = libc::POLLOUT;
/// `POLLERR`, reported whether requested or not
pub const ERROR: i16 = libc::POLLERR;
/// `POLLHUP`, reported whether requested or not
pub const HANGUP: i16 = libc::POLLHUP;
/// `POLLRDHUP`: the peer will send no more
pub const READ_HANGUP: i16 = libc::POLLRDHUP;
/// `POLLNVAL`: the number is not open
pub const INVALID: i16 = libc::POLLNVAL;

/// One entry of the table (`struct pollfd`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    fd: RawFd,
    asked: i16,
    answer: i16,
}

impl Entry {
    /// Creates an entry that asks for some flags of a descriptor.
    #[inline]
    pub fn new(fd: BorrowedFd<'_>, asked: i16) -> Entry {
        Entry::of_number(fd.as_raw_fd(), asked)
    }

    /// Creates an entry for a number that may have been closed since.
    #[inline]
    pub fn of_number(fd: RawFd, asked: i16) -> Entry {
        Entry { fd, asked, answer: 0 }
    }

    /// Returns the descriptor's number.
    #[inline]
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// Changes the flags that are asked for.
    #[inline]
    pub fn ask(&mut self, asked: i16) {
        self.asked = asked;
    }

    /// Returns the flags of the last call.
    #[inline]
    pub fn answer(&self) -> i16 {
        self.answer
    }
}

/// Waits once until an entry has an answer and returns how many have one; `None` waits without end.
///
/// # Errors
///
/// `EINTR` after a signal; `EINVAL` if the table is longer than the descriptor limit.
#[inline]
pub fn poll(table: &mut [Entry], timeout: Option<Duration>) -> io::Result<usize> {
    let mut timeout = timeout.map(timespec);
    let timeout_at = timeout.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    let (data, len, no_mask) = (table.as_mut_ptr(), table.len(), ptr::null::<u64>());
    // SAFETY: required: `data` valid for `len` entries, the timeout null or valid for writes. They
    // come from a slice and a local, and `Entry` has the layout of `struct pollfd`.
    let count = unsafe { libc::syscall(libc::SYS_ppoll, data, len, timeout_at, no_mask, 8) };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    #[test]
    fn a_line_is_answered_with_what_was_asked_and_a_closed_number_as_invalid() {
        let (mut a, b) = UnixStream::pair().expect("a pair");
        let gone = {
            let (c, _d) = UnixStream::pair().expect("a pair");
            c.as_raw_fd() + 10_000
        };
        a.write_all(b"x").expect("write");
        let mut table = [Entry::new(b.as_fd(), IN), Entry::of_number(gone, IN)];
        assert_eq!(poll(&mut table, None).expect("poll"), 2);
        assert_eq!((table[0].answer(), table[1].answer()), (IN, INVALID));
    }

    #[test]
    fn a_silent_table_takes_the_whole_timeout() {
        let timeout = Duration::from_millis(3);
        let before = Instant::now();
        assert_eq!(poll(&mut [], Some(timeout)).expect("poll"), 0);
        assert!(before.elapsed() >= timeout);
    }
}
