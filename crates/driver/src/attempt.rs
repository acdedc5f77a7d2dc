//! The call of each operation, made once, and the questions that are put to a socket once.
//!
//! The readiness driver, the ring's attempts before it asks the kernel, and plain threads perform
//! operations by [`Op::attempt`] alone; dumps name them by [`Op::name`].
#![expect(unsafe_code, reason = "operations hold pointers and bare descriptors")]

use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::Instant;

use fiveways_sys::errno;
use fiveways_sys::net::message;
use fiveways_sys::net::{self, Answer, DONT_WAIT};

use crate::loan::{HotBuffers, Loan};
use crate::op::{Op, Source};

/// The buffers that [`Op::Fill`] receives into.
pub trait ReceiveBuffers {
    /// Calls `receive` with the buffers.
    fn with(&mut self, receive: impl FnOnce(&mut HotBuffers) -> Answer) -> Answer;
}

impl ReceiveBuffers for HotBuffers {
    #[inline]
    fn with(&mut self, receive: impl FnOnce(&mut HotBuffers) -> Answer) -> Answer {
        receive(self)
    }
}

impl Op {
    /// Returns the name that dumps show: that of the system call, if there is one.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Recv { .. } | Op::Fill { .. } => "recv",
            Op::Send { .. } => "send",
            Op::RecvMsg { .. } => "recvmsg",
            Op::SendMsg { .. } => "sendmsg",
            Op::Accept { .. } => "accept",
            Op::Connect { .. } => "connect",
            Op::Readable { .. } => "readable",
            Op::Writable { .. } => "writable",
        }
    }

    /// Makes the operation's call once, with `flags` in addition to its own: with
    /// [`DONT_WAIT`] it does not wait, without it waits in the kernel if the descriptor is in
    /// blocking mode.
    ///
    /// Answers a count or a negated `errno`; an interruption is an answer. `None` if the
    /// call would have had to wait (or has waited until the socket's own time limit).
    ///
    /// # Safety
    ///
    /// What the operation points at must be valid, and its descriptor open.
    #[inline]
    pub unsafe fn attempt(&self, flags: u32, buffers: &mut impl ReceiveBuffers) -> Option<Answer> {
        let more = flags;
        let answer = match *self {
            Op::Recv { source, buf, len, flags } => {
                // SAFETY: required: `buf` valid for `len` bytes. By this function's contract.
                unsafe { net::recv_once(source.fd, buf, len, flags | more) }
            }
            Op::Send { source, buf, len, flags } => {
                // SAFETY: required: `buf` valid for `len` bytes. By this function's contract.
                unsafe { net::send_once(source.fd, buf, len, flags | more) }
            }
            Op::RecvMsg { source, header, flags } => {
                // SAFETY: required: a prepared header in place. By this function's contract.
                unsafe { message::recvmsg_once(source.fd, header, flags | more) }
            }
            Op::SendMsg { source, header, flags } => {
                // SAFETY: required: a prepared header in place. By this function's contract.
                unsafe { message::sendmsg_once(source.fd, header, flags | more) }
            }
            Op::Fill { source, loan } => {
                // SAFETY: required: `loan` valid for writes. By this function's contract.
                buffers.with(|hot| unsafe { fill(source, loan, more, hot) })
            }
            Op::Accept { source, peer } => {
                // SAFETY: required: `peer` valid for writes. By this function's contract.
                unsafe { net::accept(source.fd, peer) }
            }
            Op::Connect { source, address } => {
                // SAFETY: required: valid for reads. By this function's contract.
                return connect(source.fd, unsafe { &*address }, more);
            }
            Op::Readable { source } => return ready(source.fd, false, more),
            Op::Writable { source } => return ready(source.fd, true, more),
        };
        (!net::is_would_block(answer)).then_some(answer)
    }
}

/// Attempts a submitted operation, without waiting; `None` if it would have had to wait.
#[inline]
pub(crate) fn attempt_now(op: &Op, hot: &mut HotBuffers) -> Option<Answer> {
    loop {
        // SAFETY: required: what it points at valid, its descriptor open. By the contract of
        // `submit`.
        match unsafe { op.attempt(DONT_WAIT, hot) } {
            Some(errno::NEG_EINTR) => {}
            answer => return answer,
        }
    }
}

/// Receives into the hot buffer and lends the received bytes.
///
/// # Safety
///
/// `loan` must be valid for writes.
#[inline]
unsafe fn fill(
    source: Source,
    loan: *mut Option<Loan>,
    flags: u32,
    hot: &mut HotBuffers,
) -> Answer {
    let buffer = hot.writable();
    let (buf, len) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: required: valid for `len` bytes. They come from one slice.
    let answer = unsafe { net::recv_once(source.fd, buf, len, flags) };
    if answer > 0 {
        let lent = hot.lend(answer as usize);
        // SAFETY: required: valid for writes. By this function's contract.
        unsafe { *loan = Some(lent) };
    }
    answer
}

/// Borrows the descriptor of an operation: its waiter owns it and stays.
pub(crate) fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: required: open for the length of the use, not -1. The waiter (or the caller of
    // `close`) owns it; see `Driver::submit`.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Begins a connect or returns its result: on Linux connect(2) may be repeated for that.
///
/// There is no flag by which it does not wait: the socket is non-blocking instead, until the
/// connect is over (I5). One that waits and is interrupted goes on in the kernel.
fn connect(fd: RawFd, address: &net::Address, flags: u32) -> Option<Answer> {
    let waits = flags & DONT_WAIT == 0;
    if !waits && let Err(error) = net::set_nonblocking(borrow(fd), true) {
        return Some(-error.raw_os_error().unwrap_or(errno::EBADF));
    }
    let answer = match net::connect(fd, address) {
        errno::NEG_EINPROGRESS | errno::NEG_EALREADY => return None,
        errno::NEG_EISCONN if !waits => 0,
        answer => answer,
    };
    if waits {
        return Some(answer);
    }
    match net::set_nonblocking(borrow(fd), false) {
        Ok(()) => Some(answer),
        Err(error) => Some(-error.raw_os_error().unwrap_or(errno::EBADF)),
    }
}

/// Checks whether a descriptor is ready, or waits for that.
fn ready(fd: RawFd, writable: bool, flags: u32) -> Option<Answer> {
    let deadline = (flags & DONT_WAIT != 0).then(Instant::now);
    match net::wait_ready(borrow(fd).as_fd(), writable, deadline) {
        Ok(true) => Some(0),
        Ok(false) => None,
        Err(error) => Some(-error.raw_os_error().unwrap_or(errno::EBADF)),
    }
}

/// Checks whether a descriptor is ready, without waiting.
pub(crate) fn is_ready(fd: RawFd, writable: bool) -> bool {
    ready(fd, writable, DONT_WAIT).is_some()
}

pub(crate) fn is_tcp(fd: RawFd) -> bool {
    let mut protocol = [0_u8; 4];
    let known = net::option(fd, net::option_name::PROTOCOL, &mut protocol);
    known.is_ok() && i32::from_ne_bytes(protocol) == net::TCP
}
