//! Unix streams.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use fiveways_runtime::clock;
use fiveways_sys::errno;
use fiveways_sys::net::{Address, Family, Kind};

use super::{of_path, of_std, pause, to_std};
use crate::net::settings::{idle_limit, read_and_write, settings};
use crate::net::socket::{Socket, debug};
use crate::net::stream::{Parts, Stream};

/// How long a connect waits before it retries a full backlog.
const FULL_BACKLOG_PAUSE: Duration = Duration::from_millis(1);

/// A Unix stream; as [`std::os::unix::net::UnixStream`], and also [`BufRead`](io::BufRead).
pub struct UnixStream {
    stream: Stream,
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [("local", self.local_addr()), ("peer", self.peer_addr())];
        debug(f, "UnixStream", names, self.socket().source().fd)
    }
}

impl UnixStream {
    pub(super) fn new(socket: Socket) -> UnixStream {
        UnixStream { stream: Stream::new(socket) }
    }

    /// Connects to the socket at a path.
    ///
    /// # Suspends
    ///
    /// While the listener's backlog is full; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// Any error of `connect(2)`: `NotFound` if the path does not exist, `ConnectionRefused` if
    /// nothing listens there.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        UnixStream::connect_to(&of_path(path.as_ref())?, None)
    }

    /// Connects to the socket at a path within a time limit.
    ///
    /// # Suspends
    ///
    /// While the listener's backlog is full; a plain thread blocks.
    ///
    /// # Differences from std
    ///
    /// std's `UnixStream` has no such function.
    ///
    /// # Errors
    ///
    /// `TimedOut` after the limit; `InvalidInput` for a limit of zero; otherwise those of
    /// [`UnixStream::connect`].
    pub fn connect_timeout(path: impl AsRef<Path>, limit: Duration) -> io::Result<UnixStream> {
        if limit.is_zero() {
            let message = "cannot connect within a time limit of zero";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        UnixStream::connect_to(&of_path(path.as_ref())?, clock::after(limit))
    }

    /// Connects to an address.
    ///
    /// # Suspends
    ///
    /// As [`UnixStream::connect`].
    ///
    /// # Errors
    ///
    /// Those of [`UnixStream::connect`].
    pub fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        UnixStream::connect_to(&of_std(address)?, None)
    }

    fn connect_to(address: &Address, by: Option<Instant>) -> io::Result<UnixStream> {
        let socket = Socket::open(Family::Unix, Kind::Stream)?;
        loop {
            match socket.connect(address, by) {
                // A full backlog has no readiness to wait for: retry after a pause.
                Err(error) if error.raw_os_error() == Some(errno::EAGAIN) => {
                    pause(FULL_BACKLOG_PAUSE, by)?;
                }
                result => return result.map(|()| UnixStream::new(socket)),
            }
        }
    }

    /// Makes two connected streams.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    #[doc(alias = "socketpair")]
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (a, b) = Socket::pair(Kind::Stream)?;
        Ok((UnixStream::new(a), UnixStream::new(b)))
    }

    /// Makes a second value for the same connection; [`TcpStream::try_clone`] describes which of
    /// them reads the bytes that this one has received and not used.
    ///
    /// [`TcpStream::try_clone`]: crate::net::TcpStream::try_clone
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub fn try_clone(&self) -> io::Result<UnixStream> {
        Ok(UnixStream { stream: self.stream.try_clone()? })
    }

    /// The local address.
    ///
    /// # Errors
    ///
    /// Any error of `getsockname(2)`; none is expected for an open socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        to_std(self.socket().local_name()?)
    }

    /// The peer's address.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        to_std(self.socket().peer_name()?)
    }

    /// Shuts down one or both directions.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the connection is gone.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket().shutdown(how)
    }

    /// Receives bytes without removing them from the socket.
    ///
    /// # Suspends
    ///
    /// Until bytes are available; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// Those of a read.
    #[doc(alias = "MSG_PEEK")]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.ahead.peek(self.socket(), buf)
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.stream.socket
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Returns `true` if received bytes are not used yet.
    pub(crate) fn is_ahead(&self) -> bool {
        self.stream.is_ahead()
    }

    /// Detaches the connection from its worker.
    pub(crate) fn take_apart(self) -> Parts {
        let (socket, unread) = self.stream.take_out();
        Parts { ticket: None, socket, unread, peer: None }
    }

    /// Reassembles the connection.
    pub(crate) fn put_together(parts: Parts) -> UnixStream {
        UnixStream { stream: Stream::with_unread(parts.socket, parts.unread) }
    }
}

read_and_write!(UnixStream);
settings!(UnixStream, |this| this.stream.socket);
idle_limit!(UnixStream, |this| this.stream.socket);

impl From<OwnedFd> for UnixStream {
    /// Takes ownership of a socket in any mode.
    fn from(fd: OwnedFd) -> UnixStream {
        UnixStream::new(Socket::taken_over(fd, false))
    }
}

impl From<UnixStream> for OwnedFd {
    /// Returns the descriptor. Bytes that this value has received through `BufRead` and not used
    /// are lost: see [`UnixStream::detach`]. All others are in the socket.
    fn from(stream: UnixStream) -> OwnedFd {
        stream.stream.into_fd()
    }
}
