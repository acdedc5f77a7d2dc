//! Unix sockets: streams, listeners and datagrams.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, BufRead, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use fiveways_runtime::{in_task, sleep_until};
use fiveways_sys::errno;
use fiveways_sys::net::{Address, DONT_WAIT, Family, Kind, UnixAddress, unix_name};

use crate::net::socket::{Socket, debug, descriptor_traits};
use crate::net::stream::{Parts, Stream};
use crate::net::tcp::BACKLOG;

/// How long a connect waits before it tries a full backlog again.
const FULL_BACKLOG_PAUSE: Duration = Duration::from_millis(1);

/// How long a task waits before it sends to a full queue again.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// Sleeps for a while, unless it is too late already.
fn pause(length: Duration, by: Option<Instant>) -> io::Result<()> {
    let now = Instant::now();
    if by.is_some_and(|by| by <= now) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    sleep_until(now + length);
    Ok(())
}

fn of_path(path: &Path) -> io::Result<Address> {
    Ok(Address::from(UnixAddress::new(path)?))
}

fn of_std(address: &SocketAddr) -> io::Result<Address> {
    let address = match (address.as_pathname(), address.as_abstract_name()) {
        (Some(path), _) => UnixAddress::new(path)?,
        (None, Some(name)) => UnixAddress::new_abstract_name(name)?,
        (None, None) => UnixAddress::new_unnamed(),
    };
    Ok(Address::from(address))
}

fn to_std(address: Address) -> io::Result<SocketAddr> {
    match unix_name(&address) {
        Some([]) => SocketAddr::from_pathname(""),
        Some([0, name @ ..]) => SocketAddr::from_abstract_name(name),
        Some(path) => {
            let path = path.split(|byte| *byte == 0).next().unwrap_or(path);
            SocketAddr::from_pathname(OsStr::from_bytes(path))
        }
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket is no Unix socket")),
    }
}

/// A Unix stream; as [`std::os::unix::net::UnixStream`], and [`BufRead`] besides.
pub struct UnixStream {
    stream: Stream,
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [("local", self.local_addr()), ("peer", self.peer_addr())];
        debug(f, "UnixStream", names, self.as_raw_fd())
    }
}

impl UnixStream {
    fn new(socket: Socket) -> UnixStream {
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
    /// The kernel's.
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
    /// std has this for TCP only.
    ///
    /// # Errors
    ///
    /// `TimedOut` when late; `InvalidInput` for a limit of zero.
    pub fn connect_timeout(path: impl AsRef<Path>, limit: Duration) -> io::Result<UnixStream> {
        if limit.is_zero() {
            let message = "cannot connect within a time limit of zero";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        UnixStream::connect_to(&of_path(path.as_ref())?, Instant::now().checked_add(limit))
    }

    /// Connects to an address.
    ///
    /// # Suspends
    ///
    /// As [`UnixStream::connect`].
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        UnixStream::connect_to(&of_std(address)?, None)
    }

    fn connect_to(address: &Address, by: Option<Instant>) -> io::Result<UnixStream> {
        let socket = Socket::open(Family::Unix, Kind::Stream)?;
        loop {
            match socket.connect(address, by) {
                // A full backlog has no readiness to wait for: ask again after a pause.
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
    /// When there is no descriptor left.
    #[doc(alias = "socketpair")]
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (a, b) = Socket::pair(Kind::Stream)?;
        Ok((UnixStream::new(a), UnixStream::new(b)))
    }

    /// Makes a second value for the same connection; what this one has read ahead stays with it.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left.
    pub fn try_clone(&self) -> io::Result<UnixStream> {
        Ok(UnixStream::new(self.socket().try_clone()?))
    }

    /// The local address.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        to_std(self.socket().local_name()?)
    }

    /// The peer's address.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        to_std(self.socket().peer_name()?)
    }

    /// Ends one or both directions.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket().shutdown(how)
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.stream.socket
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Has anything been read ahead, here or by a worker?
    pub(crate) fn is_ahead(&self) -> bool {
        self.stream.is_ahead()
    }

    /// Takes the connection out of its worker; gives it back if that cannot be asked.
    pub(crate) fn take_apart(self) -> Result<Parts, (UnixStream, io::Error)> {
        match self.stream.take_out() {
            Ok((socket, unread)) => Ok(Parts { ticket: None, socket, unread, peer: None }),
            Err((stream, error)) => Err((UnixStream { stream }, error)),
        }
    }

    /// Makes the connection again.
    pub(crate) fn put_together(parts: Parts) -> UnixStream {
        UnixStream { stream: Stream::with_unread(parts.socket, parts.unread) }
    }
}

/// A Unix listener; as [`std::os::unix::net::UnixListener`].
pub struct UnixListener {
    socket: Socket,
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [("local", self.local_addr())];
        debug(f, "UnixListener", names, self.as_raw_fd())
    }
}

impl UnixListener {
    /// Listens at a path, which must not exist.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::bind_to(&of_path(path.as_ref())?)
    }

    /// Listens at an address.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        UnixListener::bind_to(&of_std(address)?)
    }

    fn bind_to(address: &Address) -> io::Result<UnixListener> {
        let socket = Socket::open(Family::Unix, Kind::Stream)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?;
        Ok(UnixListener { socket })
    }

    /// Accepts a connection.
    ///
    /// # Suspends
    ///
    /// Until there is one; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let stream = UnixStream::new(self.socket.accept()?);
        let peer = stream.peer_addr()?;
        Ok((stream, peer))
    }

    /// An iterator over connections, without end.
    pub fn incoming(&self) -> UnixIncoming<'_> {
        UnixIncoming { listener: self }
    }

    /// Makes a second value for the same listener.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left.
    pub fn try_clone(&self) -> io::Result<UnixListener> {
        Ok(UnixListener { socket: self.socket.try_clone()? })
    }

    /// The local address.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        to_std(self.socket.local_name()?)
    }
}

/// Connections of a [`UnixListener`], without end.
#[derive(Debug)]
pub struct UnixIncoming<'a> {
    listener: &'a UnixListener,
}

impl Iterator for UnixIncoming<'_> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl std::iter::FusedIterator for UnixIncoming<'_> {}

impl<'a> IntoIterator for &'a UnixListener {
    type Item = io::Result<UnixStream>;
    type IntoIter = UnixIncoming<'a>;

    fn into_iter(self) -> UnixIncoming<'a> {
        self.incoming()
    }
}

/// A Unix datagram socket; as [`std::os::unix::net::UnixDatagram`].
pub struct UnixDatagram {
    socket: Socket,
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [("local", self.local_addr()), ("peer", self.peer_addr())];
        debug(f, "UnixDatagram", names, self.as_raw_fd())
    }
}

impl UnixDatagram {
    /// Binds to a path, which must not exist.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        let this = UnixDatagram::unbound()?;
        this.socket.bind(&of_path(path.as_ref())?)?;
        Ok(this)
    }

    /// Binds to an address.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        let this = UnixDatagram::unbound()?;
        this.socket.bind(&of_std(address)?)?;
        Ok(this)
    }

    /// Makes a socket without an address.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left.
    pub fn unbound() -> io::Result<UnixDatagram> {
        Ok(UnixDatagram { socket: Socket::open(Family::Unix, Kind::Datagram)? })
    }

    /// Makes two connected sockets.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (a, b) = Socket::pair(Kind::Datagram)?;
        Ok((UnixDatagram { socket: a }, UnixDatagram { socket: b }))
    }

    /// Sets the peer of `send` and `recv`.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.socket.set_peer(&of_path(path.as_ref())?)
    }

    /// Sets the peer of `send` and `recv` by address.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        self.socket.set_peer(&of_std(address)?)
    }

    /// Makes a second value for the same socket.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left.
    pub fn try_clone(&self) -> io::Result<UnixDatagram> {
        Ok(UnixDatagram { socket: self.socket.try_clone()? })
    }

    /// The local address.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        to_std(self.socket.local_name()?)
    }

    /// The connected peer's address.
    ///
    /// # Errors
    ///
    /// `NotConnected` when there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        to_std(self.socket.peer_name()?)
    }

    /// Receives one datagram and tells its sender.
    ///
    /// # Suspends
    ///
    /// Until there is one; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (count, from) = self.socket.recv_from(buf, 0)?;
        let from = from.map_or_else(|| SocketAddr::from_pathname(""), to_std)?;
        Ok((count, from))
    }

    /// Receives one datagram.
    ///
    /// # Suspends
    ///
    /// Until there is one; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.socket.recv_from(buf, 0)?.0)
    }

    /// Sends one datagram to the socket at a path.
    ///
    /// # Suspends
    ///
    /// While the receiver's queue is full; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.send_datagram(buf, Some(&of_path(path.as_ref())?))
    }

    /// Sends one datagram to an address.
    ///
    /// # Suspends
    ///
    /// As [`UnixDatagram::send_to`].
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn send_to_addr(&self, buf: &[u8], address: &SocketAddr) -> io::Result<usize> {
        self.send_datagram(buf, Some(&of_std(address)?))
    }

    /// Sends one datagram to the connected peer.
    ///
    /// # Suspends
    ///
    /// As [`UnixDatagram::send_to`].
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.send_datagram(buf, None)
    }

    /// Sends one datagram; in a task asks again after a pause while the receiver's queue is full.
    ///
    /// Nothing else serves there: an unconnected socket is called writable however full that queue
    /// is, and the ring, which would wait, has used the bytes up by then and sends an empty
    /// datagram when there is room (Linux 6.18).
    fn send_datagram(&self, buf: &[u8], address: Option<&Address>) -> io::Result<usize> {
        if !in_task() {
            return self.socket.send_to(buf, address, 0);
        }
        let by = self.socket.write_deadline();
        loop {
            match self.socket.send_to(buf, address, DONT_WAIT) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && !self.socket.is_nonblocking() =>
                {
                    pause(FULL_QUEUE_PAUSE, by)?;
                }
                result => return result,
            }
        }
    }

    /// Ends one or both directions.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }
}

/// Implements what the socket types have in common.
macro_rules! settings {
    ($type:ty, |$this:ident| $socket:expr) => {
        impl $type {
            /// Sets the time limit of each read; `None`: none.
            ///
            /// # Errors
            ///
            /// `InvalidInput` for a limit of zero.
            pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
                let $this = self;
                $socket.set_read_timeout(limit)
            }

            /// Sets the time limit of each write; `None`: none.
            ///
            /// # Errors
            ///
            /// `InvalidInput` for a limit of zero.
            pub fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
                let $this = self;
                $socket.set_write_timeout(limit)
            }

            /// The time limit of each read.
            ///
            /// # Errors
            ///
            /// Never; std's signature.
            pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
                let $this = self;
                Ok($socket.read_timeout())
            }

            /// The time limit of each write.
            ///
            /// # Errors
            ///
            /// Never; std's signature.
            pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
                let $this = self;
                Ok($socket.write_timeout())
            }

            /// Takes the socket's pending error.
            ///
            /// # Errors
            ///
            /// The kernel's, about the asking.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                let $this = self;
                $socket.take_error()
            }

            /// Makes calls through this value fail with `WouldBlock` instead of waiting.
            ///
            /// # Errors
            ///
            /// Never; std's signature.
            pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
                let $this = self;
                $socket.set_nonblocking(on);
                Ok(())
            }
        }

        descriptor_traits!($type, |$this| $socket);
    };
}

settings!(UnixStream, |this| this.stream.socket);
settings!(UnixListener, |this| this.socket);
settings!(UnixDatagram, |this| this.socket);

impl Read for &UnixStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.stream.ahead.read_vectored(self.socket(), bufs)
    }
}

impl Read for UnixStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl BufRead for UnixStream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.stream.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.stream.ahead.consume(count);
    }
}

impl Write for &UnixStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.socket().send(buf, 0)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket().send_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for UnixStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<OwnedFd> for UnixStream {
    fn from(fd: OwnedFd) -> UnixStream {
        UnixStream::new(Socket::from_fd(fd))
    }
}

impl From<UnixStream> for OwnedFd {
    /// Gives the descriptor up. Bytes that were read ahead and not consumed are lost.
    fn from(stream: UnixStream) -> OwnedFd {
        stream.stream.into_fd()
    }
}

impl From<OwnedFd> for UnixListener {
    /// Takes a listening socket over; makes it non-blocking, as all listeners are here.
    fn from(fd: OwnedFd) -> UnixListener {
        // Failing means that it is no socket, which the first accept will tell.
        let _ = fiveways_sys::net::set_nonblocking(fd.as_fd(), true);
        UnixListener { socket: Socket::from_fd(fd) }
    }
}

impl From<UnixListener> for OwnedFd {
    fn from(listener: UnixListener) -> OwnedFd {
        listener.socket.into_fd()
    }
}

impl From<OwnedFd> for UnixDatagram {
    fn from(fd: OwnedFd) -> UnixDatagram {
        UnixDatagram { socket: Socket::from_fd(fd) }
    }
}

impl From<UnixDatagram> for OwnedFd {
    fn from(socket: UnixDatagram) -> OwnedFd {
        socket.socket.into_fd()
    }
}
