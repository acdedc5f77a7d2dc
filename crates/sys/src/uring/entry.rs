//! One request to the ring, created by typed constructors.

use std::os::fd::RawFd;
use std::ptr;

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{opcode, squeue};

use crate::net::message::Header;
use crate::net::{Address, DONT_WAIT, NO_SIGNAL};

/// `IORING_RECVSEND_POLL_FIRST`: the socket is known not to be ready, so the kernel polls before
/// the first try.
const POLL_FIRST: u16 = 1;

/// A request; see [`super::Ring::push`] for what must stay valid.
#[derive(Clone, Debug)]
pub struct Entry(pub(super) squeue::Entry);

impl Entry {
    /// recv(2) into `len` bytes at `buf`; `dry`: the socket is known to be empty.
    #[inline]
    pub fn recv(fd: RawFd, buf: *mut u8, len: usize, flags: u32, dry: bool) -> Entry {
        let order = if dry { POLL_FIRST } else { 0 };
        let op = opcode::Recv::new(Fd(fd), buf, clamp(len)).flags(flags as i32).ioprio(order);
        Entry(op.build())
    }

    /// send(2) from `len` bytes at `buf`, never raising a signal; `full`: there is known to be no
    /// room.
    #[inline]
    pub fn send(fd: RawFd, buf: *const u8, len: usize, flags: u32, full: bool) -> Entry {
        let order = if full { POLL_FIRST } else { 0 };
        let flags = (flags | NO_SIGNAL) as i32;
        Entry(opcode::Send::new(Fd(fd), buf, clamp(len)).flags(flags).ioprio(order).build())
    }

    /// recvmsg(2).
    #[inline]
    pub fn recvmsg(fd: RawFd, header: *mut Header, flags: u32) -> Entry {
        Entry(opcode::RecvMsg::new(Fd(fd), header).flags(flags).build())
    }

    /// sendmsg(2), never raising a signal.
    #[inline]
    pub fn sendmsg(fd: RawFd, header: *const Header, flags: u32) -> Entry {
        Entry(opcode::SendMsg::new(Fd(fd), header).flags(flags | NO_SIGNAL).build())
    }

    /// connect(2).
    #[inline]
    pub fn connect(fd: RawFd, address: &Address) -> Entry {
        let (at, len) = (address.as_ptr().cast(), address.addr_len());
        Entry(opcode::Connect::new(Fd(fd), at, len).build())
    }

    /// Waits until the descriptor is readable or writable (or in error): completes once.
    #[inline]
    pub fn poll(fd: RawFd, writable: bool) -> Entry {
        let events = if writable { libc::POLLOUT } else { libc::POLLIN };
        Entry(opcode::PollAdd::new(Fd(fd), events as u32).build())
    }

    /// Completes each time the descriptor becomes readable.
    #[inline]
    pub fn poll_many(fd: RawFd) -> Entry {
        Entry(opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).multi(true).build())
    }

    /// recv(2) into a buffer of `group` that the kernel picks when bytes have arrived; `dry`: the
    /// socket is known to be empty.
    #[inline]
    pub fn recv_picked(fd: RawFd, group: u16, dry: bool) -> Entry {
        let order = if dry { POLL_FIRST } else { 0 };
        let op = opcode::Recv::new(Fd(fd), ptr::null_mut(), 0).buf_group(group).ioprio(order);
        Entry(op.build().flags(squeue::Flags::BUFFER_SELECT))
    }

    /// recv(2) of one byte, without waiting for it, into a buffer of `group`.
    pub fn recv_byte_picked(fd: RawFd, group: u16) -> Entry {
        let op = opcode::Recv::new(Fd(fd), ptr::null_mut(), 1).buf_group(group);
        let op = op.flags(DONT_WAIT as i32).build();
        Entry(op.flags(squeue::Flags::BUFFER_SELECT))
    }

    /// Cancels the request with this tag; completes by itself.
    #[inline]
    pub fn cancel(user_data: u64) -> Entry {
        Entry(opcode::AsyncCancel::new(user_data).build())
    }

    /// Cancels everything in the ring; completes by itself.
    pub fn cancel_all() -> Entry {
        Entry(opcode::AsyncCancel2::new(CancelBuilder::any()).build())
    }

    /// Tags the request; its completions carry the tag.
    #[inline]
    #[must_use]
    pub fn tagged(self, user_data: u64) -> Entry {
        Entry(self.0.user_data(user_data))
    }
}

/// The kernel transfers less than 2 GiB at once in any case.
#[inline]
fn clamp(len: usize) -> u32 {
    len.min(i32::MAX as usize) as u32
}
