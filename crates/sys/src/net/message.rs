//! Message headers for `recvmsg` and `sendmsg`: vectored buffers, addresses, control data.
//!
//! A [`Message`] is self-referential once prepared: the header points at the address beside it. It
//! is prepared in its final place in a frame and not moved until the call (or the ring) is done
//! with it, which the caller of [`Message::prepare`] promises.
#![expect(unsafe_code, reason = "builds the kernel's msghdr and hands it over")]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::net::{Address, Answer, NO_SIGNAL};

/// The kernel's message header.
pub type Header = libc::msghdr;

/// `MSG_CMSG_CLOEXEC`: descriptors that arrive are close-on-exec from the beginning.
pub const CLOSE_ON_EXEC: u32 = libc::MSG_CMSG_CLOEXEC as u32;
/// `MSG_CTRUNC`, reported: control data was cut; descriptors that did not fit were closed.
pub const CONTROL_TRUNCATED: u32 = libc::MSG_CTRUNC as u32;

/// The control data that carries descriptors (`SCM_RIGHTS`), see unix(7).
///
/// ```text
///   ┌──────────────────────────┬─────┬─────┐
///   │ cmsghdr: length, level,  │ fd  │ fd  │   room for two: one that is expected, and one that
///   │ SOL_SOCKET, SCM_RIGHTS   │     │     │   shows that there were more
///   └──────────────────────────┴─────┴─────┘
/// ```
///
/// What does not fit is closed by the kernel, which then reports [`CONTROL_TRUNCATED`].
#[repr(C)]
pub struct Rights {
    header: libc::cmsghdr,
    fds: [RawFd; ROOM],
}

/// Descriptors for which there is room in [`Rights`].
const ROOM: usize = 2;

/// The length of a header and `count` descriptors.
const fn rights_len(count: usize) -> usize {
    size_of::<libc::cmsghdr>() + count * size_of::<RawFd>()
}

impl Rights {
    /// Creates control data for the arrival of descriptors.
    pub fn room() -> Rights {
        Rights::with(rights_len(ROOM), [-1; ROOM])
    }

    /// Creates the control data that sends one descriptor: the receiver gets a duplicate.
    pub fn one(fd: BorrowedFd<'_>) -> Rights {
        Rights::with(rights_len(1), [fd.as_raw_fd(), -1])
    }

    fn with(len: usize, fds: [RawFd; ROOM]) -> Rights {
        // SAFETY: required: all-zero is a valid `cmsghdr`. It holds integers only.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_len = len;
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        Rights { header, fds }
    }

    /// Returns its address and the used length, for [`Message::control`].
    pub fn as_control(&mut self) -> (*mut u8, usize) {
        let len = self.header.cmsg_len;
        (std::ptr::from_mut(self).cast(), len)
    }

    /// Takes the descriptors that arrived.
    ///
    /// # Safety
    ///
    /// A successful [`recvmsg`] must have filled this, which came from [`Rights::room`];
    /// `control_len` must be [`Message::control_len`] after it; and they are taken once.
    pub unsafe fn take(&mut self, control_len: usize) -> Vec<OwnedFd> {
        let is_rights =
            self.header.cmsg_level == libc::SOL_SOCKET && self.header.cmsg_type == libc::SCM_RIGHTS;
        if control_len < size_of::<libc::cmsghdr>() || !is_rights {
            return Vec::new();
        }
        let len = self.header.cmsg_len.min(control_len);
        let count = len.saturating_sub(size_of::<libc::cmsghdr>()) / size_of::<RawFd>();
        let arrived = self.fds.iter_mut().take(count);
        // SAFETY: required: open descriptors without another owner. The kernel has just made them
        // for us, and by our contract nobody has taken them yet.
        arrived.map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) }).collect()
    }
}

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
    /// Creates an empty header.
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

    /// Requests the sender's address on receive.
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

    /// Points the header at its own fields and returns its address for the kernel.
    ///
    /// The pointer is good until the message moves.
    pub fn prepare(&mut self) -> *mut Header {
        if self.header.msg_namelen > 0 {
            self.header.msg_name = self.name.as_mut_ptr().cast();
        }
        &raw mut self.header
    }

    /// Returns the sender's address of a received message, if it has one.
    pub fn name(&self) -> Option<Address> {
        let len = self.header.msg_namelen;
        if self.header.msg_name.is_null() || len == 0 {
            return None;
        }
        let at = self.name.as_ptr().cast();
        // SAFETY: required: `len` initialised bytes of an address. The kernel wrote them.
        Some(unsafe { Address::read(at, len) })
    }

    /// Returns the length of the control data that arrived.
    pub fn control_len(&self) -> usize {
        self.header.msg_controllen
    }

    /// Returns the flags that the kernel reported (`MSG_TRUNC`, `MSG_CTRUNC` …).
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
        let answer = unsafe { recvmsg_once(fd, header, flags) };
        if answer != -libc::EINTR {
            return answer;
        }
    }
}

/// Receives a message; an interruption is an answer, for callers that keep a time limit.
///
/// # Safety
///
/// As of [`recvmsg`].
pub unsafe fn recvmsg_once(fd: RawFd, header: *mut Header, flags: u32) -> Answer {
    // SAFETY: required: a valid header; passed on to our caller.
    answer(unsafe { libc::syscall(libc::SYS_recvmsg, fd, header, flags) })
}

/// Sends a message without ever raising `SIGPIPE`, retrying on interruption.
///
/// # Safety
///
/// `header` must come from [`Message::prepare`], with the message and its buffers still in place.
pub unsafe fn sendmsg(fd: RawFd, header: *const Header, flags: u32) -> Answer {
    loop {
        // SAFETY: required: a valid header; passed on to our caller.
        let answer = unsafe { sendmsg_once(fd, header, flags) };
        if answer != -libc::EINTR {
            return answer;
        }
    }
}

/// Sends a message without ever raising `SIGPIPE`; an interruption is an answer, for callers that
/// keep a time limit.
///
/// # Safety
///
/// As of [`sendmsg`].
pub unsafe fn sendmsg_once(fd: RawFd, header: *const Header, flags: u32) -> Answer {
    // SAFETY: required: a valid header; passed on to our caller.
    answer(unsafe { libc::syscall(libc::SYS_sendmsg, fd, header, flags | NO_SIGNAL) })
}

/// A count or a negated `errno`.
fn answer(count: libc::c_long) -> Answer {
    if count >= 0 {
        return count as Answer;
    }
    -std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{IoSlice, IoSliceMut, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn send(to: &UnixStream, rights: &mut Rights) -> Answer {
        let bytes = [IoSlice::new(b"x")];
        let mut message = Message::new();
        // SAFETY: required: valid until the header is no longer used. `bytes` outlives `message`.
        unsafe { message.buffers(bytes.as_ptr().cast(), 1) };
        let (control, len) = rights.as_control();
        // SAFETY: required: valid for `len` bytes for as long. `rights` outlives `message`.
        unsafe { message.control(control, len) };
        // SAFETY: required: a prepared header, all still in place. It is.
        unsafe { sendmsg(to.as_raw_fd(), message.prepare(), 0) }
    }

    fn receive(from: &UnixStream) -> (Answer, u32, Vec<OwnedFd>) {
        let mut byte = [0];
        let mut bytes = [IoSliceMut::new(&mut byte)];
        let mut message = Message::new();
        // SAFETY: required: valid until the header is no longer used. `bytes` outlives `message`.
        unsafe { message.buffers(bytes.as_mut_ptr().cast_const().cast(), 1) };
        let mut rights = Rights::room();
        let (control, len) = rights.as_control();
        // SAFETY: required: valid for `len` bytes for as long. `rights` outlives `message`.
        unsafe { message.control(control, len) };
        // SAFETY: required: a prepared header, all still in place. It is.
        let answer = unsafe { recvmsg(from.as_raw_fd(), message.prepare(), CLOSE_ON_EXEC) };
        let fds = match answer {
            // SAFETY: required: filled by a successful call, taken once. It was.
            1.. => unsafe { rights.take(message.control_len()) },
            _ => Vec::new(),
        };
        (answer, message.flags(), fds)
    }

    #[test]
    fn a_descriptor_arrives_as_a_duplicate_that_is_closed_on_exec() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let (mut sent, kept) = UnixStream::pair().expect("a pair");
        assert_eq!(send(&near, &mut Rights::one(kept.as_fd())), 1);
        drop(kept);
        let (answer, flags, fds) = receive(&far);
        assert_eq!((answer, flags & CONTROL_TRUNCATED, fds.len()), (1, 0, 1));
        let flags = rustix::io::fcntl_getfd(&fds[0]).expect("it is open");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        sent.write_all(b"connected").expect("the duplicate keeps it open");
    }

    #[test]
    fn what_carries_no_descriptor_gives_none() {
        let (mut near, far) = UnixStream::pair().expect("a pair");
        near.write_all(b"x").expect("room");
        let (answer, _, fds) = receive(&far);
        assert_eq!((answer, fds.len()), (1, 0));
    }

    #[test]
    fn two_fit_and_the_third_is_closed_by_the_kernel() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let number = near.as_raw_fd();
        for (count, truncated) in [(2, false), (3, true)] {
            #[repr(C)]
            struct More(Rights, RawFd);
            let mut more = More(Rights::with(rights_len(count), [number; ROOM]), number);
            let bytes = [IoSlice::new(b"x")];
            let mut message = Message::new();
            // SAFETY: required: valid until the header is no longer used. It outlives `message`.
            unsafe { message.buffers(bytes.as_ptr().cast(), 1) };
            // SAFETY: required: valid for as many bytes. `More` is as long as three need.
            unsafe { message.control((&raw mut more).cast(), rights_len(count)) };
            // SAFETY: required: a prepared header, all still in place. It is.
            assert_eq!(unsafe { sendmsg(number, message.prepare(), 0) }, 1);
            let (_, flags, fds) = receive(&far);
            assert_eq!((fds.len(), flags & CONTROL_TRUNCATED != 0), (2, truncated));
        }
    }
}
