//! Attempts that take more than one call, and the questions that are put to a socket once.
#![expect(unsafe_code, reason = "operations hold pointers and bare descriptors")]

use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::Instant;

use fiveways_sys::errno;
use fiveways_sys::net::{self, Answer};

/// Borrows the descriptor of an operation: its waiter owns it and stays.
pub(crate) fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: required: open for the length of the use, not -1. The waiter (or the caller of
    // `close`) owns it; see `Driver::submit`.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Begins a connect or returns its result: on Linux connect(2) may be repeated for that.
///
/// The socket is non-blocking for the length of the connect, for which there is no flag (I5).
pub(crate) fn connect(fd: RawFd, address: *const net::Address) -> Option<Answer> {
    if let Err(error) = net::set_nonblocking(borrow(fd), true) {
        return Some(-error.raw_os_error().unwrap_or(errno::EBADF));
    }
    // SAFETY: required: valid for reads. By the contract of `submit`.
    let answer = match net::connect(fd, unsafe { &*address }) {
        errno::NEG_EINPROGRESS | errno::NEG_EALREADY => return None,
        errno::NEG_EISCONN => 0,
        answer => answer,
    };
    match net::set_nonblocking(borrow(fd), false) {
        Ok(()) => Some(answer),
        Err(error) => Some(-error.raw_os_error().unwrap_or(errno::EBADF)),
    }
}

/// Checks whether a descriptor is ready, without waiting.
pub(crate) fn ready(fd: RawFd, writable: bool) -> Option<Answer> {
    match net::wait_ready(borrow(fd).as_fd(), writable, Some(Instant::now())) {
        Ok(true) => Some(0),
        Ok(false) => None,
        Err(error) => Some(-error.raw_os_error().unwrap_or(errno::EBADF)),
    }
}

pub(crate) fn is_tcp(fd: RawFd) -> bool {
    let mut protocol = [0_u8; 4];
    let known = net::option(fd, net::option_name::PROTOCOL, &mut protocol);
    known.is_ok() && i32::from_ne_bytes(protocol) == net::TCP
}
