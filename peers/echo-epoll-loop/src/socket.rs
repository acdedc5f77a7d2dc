//! The few system calls of the loop, each with its outcome as a value.

use std::io;
use std::os::fd::RawFd;

/// The outcome of one non-blocking attempt.
pub enum Step {
    /// So many bytes were moved.
    Done(usize),
    /// The kernel asks to wait for the next edge.
    WouldBlock,
    /// The connection is lost.
    Failed,
}

/// An epoll instance.
pub struct Epoll(RawFd);

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(Self(fd)) }
    }

    /// Registers `fd`, with itself as the token.
    pub fn add(&self, fd: RawFd, flags: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: flags as u32, u64: fd as u64 };
        // SAFETY: `event` is live for the call, which only reads it.
        let answer = unsafe { libc::epoll_ctl(self.0, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits for events, or only looks when `may_sleep` is false.
    pub fn wait(&self, events: &mut [libc::epoll_event], may_sleep: bool) -> io::Result<usize> {
        let timeout = if may_sleep { -1 } else { 0 };
        let len = events.len() as i32;
        // SAFETY: the kernel writes at most `len` events, which is the length of the slice.
        let count = unsafe { libc::epoll_wait(self.0, events.as_mut_ptr(), len, timeout) };
        if count >= 0 {
            return Ok(count as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) }
    }
}

/// Accepts one connection, non-blocking and without Nagle's delay; `None` when there is none.
pub fn accept(listener: RawFd) -> io::Result<Option<RawFd>> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let no_address = std::ptr::null_mut();
    // SAFETY: null pointers ask the kernel not to report the peer's address.
    let fd = unsafe { libc::accept4(listener, no_address, std::ptr::null_mut(), flags) };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::EAGAIN) => Ok(None),
            // The peer gave up while it was queued: the next one may be fine.
            Some(libc::ECONNABORTED | libc::EINTR) => accept(listener),
            _ => Err(error),
        };
    }
    let on: libc::c_int = 1;
    let len = size_of_val(&on) as libc::socklen_t;
    let value = (&raw const on).cast();
    // SAFETY: `value` points at a live `c_int` of `len` bytes.
    unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, value, len) };
    Ok(Some(fd))
}

pub fn receive(fd: RawFd, buffer: &mut [u8]) -> Step {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into the live slice.
    let len = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    outcome(len)
}

pub fn send(fd: RawFd, bytes: &[u8]) -> Step {
    // SAFETY: the kernel reads at most `bytes.len()` bytes of the live slice.
    let len = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    outcome(len)
}

pub fn close(fd: RawFd) {
    // SAFETY: the caller drops the connection, the only user of `fd`.
    unsafe { libc::close(fd) };
}

fn outcome(answer: isize) -> Step {
    if answer >= 0 {
        return Step::Done(answer as usize);
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR) => Step::WouldBlock,
        _ => Step::Failed,
    }
}
