//! Unix datagrams.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use fiveways_runtime::in_task;
use fiveways_sys::net::{Address, DONT_WAIT, Family, Kind};

use super::{of_path, of_std, pause, to_std};
use crate::net::settings::settings;
use crate::net::socket::{Socket, debug};

/// How long a task waits before it retries sending to a full queue.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(1);

/// A Unix datagram socket; as [`std::os::unix::net::UnixDatagram`].
pub struct UnixDatagram {
    socket: Socket,
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [("local", self.local_addr()), ("peer", self.peer_addr())];
        debug(f, "UnixDatagram", names, self.socket.source().fd)
    }
}

impl UnixDatagram {
    /// Binds to a path, which must not exist.
    ///
    /// # Errors
    ///
    /// Any error of `bind(2)`: `AddrInUse` if the path exists, `InvalidInput` if it is too long.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        let this = UnixDatagram::unbound()?;
        this.socket.bind(&of_path(path.as_ref())?)?;
        Ok(this)
    }

    /// Binds to an address.
    ///
    /// # Errors
    ///
    /// Any error of `bind(2)`: `AddrInUse` if the address is taken.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        let this = UnixDatagram::unbound()?;
        this.socket.bind(&of_std(address)?)?;
        Ok(this)
    }

    /// Makes a socket without an address.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub fn unbound() -> io::Result<UnixDatagram> {
        Ok(UnixDatagram { socket: Socket::open(Family::Unix, Kind::Datagram)? })
    }

    /// Makes two connected sockets.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (a, b) = Socket::pair(Kind::Datagram)?;
        Ok((UnixDatagram { socket: a }, UnixDatagram { socket: b }))
    }

    /// Sets the peer of `send` and `recv`.
    ///
    /// # Errors
    ///
    /// Any error of `connect(2)`: `NotFound` if the path does not exist, `ConnectionRefused` if no
    /// socket is bound to it.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.socket.set_peer(&of_path(path.as_ref())?)
    }

    /// Sets the peer of `send` and `recv` by address.
    ///
    /// # Errors
    ///
    /// Any error of `connect(2)`: `ConnectionRefused` if no socket is bound to it.
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        self.socket.set_peer(&of_std(address)?)
    }

    /// Makes a second value for the same socket.
    ///
    /// # Errors
    ///
    /// If no descriptor is left.
    pub fn try_clone(&self) -> io::Result<UnixDatagram> {
        Ok(UnixDatagram { socket: self.socket.try_clone()? })
    }

    /// The local address.
    ///
    /// # Errors
    ///
    /// Any error of `getsockname(2)`; none is expected for an open socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        to_std(self.socket.local_name()?)
    }

    /// The connected peer's address.
    ///
    /// # Errors
    ///
    /// `NotConnected` if there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        to_std(self.socket.peer_name()?)
    }

    /// Receives one datagram and returns its sender.
    ///
    /// # Suspends
    ///
    /// Until there is a datagram; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// Any error of `recvmsg(2)`; `TimedOut` after the read time limit.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (count, from) = self.socket.recv_from(buf, 0)?;
        let from = from.map_or_else(|| SocketAddr::from_pathname(""), to_std)?;
        Ok((count, from))
    }

    /// Receives one datagram.
    ///
    /// # Suspends
    ///
    /// Until there is a datagram; a plain thread blocks.
    ///
    /// # Errors
    ///
    /// Any error of `recvmsg(2)`; `TimedOut` after the read time limit.
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
    /// Any error of `sendmsg(2)`: `NotFound` if the path does not exist, `ConnectionRefused` if no
    /// socket is bound to it; `TimedOut` after the write time limit.
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
    /// Any error of `sendmsg(2)`: `ConnectionRefused` if no socket is bound to the address;
    /// `TimedOut` after the write time limit.
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
    /// Any error of `sendmsg(2)`: `NotConnected` if no peer was set, `ConnectionRefused` if it is
    /// closed; `TimedOut` after the write time limit.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.send_datagram(buf, None)
    }

    /// Sends one datagram; in a task retries after a pause while the receiver's queue is full.
    ///
    /// No notification helps here: poll reports an unconnected socket as writable however full that
    /// queue is, and io_uring, which would wait, has used up the bytes by then and sends an empty
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

    /// Shuts down one or both directions.
    ///
    /// # Errors
    ///
    /// `NotConnected` if no peer was set.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }
}

settings!(UnixDatagram, |this| this.socket);

impl From<OwnedFd> for UnixDatagram {
    /// Takes ownership of a socket in any mode.
    fn from(fd: OwnedFd) -> UnixDatagram {
        UnixDatagram { socket: Socket::taken_over(fd, false) }
    }
}

impl From<UnixDatagram> for OwnedFd {
    fn from(socket: UnixDatagram) -> OwnedFd {
        socket.socket.into_fd()
    }
}
