//! Message headers for `recvmsg` and `sendmsg`: vectored buffers, addresses, control data.
//!
//! A [`Message`] is self-referential once prepared: the header points at the address beside it. It
//! is prepared after it has come to rest in its frame and not moved until the call (or the ring) is
//! done with it, which [`Message::prepare`] makes its caller promise.
#![expect(unsafe_code, reason = "builds the kernel's msghdr and hands it over")]

use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use crate::net::{Address, Answer, NO_SIGNAL};

/// The kernel's message header.
pub type Header = libc::msghdr;

/// A message header with room for one address.
pub struct Message {
    header: Header,
    name: MaybeUninit<libc::sockaddr_storage>,
}

impl Default for Message {
    fn default() -> Message {
        Message::new()
    }
}

impl Message {
    /// Makes an empty header.
    pub fn new() -> Message {
        // SAFETY: required: all-zero is a valid `msghdr`. It holds integers and pointers only.
        let header = unsafe { std::mem::zeroed() };
        Message { header, name: MaybeUninit::uninit() }
    }

    /// Points the header at `count` buffers.
    ///
    /// # Safety
    ///
    /// `buffers` must point at `count` valid `iovec`s (`IoSlice` or `IoSliceMut`) that outlive the
    /// use of this header.
    pub unsafe fn buffers(&mut self, buffers: *const (), count: usize) {
        self.header.msg_iov = buffers.cast::<libc::iovec>().cast_mut();
        // The kernel refuses more than UIO_MAXIOV (1024); std truncates in the same way.
        self.header.msg_iovlen = count.min(1024);
    }

    /// Points the header at room for control messages.
    ///
    /// # Safety
    ///
    /// `control` must be valid for `len` bytes and outlive the use of this header.
    pub unsafe fn control(&mut self, control: *mut u8, len: usize) {
        self.header.msg_control = control.cast();
        self.header.msg_controllen = len;
    }

    /// Asks for the sender's address on receive.
    pub fn want_name(&mut self) {
        self.header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    }

    /// Sets the receiver's address for a send.
    pub fn set_name(&mut self, address: &Address) {
        let len = address.addr_len() as usize;
        let to = self.name.as_mut_ptr().cast::<u8>();
        // SAFETY: required: both valid for `len` bytes, no overlap. An address is never longer than
        // `sockaddr_storage`, and `name` is ours alone.
        unsafe { std::ptr::copy_nonoverlapping(address.as_ptr().cast::<u8>(), to, len) };
        self.header.msg_namelen = len as libc::socklen_t;
    }

    /// Ties the header to where it lies now and gives its address for the kernel.
    ///
    /// The pointer is good until the message moves.
    pub fn prepare(&mut self) -> *mut Header {
        if self.header.msg_namelen > 0 {
            self.header.msg_name = self.name.as_mut_ptr().cast();
        }
        &raw mut self.header
    }

    /// The sender's address of a received message, if it has one.
    pub fn name(&self) -> Option<Address> {
        let len = self.header.msg_namelen;
        if self.header.msg_name.is_null() || len == 0 {
            return None;
        }
        let at = self.name.as_ptr().cast();
        // SAFETY: required: `len` initialised bytes of an address. The kernel wrote them.
        Some(unsafe { Address::read(at, len) })
    }

    /// Length of the control data that arrived.
    pub fn control_len(&self) -> usize {
        self.header.msg_controllen
    }

    /// Flags that the kernel reported (`MSG_TRUNC`, `MSG_CTRUNC` …).
    pub fn flags(&self) -> u32 {
        self.header.msg_flags as u32
    }
}

/// Receives a message, retrying on interruption.
///
/// # Safety
///
/// `header` must come from [`Message::prepare`], with the message and its buffers still in place.
pub unsafe fn recvmsg(fd: RawFd, header: *mut Header, flags: u32) -> Answer {
    loop {
        // SAFETY: required: a valid header; passed on to our caller.
        let count = unsafe { libc::syscall(libc::SYS_recvmsg, fd, header, flags) };
        match answer(count) {
            Some(answer) => return answer,
            None => continue,
        }
    }
}

/// Sends a message without ever raising `SIGPIPE`, retrying on interruption.
///
/// # Safety
///
/// `header` must come from [`Message::prepare`], with the message and its buffers still in place.
pub unsafe fn sendmsg(fd: RawFd, header: *const Header, flags: u32) -> Answer {
    loop {
        // SAFETY: required: a valid header; passed on to our caller.
        let count = unsafe { libc::syscall(libc::SYS_sendmsg, fd, header, flags | NO_SIGNAL) };
        match answer(count) {
            Some(answer) => return answer,
            None => continue,
        }
    }
}

/// A count or a negated `errno`; `None` asks for another try after an interruption.
fn answer(count: libc::c_long) -> Option<Answer> {
    if count >= 0 {
        return Some(count as Answer);
    }
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    if errno == libc::EINTR { None } else { Some(-errno) }
}
