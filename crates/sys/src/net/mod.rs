//! Socket calls: plain functions over descriptors, one kernel call each.
//!
//! Data calls (`recv`, `send`, `accept`, `connect`, the message forms) answer like the kernel does:
//! a count or a negative `errno`, because drivers mix these answers with completions of the ring.
//! Control calls (open, bind, listen, names, options) are data too ([`Control`]), so that a driver
//! other than the kernel can answer them (I8).
//!
//! Invariant I5: nothing here changes a socket's blocking mode except [`set_nonblocking`]; a single
//! call that must not block has the flag `MSG_DONTWAIT`.
//!
//! References: socket(7), tcp(7), unix(7), recv(2), send(2).
#![expect(
    unsafe_code,
    reason = "descriptors arrive as numbers inside operations; raw option calls"
)]

pub mod message;
pub mod option_name;
pub mod peer;

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

pub use rustix::net::{SocketAddrAny as Address, SocketAddrUnix as UnixAddress};

/// Answer of a data call: a count (or a descriptor) when not negative, else a negated `errno`.
pub type Answer = i32;

/// `MSG_DONTWAIT`: this one call must not block.
pub const DONT_WAIT: u32 = RecvFlags::DONTWAIT.bits();
/// `MSG_PEEK`: look at the bytes and leave them in the socket.
pub const PEEK: u32 = RecvFlags::PEEK.bits();
/// `MSG_OOB`: the urgent byte.
pub const OUT_OF_BAND: u32 = RecvFlags::OOB.bits();
/// `MSG_TRUNC` on receive: answer with the datagram's true length.
pub const TRUNCATE: u32 = RecvFlags::TRUNC.bits();
/// `MSG_NOSIGNAL`: a broken pipe is an error, never a signal.
pub const NO_SIGNAL: u32 = SendFlags::NOSIGNAL.bits();

/// `IPPROTO_TCP`, a value of `SO_PROTOCOL`.
pub const TCP: i32 = libc::IPPROTO_TCP;
/// `AF_INET`, a value of `SO_DOMAIN`.
pub const INET: i32 = libc::AF_INET;
/// `AF_INET6`, a value of `SO_DOMAIN`.
pub const INET6: i32 = libc::AF_INET6;
/// `AF_UNIX`, a value of `SO_DOMAIN`.
pub const UNIX: i32 = libc::AF_UNIX;
/// `SOCK_STREAM`, a value of `SO_TYPE`.
pub const STREAM: i32 = libc::SOCK_STREAM;

/// Returns `true` if the call would have had to wait.
#[inline]
pub fn is_would_block(answer: Answer) -> bool {
    answer == -libc::EAGAIN
}

/// Turns an answer into a `std::io::Result`.
#[inline]
pub fn decode(answer: Answer) -> io::Result<usize> {
    match usize::try_from(answer) {
        Ok(count) => Ok(count),
        Err(_) => Err(io::Error::from_raw_os_error(-answer)),
    }
}

#[inline]
fn encode(result: Result<usize, Errno>) -> Answer {
    match result {
        Ok(count) => count as Answer,
        Err(errno) => -errno.raw_os_error(),
    }
}

/// Borrows the descriptor of an operation.
///
/// The caller of every function here owns the descriptor for the length of the call; a number that
/// is not open gives `EBADF` and no worse.
#[inline]
fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: required: not -1. Operations are made from owned descriptors, which are never -1.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Receives into `buf`, retrying on interruption.
///
/// # Safety
///
/// `buf` must be valid for writes of `len` bytes for the length of the call.
#[inline]
pub unsafe fn recv(fd: RawFd, buf: *mut u8, len: usize, flags: u32) -> Answer {
    loop {
        // SAFETY: required: valid for writes of `len` bytes; passed on to our caller.
        let answer = unsafe { recv_once(fd, buf, len, flags) };
        if answer != -libc::EINTR {
            return answer;
        }
    }
}

/// Receives into `buf`; an interruption is an answer, for callers that keep a time limit.
///
/// # Safety
///
/// As of [`recv`].
#[inline]
pub unsafe fn recv_once(fd: RawFd, buf: *mut u8, len: usize, flags: u32) -> Answer {
    // SAFETY: required: valid for writes of `len` bytes; passed on to our caller.
    // `MaybeUninit` bytes need not be initialised.
    let buf = unsafe { std::slice::from_raw_parts_mut(buf.cast::<MaybeUninit<u8>>(), len) };
    let flags = RecvFlags::from_bits_retain(flags);
    match rustix::net::recv(borrow(fd), buf, flags) {
        Ok(((filled, _), reported)) => {
            let truncated = flags.contains(RecvFlags::TRUNC);
            if truncated { reported as Answer } else { filled.len() as Answer }
        }
        Err(errno) => -errno.raw_os_error(),
    }
}

/// Receives available data, without waiting. Descriptors that come with it are closed.
///
/// # Errors
///
/// `WouldBlock` if there is no data; else the error of recv(2).
pub fn recv_now(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    let (at, len) = (buf.as_mut_ptr(), buf.len());
    // SAFETY: required: valid for writes of `len` bytes. It is borrowed.
    decode(unsafe { recv(fd.as_raw_fd(), at, len, DONT_WAIT) })
}

/// Sends from `buf` without ever raising `SIGPIPE`, retrying on interruption.
///
/// # Safety
///
/// `buf` must be valid for reads of `len` bytes for the length of the call.
#[inline]
pub unsafe fn send(fd: RawFd, buf: *const u8, len: usize, flags: u32) -> Answer {
    loop {
        // SAFETY: required: valid for reads of `len` bytes; passed on to our caller.
        let answer = unsafe { send_once(fd, buf, len, flags) };
        if answer != -libc::EINTR {
            return answer;
        }
    }
}

/// Sends from `buf` without ever raising `SIGPIPE`; an interruption is an answer, for callers that
/// keep a time limit.
///
/// # Safety
///
/// As of [`send`].
#[inline]
pub unsafe fn send_once(fd: RawFd, buf: *const u8, len: usize, flags: u32) -> Answer {
    // SAFETY: required: valid for reads of `len` bytes; passed on to our caller.
    let buf = unsafe { std::slice::from_raw_parts(buf, len) };
    let flags = SendFlags::from_bits_retain(flags | NO_SIGNAL);
    encode(rustix::net::send(borrow(fd), buf, flags))
}

/// Accepts one connection in blocking mode with close-on-exec; the answer is its descriptor, and
/// the peer's address as the kernel reports it is written to `peer`.
///
/// # Safety
///
/// `peer` must be valid for writes.
pub unsafe fn accept(fd: RawFd, peer: *mut Option<Address>) -> Answer {
    loop {
        match rustix::net::acceptfrom_with(borrow(fd), SocketFlags::CLOEXEC) {
            Err(Errno::INTR) => {}
            Ok((fd, from)) => {
                // SAFETY: required: valid for writes; passed on to our caller.
                unsafe { *peer = from };
                return fd.into_raw_fd();
            }
            Err(errno) => return -errno.raw_os_error(),
        }
    }
}

/// Returns the name of a Unix socket, byte for byte as unix(7) lays it out; `None` for other
/// families.
///
/// It is empty for an unnamed socket; else a zero and an abstract name; or a path, which may end
/// with a zero.
pub fn unix_name(address: &Address) -> Option<&[u8]> {
    if address.address_family() != AddressFamily::UNIX {
        return None;
    }
    let (data, len) = (address.as_ptr().cast::<u8>(), address.addr_len() as usize);
    // SAFETY: required: valid for reads of `len` bytes, for as long as `address` is borrowed. An
    // address is that long, and this is a part of it.
    let bytes = unsafe { std::slice::from_raw_parts(data, len) };
    bytes.get(size_of::<libc::sa_family_t>()..)
}

/// Starts (or, in blocking mode, makes) a connection.
///
/// An interrupted blocking connect goes on in the kernel and must not be repeated: its answer is
/// `-EINPROGRESS`, to be awaited as writable and settled by [`take_error`].
pub fn connect(fd: RawFd, address: &Address) -> Answer {
    match rustix::net::connect(borrow(fd), address) {
        Ok(()) => 0,
        Err(Errno::INTR) => -libc::EINPROGRESS,
        Err(errno) => -errno.raw_os_error(),
    }
}

/// Takes the pending error of a socket (`SO_ERROR`): zero or a negated `errno`.
pub fn take_error(fd: RawFd) -> Answer {
    let mut value = 0_i32;
    match option(fd, OptionName(libc::SOL_SOCKET, libc::SO_ERROR), bytes_of(&mut value)) {
        Ok(_) => -value,
        Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
    }
}

/// Makes the socket non-blocking, or blocking again (only connecting sockets and listeners, I5).
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, on)?)
}

/// Waits until `fd` is readable (or writable), for the paths of plain threads.
///
/// The time limit is an instant and survives interruptions. Returns whether `fd` became ready.
pub fn wait_ready(
    fd: BorrowedFd<'_>,
    writable: bool,
    deadline: Option<std::time::Instant>,
) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags};
    let flags = if writable { PollFlags::OUT } else { PollFlags::IN };
    Ok(poll_until(&mut [PollFd::from_borrowed_fd(fd, flags)], deadline)? > 0)
}

fn poll_until(
    fds: &mut [rustix::event::PollFd<'_>],
    deadline: Option<std::time::Instant>,
) -> io::Result<usize> {
    use rustix::event::{Timespec, poll};
    loop {
        let limit = match deadline {
            None => None,
            Some(at) => {
                let left = at.saturating_duration_since(std::time::Instant::now());
                Some(Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?)
            }
        };
        match poll(fds, limit.as_ref()) {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Waits until one of two descriptors is readable, for acceptors on plain threads.
///
/// Returns for each whether it is ready.
pub fn wait_either(
    a: BorrowedFd<'_>,
    b: BorrowedFd<'_>,
    deadline: Option<std::time::Instant>,
) -> io::Result<(bool, bool)> {
    use rustix::event::{PollFd, PollFlags};
    let mut both = [a, b].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    poll_until(&mut both, deadline)?;
    Ok((!both[0].revents().is_empty(), !both[1].revents().is_empty()))
}

/// An option's level and name, as in getsockopt(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionName(pub i32, pub i32);

fn bytes_of(value: &mut i32) -> &mut [u8] {
    let data = std::ptr::from_mut(value).cast::<u8>();
    // SAFETY: required: valid for 4 bytes, any bit pattern allowed. An `i32` is.
    unsafe { std::slice::from_raw_parts_mut(data, size_of::<i32>()) }
}

/// Reads an option into `value`; returns its length in bytes.
pub fn option(fd: RawFd, name: OptionName, value: &mut [u8]) -> io::Result<usize> {
    let mut len = value.len() as libc::socklen_t;
    let (data, len_at) = (value.as_mut_ptr(), &raw mut len);
    // SAFETY: required: `data` valid for `len` bytes of writes. They come from one slice.
    let answer = unsafe { libc::syscall(libc::SYS_getsockopt, fd, name.0, name.1, data, len_at) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(len as usize) }
}

/// Writes an option.
pub fn set_option(fd: RawFd, name: OptionName, value: &[u8]) -> io::Result<()> {
    let (data, len) = (value.as_ptr(), value.len());
    // SAFETY: required: `data` valid for `len` bytes of reads. They come from one slice.
    let answer = unsafe { libc::syscall(libc::SYS_setsockopt, fd, name.0, name.1, data, len) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Returns the number of bytes a TCP socket has received, read or not (`tcpi_bytes_received`, Linux
/// 4.1).
///
/// # Errors
///
/// `Unsupported` from an older kernel; else the error of getsockopt(2).
pub fn bytes_received(fd: BorrowedFd<'_>) -> io::Result<u64> {
    // Its offset in a `tcp_info`: after 8 bytes, 24 words and three counts of 64 bits.
    const AT: usize = 8 + 24 * 4 + 3 * 8;
    let mut info = [0; AT + 8];
    let len = option(raw(fd), option_name::INFO, &mut info)?;
    match info[AT..].try_into() {
        Ok(bytes) if len == info.len() => Ok(u64::from_ne_bytes(bytes)),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// The kind of socket to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A byte stream (TCP, Unix stream).
    Stream,
    /// Datagrams (UDP, Unix datagram).
    Datagram,
}

/// The address family to open a socket in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4
    Inet,
    /// IPv6
    Inet6,
    /// Unix
    Unix,
}

/// A control call, as data (I8).
#[derive(Debug)]
pub enum Control<'a> {
    /// Opens a socket, close-on-exec and blocking: [`Reply::Opened`].
    Open(Family, Kind),
    /// Opens a connected pair of Unix sockets: [`Reply::Pair`].
    Pair(Kind),
    /// Binds to an address.
    Bind(BorrowedFd<'a>, &'a Address),
    /// Connects at once: datagram sockets only (a stream's connect is an operation).
    Connect(BorrowedFd<'a>, &'a Address),
    /// Listens with a backlog.
    Listen(BorrowedFd<'a>, i32),
    /// Asks for the local address: [`Reply::Name`].
    LocalName(BorrowedFd<'a>),
    /// Asks for the peer's address: [`Reply::Name`].
    PeerName(BorrowedFd<'a>),
    /// Reads an option into the buffer: [`Reply::Len`].
    Option(BorrowedFd<'a>, OptionName, &'a mut [u8]),
    /// Writes an option.
    SetOption(BorrowedFd<'a>, OptionName, &'a [u8]),
    /// Makes the socket blocking or not.
    SetNonblocking(BorrowedFd<'a>, bool),
    /// Ends one or both directions.
    Shutdown(BorrowedFd<'a>, Shutdown),
}

/// The answer of a control call.
#[derive(Debug)]
pub enum Reply {
    /// Nothing beyond success.
    Done,
    /// A new socket.
    Opened(OwnedFd),
    /// Two connected sockets.
    Pair(OwnedFd, OwnedFd),
    /// An address; `None` if there is none.
    Name(Option<Address>),
    /// A length in bytes.
    Len(usize),
}

/// Makes a control call to the kernel.
///
/// # Errors
///
/// The error of the system call.
pub fn control(call: Control<'_>) -> io::Result<Reply> {
    use rustix::net;
    match call {
        Control::Open(family, kind) => Ok(Reply::Opened(open(family, kind)?)),
        Control::Pair(kind) => {
            let flags = SocketFlags::CLOEXEC;
            let (a, b) = net::socketpair(AddressFamily::UNIX, socket_type(kind), flags, None)?;
            Ok(Reply::Pair(a, b))
        }
        Control::Bind(fd, address) => done(net::bind(fd, address)),
        Control::Connect(fd, address) => done(net::connect(fd, address)),
        Control::Listen(fd, backlog) => done(net::listen(fd, backlog)),
        Control::LocalName(fd) => Ok(Reply::Name(Some(net::getsockname(fd)?))),
        Control::PeerName(fd) => Ok(Reply::Name(net::getpeername(fd)?)),
        Control::Option(fd, name, value) => Ok(Reply::Len(option(raw(fd), name, value)?)),
        Control::SetOption(fd, name, value) => {
            set_option(raw(fd), name, value).map(|()| Reply::Done)
        }
        Control::SetNonblocking(fd, on) => set_nonblocking(fd, on).map(|()| Reply::Done),
        Control::Shutdown(fd, how) => {
            let how = match how {
                Shutdown::Read => net::Shutdown::Read,
                Shutdown::Write => net::Shutdown::Write,
                Shutdown::Both => net::Shutdown::Both,
            };
            done(net::shutdown(fd, how))
        }
    }
}

fn raw(fd: BorrowedFd<'_>) -> RawFd {
    use std::os::fd::AsRawFd;
    fd.as_raw_fd()
}

fn done(result: Result<(), Errno>) -> io::Result<Reply> {
    result?;
    Ok(Reply::Done)
}

fn socket_type(kind: Kind) -> SocketType {
    match kind {
        Kind::Stream => SocketType::STREAM,
        Kind::Datagram => SocketType::DGRAM,
    }
}

fn open(family: Family, kind: Kind) -> io::Result<OwnedFd> {
    let family = match family {
        Family::Inet => AddressFamily::INET,
        Family::Inet6 => AddressFamily::INET6,
        Family::Unix => AddressFamily::UNIX,
    };
    Ok(rustix::net::socket_with(family, socket_type(kind), SocketFlags::CLOEXEC, None)?)
}

/// Takes ownership of a descriptor that is the answer of an accept.
///
/// # Safety
///
/// `answer` must be a descriptor from [`accept`] (or a ring's accept) that has no other owner.
pub unsafe fn own(answer: Answer) -> OwnedFd {
    // SAFETY: required: an open descriptor without another owner; passed on to our caller.
    unsafe { OwnedFd::from_raw_fd(answer) }
}

/// Duplicates a descriptor with close-on-exec.
pub fn duplicate(fd: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unready_socket_answers_would_block_instead_of_waiting() {
        let Ok(Reply::Pair(a, _b)) = control(Control::Pair(Kind::Stream)) else {
            panic!("no socket pair")
        };
        let mut buf = [0_u8; 8];
        // SAFETY: required: `buf` valid for 8 bytes. It is.
        let answer = unsafe { recv(raw(a.as_fd()), buf.as_mut_ptr(), 8, DONT_WAIT) };
        assert!(is_would_block(answer));
    }

    #[test]
    fn options_round_trip() {
        let fd = open(Family::Inet, Kind::Stream).expect("a socket");
        set_option(raw(fd.as_fd()), option_name::NO_DELAY, &1_i32.to_ne_bytes()).expect("set");
        let mut value = [0_u8; 4];
        assert_eq!(option(raw(fd.as_fd()), option_name::NO_DELAY, &mut value).expect("get"), 4);
        assert_eq!(i32::from_ne_bytes(value), 1);
    }
}
