//! The generator's system calls: connections, epoll, limits.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// How long a server may take to answer the first byte of a connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// Opens a connection that sends at once and that leaves no TIME_WAIT behind when it is dropped.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let len = size_of_val(&linger) as libc::socklen_t;
    let (fd, value) = (stream.as_raw_fd(), (&raw const linger).cast());
    // SAFETY: `value` points at a live `linger` of `len` bytes.
    unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, value, len) };
    Ok(stream)
}

/// Sends some bytes on a blocking connection and checks that they come back.
pub fn round_trip(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(bytes)?;
    let mut reply = vec![0; bytes.len()];
    stream.read_exact(&mut reply)?;
    if reply == bytes { Ok(()) } else { Err(io::Error::other("wrong reply")) }
}

/// Makes one attempt to receive; `WouldBlock` if nothing is there.
pub fn receive(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let (fd, address, len) = (stream.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the kernel writes at most `len` bytes into the live slice.
    amount(unsafe { libc::recv(fd, address, len, 0) })
}

/// Makes one attempt to send; `WouldBlock` if there is no room.
pub fn send(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let (fd, address, len) = (stream.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
    // SAFETY: the kernel reads at most `len` bytes of the live slice.
    amount(unsafe { libc::send(fd, address, len, libc::MSG_NOSIGNAL) })
}

/// An epoll instance.
pub struct Epoll(OwnedFd);

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just created and has no other owner.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Watches a descriptor for both directions, by edges.
    pub fn add(&self, fd: RawFd, token: u64) -> io::Result<()> {
        let events = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events, u64: token };
        let (epoll, add) = (self.0.as_raw_fd(), libc::EPOLL_CTL_ADD);
        // SAFETY: `event` is live for the call, which only reads it.
        let answer = unsafe { libc::epoll_ctl(epoll, add, fd, &raw mut event) };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits for events; a signal counts as none.
    pub fn wait(&self, events: &mut [libc::epoll_event], timeout_ms: i32) -> io::Result<usize> {
        let (epoll, len) = (self.0.as_raw_fd(), events.len() as i32);
        // SAFETY: the kernel writes at most `len` events, which is the length of the slice.
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), len, timeout_ms) };
        match amount(count as isize) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            answer => answer,
        }
    }
}

/// Raises the soft limit of descriptors to the hard one.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live, writable `rlimit`, which is what the call fills.
    amount(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } as isize)?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a live `rlimit`; the call only reads it.
    amount(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } as isize)?;
    Ok(())
}

fn amount(answer: isize) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}
